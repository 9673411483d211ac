//! Reads an HTTP answer: messages, or the reason why there are none.

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::HttpWire;
use super::media::{ERROR_BODY, Media, media_type};
use crate::json::Object;
use crate::memory::MemoryShare;
use crate::protocol::era::Version;
use crate::protocol::headers::VERSION;
use crate::protocol::message::{Message, Outcome};
use crate::upstream::client::Body;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::peer::HttpSession;
use crate::upstream::status;

impl HttpWire {
    /// Reads the answer to a request as far as needed to know what it is.
    pub(super) async fn read_answer(
        &self,
        session: &HttpSession,
        response: Response<Body>,
        deadline: Instant,
        memory: MemoryShare,
    ) -> Result<Exchange, LinkError> {
        let (status, is_legacy) = (response.status(), !session.is_modern());
        if status.is_success() {
            return match media_type(response.headers()) {
                Media::Json => {
                    let whole = self
                        .reader
                        .body(response, self.reader.limit, &memory)
                        .await?;
                    Ok(Exchange::from_body(whole).with_batches(is_legacy))
                }
                Media::Events => {
                    let events = self.read_events(response, Some(deadline), memory);
                    Ok(events.with_batches(is_legacy))
                }
                Media::Other if status == StatusCode::ACCEPTED => {
                    Err(LinkError::Nonsense("202 to a request"))
                }
                Media::Other => Err(status::media_type_error(response.headers())),
            };
        }
        let refusal = self
            .quirks
            .platform
            .error_of_status(status, response.headers());
        // The modern era gives JSON-RPC errors statuses of their own. Legacy servers do so for
        // some.
        let json = media_type(response.headers()) == Media::Json;
        let body = match json {
            true => self.reader.body(response, ERROR_BODY, &memory).await,
            false => Ok(Bytes::new()),
        };
        let body = match body {
            Err(_) if status == StatusCode::NOT_FOUND => Bytes::new(),
            body => body?,
        };
        let message = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| Message::parse(text).ok());
        match message {
            message if self.is_session_lost(status, session, message.as_ref()) => {
                Err(LinkError::SessionLost)
            }
            Some(Message::Response(response)) => match response.outcome {
                Outcome::Error(error) if has_code(error, "-32020") => {
                    Err(LinkError::HeaderMismatch(body))
                }
                Outcome::Error(_) => Ok(Exchange::from_body(body)),
                Outcome::Result(_) => Err(refusal),
            },
            _ => Err(refusal),
        }
    }

    /// Returns the messages of an event stream, which `memory` pays for.
    pub(super) fn read_events(
        &self,
        response: Response<Body>,
        deadline: Option<Instant>,
        memory: MemoryShare,
    ) -> Exchange {
        let events = self.reader.events(response, &memory);
        Exchange::from_events(events, deadline, memory)
    }

    /// Returns whether a refusal is about the session rather than about the request.
    fn is_session_lost(
        &self,
        status: StatusCode,
        session: &HttpSession,
        message: Option<&Message<'_>>,
    ) -> bool {
        let (id, error) = match message {
            Some(Message::Response(response)) => match response.outcome {
                Outcome::Error(error) => (response.id, Some(error)),
                Outcome::Result(_) => return false,
            },
            Some(Message::Request(_) | Message::Notification(_)) | None => (None, None),
        };
        let platform_error = error.and_then(|error| self.quirks.platform.read_error(error));
        match (status, &session.affinity) {
            // A server that read the message, and has no such method, tool or resource, knows the
            // session.
            (StatusCode::NOT_FOUND, _) if session.id.is_some() => {
                let is_answer = |error| NOT_FOUND_CODES.iter().any(|code| has_code(error, code));
                id.is_none() || !error.is_some_and(is_answer)
            }
            // Some servers answer an unknown session with 400 and an error without an id, because
            // they did not read the message.
            (StatusCode::BAD_REQUEST, _) if session.id.is_some() => {
                error.is_some() && id.is_none() && platform_error.is_none()
            }
            (StatusCode::BAD_REQUEST, _) if !session.is_modern() => {
                self.quirks.may_require_session_later && id.is_none()
            }
            // A modern server answers 404 to a method that it does not have, too. So the session is
            // lost only if the 404 comes from the platform.
            (StatusCode::NOT_FOUND, Some(affinity)) => {
                (error.is_none() || platform_error.is_some()) && affinity.forget()
            }
            _ => false,
        }
    }
}

impl HttpSession {
    /// Returns whether its requests are of the modern era.
    fn is_modern(&self) -> bool {
        let version = self.headers.get(VERSION);
        version.is_some_and(|version| version == Version::MODERN.as_str())
    }

    /// Checks the status that answers a notification or a response.
    pub(super) fn check_posted(&self, status: StatusCode) -> Result<(), LinkError> {
        match status {
            StatusCode::NOT_FOUND if self.id.is_some() => Err(LinkError::SessionLost),
            status if status.is_success() => Ok(()),
            status => Err(LinkError::Status(status)),
        }
    }
}

/// The errors that say what was not found, apart from a session: method, tool or prompt, resource.
const NOT_FOUND_CODES: [&str; 3] = ["-32601", "-32602", "-32002"];

fn has_code(error: &str, code: &str) -> bool {
    Object::parse(error).is_ok_and(|error| error.get("code") == Some(code))
}
