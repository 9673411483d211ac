//! Handshake messages, outside any session.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::HttpWire;
use super::media::{Media, media_type};
use super::patience::{Patience, error_in};
use crate::protocol::headers::{METHOD, SESSION, VERSION};
use crate::protocol::message::Message;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::peer::Affinity;
use crate::upstream::quirks::PlatformErrorKind;
use crate::upstream::status;

/// The answer to a handshake message, as far as an era can be read from it.
#[derive(Debug)]
pub struct Handshake {
    /// The HTTP status.
    pub status: StatusCode,
    /// `MCP-Session-Id`, if the upstream gave one.
    pub session: Option<HeaderValue>,
    /// The JSON body, or the first response on the event stream.
    pub message: Option<Bytes>,
    /// What the answer says where it is no message.
    pub refusal: LinkError,
}

impl HttpWire {
    /// Sends a handshake message outside any session and gives the raw answer. What a platform in front of the server
    /// answers in its place is an error.
    ///
    /// # Errors
    /// Nothing came back until `deadline`.
    pub async fn handshake(
        &self,
        affinity: Option<&Affinity>,
        version: &str,
        modern_method: Option<&'static str>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Handshake, LinkError> {
        let mut headers = self.session(version, None, None).headers;
        match modern_method {
            Some(method) => headers.insert(METHOD, HeaderValue::from_static(method)),
            // `initialize` comes before a version is agreed on.
            None => headers.remove(VERSION),
        };
        let mut patience = Patience::until(deadline);
        loop {
            let mut headers = headers.clone();
            if let Some(affinity) = affinity {
                affinity.add_to(&mut headers);
            }
            let greeted = self.greet(headers, body.clone(), deadline);
            let answer = tokio::time::timeout_at(deadline, greeted)
                .await
                .map_err(|_| LinkError::Timeout)??;
            if let (Some(affinity), Some(id)) = (affinity, &answer.session) {
                affinity.update_from(&HeaderMap::from_iter([(SESSION, id.clone())]));
            }
            let trouble = answer.message.as_deref().and_then(error_in);
            let trouble = trouble.and_then(|error| self.quirks.platform.read_error(error));
            let meaning = match trouble {
                Some(trouble) => Some(trouble.kind),
                None if answer.status.is_success() => None,
                None => self.quirks.platform.kind_of_status(answer.status),
            };
            if meaning == Some(PlatformErrorKind::Busy) && patience.lasts().await {
                continue;
            }
            return match trouble.and_then(|trouble| trouble.to_link_error(self.sent)) {
                Some(error) => Err(error),
                None => Ok(answer),
            };
        }
    }

    async fn greet(
        &self,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Handshake, LinkError> {
        let response = self.execute(Method::POST, headers, body, deadline).await?;
        let status = response.status();
        let session = response.headers().get(SESSION).cloned();
        let refusal = match status.is_success() {
            true => status::not_mcp(response.headers()),
            false => self
                .quirks
                .platform
                .error_of_status(status, response.headers()),
        };
        let message = match media_type(response.headers()) {
            Media::Json => Some(self.reading.body(response, self.reading.limit).await?),
            Media::Events if status.is_success() => {
                // The answer ends the handshake; what else is on the stream is not for us.
                let events = self.reading.events(response);
                let mut exchange = Exchange::from_events(events, Some(deadline));
                loop {
                    let message = exchange.next().await?;
                    let text = message
                        .as_deref()
                        .and_then(|bytes| std::str::from_utf8(bytes).ok());
                    match text.map(Message::parse) {
                        None | Some(Ok(Message::Response(_)) | Err(_)) => break message,
                        Some(Ok(Message::Request(_) | Message::Notification(_))) => {}
                    }
                }
            }
            Media::Events | Media::Other => None,
        };
        Ok(Handshake {
            status,
            session,
            message,
            refusal,
        })
    }
}
