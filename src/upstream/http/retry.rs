//! Sends a request again that a platform did not run because the session was being started or
//! stopped.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::HttpWire;
use super::media::{ERROR_BODY, Media, media_type};
use super::request::HttpRequest;
use crate::memory::MemoryShare;
use crate::protocol::message::{Message, Outcome};
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::peer::HttpSession;
use crate::upstream::quirks::{PlatformError, PlatformErrorKind};

/// The first pause. It doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pauses between attempts, until there is no time for another attempt.
pub(super) struct RetryPauses {
    pause: Duration,
    deadline: Instant,
}

impl RetryPauses {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            pause: FIRST_PAUSE,
            deadline,
        }
    }

    /// Waits before the next attempt. Returns false, at once, if there is no time left for one.
    pub(super) async fn wait(&mut self) -> bool {
        let next = Instant::now() + self.pause;
        if next >= self.deadline {
            return false;
        }
        tokio::time::sleep_until(next).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// Reads the `error` member of a JSON-RPC answer, if it has one.
pub(super) fn read_error(body: &[u8]) -> Option<&str> {
    if body.len() > ERROR_BODY {
        return None;
    }
    match Message::parse(std::str::from_utf8(body).ok()?) {
        Ok(Message::Response(response)) => match response.outcome {
            Outcome::Error(error) => Some(error),
            Outcome::Result(_) => None,
        },
        Ok(Message::Request(_) | Message::Notification(_)) | Err(_) => None,
    }
}

impl HttpWire {
    fn read_platform_error(&self, body: &[u8]) -> Option<PlatformError> {
        self.quirks.platform.read_error(read_error(body)?)
    }

    /// Sends a request again until the platform lets it run. When there is no time left, returns
    /// the last answer.
    pub(super) async fn send_until_run(
        &self,
        session: &HttpSession,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
        memory: MemoryShare,
    ) -> Result<Exchange, LinkError> {
        let mut pauses = RetryPauses::new(deadline);
        loop {
            let (again, body) = (headers.clone(), body.clone());
            let sent = self.send_once(session, again, body, deadline, memory.clone());
            let answered = sent.await;
            let kind = match &answered {
                Ok(exchange) => exchange
                    .whole_body()
                    .and_then(|body| self.read_platform_error(body))
                    .map(|error| error.kind),
                Err(LinkError::Status(status)) => self.quirks.platform.kind_of_status(*status),
                Err(_) => None,
            };
            if kind != Some(PlatformErrorKind::Busy) || !pauses.wait().await {
                return answered;
            }
        }
    }

    /// Posts a notification or a response to a platform. The platform may answer it all the same:
    /// with a JSON-RPC error, and status 200.
    pub(super) async fn post_until_run(
        &self,
        session: &HttpSession,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let mut pauses = RetryPauses::new(deadline);
        loop {
            let mut signed = headers.clone();
            if let Some(affinity) = &session.affinity {
                affinity.add_to(&mut signed);
            }
            let request = HttpRequest::post(signed, body.clone(), session.sender(), deadline);
            let response = self.execute(request).await?;
            if let Some(affinity) = &session.affinity {
                affinity.update_from(response.headers());
            }
            let status = response.status();
            let platform_error = match media_type(response.headers()) {
                Media::Json => self.read_platform_error(
                    &self.reader.body(response, ERROR_BODY, &self.memory).await?,
                ),
                Media::Events | Media::Other => None,
            };
            let kind = match platform_error {
                Some(platform_error) => Some(platform_error.kind),
                None => self.quirks.platform.kind_of_status(status),
            };
            if kind == Some(PlatformErrorKind::Busy) && pauses.wait().await {
                continue;
            }
            return match platform_error
                .and_then(|platform_error| platform_error.to_link_error(self.sent))
            {
                Some(error) => Err(error),
                None => session.check_posted(status),
            };
        }
    }
}
