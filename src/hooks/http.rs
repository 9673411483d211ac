//! A hook over HTTP: the payload in a POST, by the same client and credentials as upstreams have.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::time::Instant;
use url::Url;

use super::context::ANSWER;
use super::{HookContext, HookFailure, HookSetupError};
use crate::config;
use crate::credentials::Credentials;
use crate::upstream::client::{HttpClient, TransferError};

/// A client of one endpoint.
#[derive(Debug)]
pub(super) struct HttpCarrier {
    client: HttpClient,
    credentials: Credentials,
    url: Url,
}

impl HttpCarrier {
    pub(super) fn new(
        hook: &Arc<config::Upstream>,
        endpoint: &config::HttpEndpoint,
        context: &HookContext,
    ) -> Result<Self, HookSetupError> {
        Ok(Self {
            client: HttpClient::new(hook, endpoint, &context.auth)?,
            credentials: Credentials::new(hook, endpoint, &context.auth)?,
            url: endpoint.url.clone(),
        })
    }

    pub(super) async fn exchange(
        &self,
        input: Bytes,
        limit: Instant,
    ) -> Result<Bytes, HookFailure> {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json.clone());
        headers.insert(header::ACCEPT, json);
        let authorized =
            self.credentials
                .authorize(&Method::POST, &self.url, &mut headers, &input, limit);
        let authorized = authorized.await;
        authorized.map_err(|error| HookFailure::Unreachable(error.to_string()))?;
        let sent = self.client.send(None, Method::POST, headers, input).await;
        let response = sent.map_err(failure_of)?;
        if !response.status().is_success() {
            return Err(HookFailure::Status(response.status().as_u16()));
        }
        let mut body = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.next_chunk().await.map_err(failure_of)? {
            if answer.len() + chunk.len() > ANSWER {
                return Err(HookFailure::TooLong(ANSWER));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer.freeze())
    }
}

fn failure_of(error: TransferError) -> HookFailure {
    match error {
        TransferError::Connect(cause) => HookFailure::Unreachable(cause.to_string()),
        TransferError::Unanswered(_) | TransferError::Broken(_) => HookFailure::Broken,
        TransferError::Coding(_) | TransferError::Gzip => {
            HookFailure::Answer("its content coding cannot be read")
        }
    }
}
