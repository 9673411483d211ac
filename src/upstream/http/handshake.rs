//! Sends handshake messages, outside any session.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::HttpWire;
use super::media::{Media, media_type};
use super::request::HttpRequest;
use super::retry::{RetryPauses, read_error};
use super::session_headers;
use crate::protocol::era::Version;
use crate::protocol::headers::{self, METHOD, SESSION, VERSION};
use crate::protocol::message::Message;
use crate::upstream::error::LinkError;
use crate::upstream::peer::{Affinity, SenderIdentity};
use crate::upstream::quirks::PlatformErrorKind;
use crate::upstream::status;

/// The answer to a handshake message: what tells the era of the upstream.
#[derive(Debug)]
pub struct HandshakeAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// `MCP-Session-Id`, if the upstream gave one.
    pub session: Option<HeaderValue>,
    /// The JSON body, or the first response on the event stream.
    pub message: Option<Bytes>,
    /// The error that the answer is, if it is no message.
    pub refusal: LinkError,
}

impl HttpWire {
    /// Sends a handshake message and returns the raw answer. An answer of a platform in front of
    /// the server is an error.
    ///
    /// `method` is the value of `Mcp-Method`, for an upstream that may be modern.
    ///
    /// # Errors
    /// Nothing came back by `deadline`, or the platform answered.
    pub async fn send_handshake(
        &self,
        affinity: Option<&Affinity>,
        sender: SenderIdentity<'_>,
        version: &str,
        method: Option<&'static str>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<HandshakeAnswer, LinkError> {
        let mut headers = session_headers(version, None);
        if let Some(method) = method {
            headers.insert(METHOD, HeaderValue::from_static(method));
        }
        if version != Version::MODERN.as_str() {
            // `initialize` comes before a version is agreed on.
            headers.remove(VERSION);
        }
        let mut pauses = RetryPauses::new(deadline);
        loop {
            let mut headers = headers.clone();
            if let Some(affinity) = affinity {
                affinity.add_to(&mut headers);
            }
            let sent = async {
                let first =
                    self.send_handshake_once(headers.clone(), sender, body.clone(), deadline);
                match first.await {
                    // A handshake may be repeated, whether or not the first one arrived.
                    Err(error) if error.is_unanswered() => {
                        let again =
                            self.send_handshake_once(headers, sender, body.clone(), deadline);
                        Box::pin(again).await
                    }
                    answer => answer,
                }
            };
            let answer = tokio::time::timeout_at(deadline, sent)
                .await
                .map_err(|_| LinkError::Timeout)??;
            if let (Some(affinity), Some(id)) = (affinity, &answer.session) {
                affinity.update_from(&HeaderMap::from_iter([(SESSION, id.clone())]));
            }
            let platform_error = answer.message.as_deref().and_then(read_error);
            let platform_error =
                platform_error.and_then(|error| self.quirks.platform.read_error(error));
            let kind = match platform_error {
                Some(platform_error) => Some(platform_error.kind),
                None if answer.status.is_success() => None,
                None => self.quirks.platform.kind_of_status(answer.status),
            };
            if kind == Some(PlatformErrorKind::Busy) && pauses.wait().await {
                continue;
            }
            return match platform_error
                .and_then(|platform_error| platform_error.to_link_error(self.sent))
            {
                Some(error) => Err(error),
                None => Ok(answer),
            };
        }
    }

    async fn send_handshake_once(
        &self,
        headers: HeaderMap,
        sender: SenderIdentity<'_>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<HandshakeAnswer, LinkError> {
        let request = HttpRequest::post(headers, body, sender, deadline);
        let response = self.execute(request).await?;
        let status = response.status();
        let session = response.headers().get(SESSION).map(headers::detach);
        let refusal = match status.is_success() {
            true => status::media_type_error(response.headers()),
            false => self
                .quirks
                .platform
                .error_of_status(status, response.headers()),
        };
        let message = match media_type(response.headers()) {
            Media::Json => Some(
                self.reader
                    .body(response, self.reader.limit, &self.memory)
                    .await?,
            ),
            Media::Events if status.is_success() => {
                // The response ends the handshake. What else is on the stream is not read.
                let events = self.read_events(response, Some(deadline), self.memory.clone());
                let mut exchange = events.with_batches(true);
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
        Ok(HandshakeAnswer {
            status,
            session,
            message,
            refusal,
        })
    }
}
