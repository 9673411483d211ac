//! AWS Lambda: invokes one function and waits for its answer (Lambda API reference, "Invoke").

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::Instant;

use crate::config::AwsCredentials;
use crate::credentials::aws::api::{Api, ApiError, ApiLimits, ApiRequest, LAMBDA};
use crate::credentials::aws::control_plane::percent_encode;
use crate::credentials::aws::http::AwsHttpError;
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;

/// Most bytes of a request and of an answer (Lambda developer guide, "Lambda quotas": 6 MB).
const PAYLOAD: usize = 6 * 1024 * 1024;
/// The longest that a function runs.
const LONGEST: Duration = Duration::from_secs(900);
/// Connections that are kept.
const CONNECTIONS: usize = 64;
/// The header that says that the function failed; the status is 200 all the same.
const FUNCTION_ERROR: &str = "x-amz-function-error";

/// A client of one function.
#[derive(Debug)]
pub struct LambdaClient {
    api: Api,
    target: String,
}

/// Why there is no answer of a function. Contains no text of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The function raised an error (`Unhandled`) or returned one.
    #[error("the function failed ({0})")]
    Function(&'static str),
    /// The request is larger than Lambda takes.
    #[error("the request has {bytes} bytes, more than {most}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many Lambda takes.
        most: usize,
    },
    /// The answer is larger than Lambda gives.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// Lambda refused.
    #[error("Lambda answered HTTP status {0}")]
    Status(u16),
    /// There was no answer in time.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection, or there are no credentials.
    #[error("{0}")]
    Unreachable(String),
}

impl LambdaClient {
    /// Creates the client of a function. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        arn: &str,
        region: &str,
        credentials: &AwsCredentials,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let open = context.secrets.opener();
        let limits = ApiLimits {
            body: PAYLOAD,
            timeout: LONGEST,
            connections: CONNECTIONS,
        };
        let context = context.into();
        let api = Api::with_limits(LAMBDA, Some(region), credentials, &context, &open, limits)?;
        Ok(Self {
            api,
            target: format!("/2015-03-31/functions/{}/invocations", percent_encode(arn)),
        })
    }

    /// Invokes the function with this JSON text, and returns what it returned. It runs once, unless AWS
    /// refuses the signature.
    ///
    /// # Errors
    /// The function failed, or there is no answer before `deadline`.
    pub async fn invoke(&self, payload: Bytes, deadline: Instant) -> Result<Bytes, InvokeError> {
        if payload.len() > PAYLOAD {
            return Err(InvokeError::TooLarge {
                bytes: payload.len(),
                most: PAYLOAD,
            });
        }
        let request = ApiRequest {
            method: Method::POST,
            target: &self.target,
            operation: None,
            body: payload,
        };
        let answered = self.api.call_for_response(&request, deadline).await;
        let response = answered.map_err(failure_of)?;
        match response.headers.get(FUNCTION_ERROR) {
            None => Ok(response.body),
            Some(kind) if kind == "Handled" => Err(InvokeError::Function("Handled")),
            Some(_) => Err(InvokeError::Function("Unhandled")),
        }
    }
}

fn failure_of(error: ApiError) -> InvokeError {
    match error {
        ApiError::Rejected { status, .. } => InvokeError::Status(status.as_u16()),
        ApiError::Http(AwsHttpError::Timeout(_)) => InvokeError::Timeout,
        ApiError::Http(AwsHttpError::TooLong(_)) => InvokeError::TooLong(PAYLOAD),
        ApiError::Http(_)
        | ApiError::Credentials(_)
        | ApiError::Clock(_)
        | ApiError::Unreadable(_) => InvokeError::Unreachable(error.to_string()),
    }
}
