//! Sending again what a platform did not let run: the session is being started or stopped.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use super::HttpWire;
use super::media::{ERROR_BODY, Media, media_type};
use crate::protocol::message::{Message, Outcome};
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::peer::HttpSession;
use crate::upstream::quirks::{PlatformError, PlatformErrorKind};

/// The first pause, and the longest; it doubles.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Pauses between attempts, for as long as there is time for another.
pub(super) struct Patience {
    pause: Duration,
    deadline: Instant,
}

impl Patience {
    pub(super) fn until(deadline: Instant) -> Self {
        Self {
            pause: PAUSE.0,
            deadline,
        }
    }

    /// Waits; false, at once, where there is no time left.
    pub(super) async fn lasts(&mut self) -> bool {
        let next = Instant::now() + self.pause;
        if next >= self.deadline {
            return false;
        }
        tokio::time::sleep_until(next).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        true
    }
}

/// The `error` member of an answer, if it is one.
pub(super) fn error_in(body: &[u8]) -> Option<&str> {
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
    fn trouble(&self, body: &[u8]) -> Option<PlatformError> {
        self.quirks.platform.read_error(error_in(body)?)
    }

    /// Sends until it is let run, or for as long as there is time; then the last answer is the answer.
    pub(super) async fn insist(
        &self,
        session: &HttpSession,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Exchange, LinkError> {
        let mut patience = Patience::until(deadline);
        loop {
            let answered = self
                .attempt(session, headers.clone(), body.clone(), deadline)
                .await;
            let meaning = match &answered {
                Ok(exchange) => exchange
                    .whole_body()
                    .and_then(|body| self.trouble(body))
                    .map(|trouble| trouble.kind),
                Err(LinkError::Status(status)) => self.quirks.platform.kind_of_status(*status),
                Err(_) => None,
            };
            if meaning != Some(PlatformErrorKind::Busy) || !patience.lasts().await {
                return answered;
            }
        }
    }

    /// Posts what has no answer to a platform, which may answer all the same: with an error, and with 200.
    pub(super) async fn post_insisting(
        &self,
        session: &HttpSession,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let mut patience = Patience::until(deadline);
        loop {
            let mut signed = headers.clone();
            if let Some(affinity) = &session.affinity {
                affinity.add_to(&mut signed);
            }
            let response = self
                .execute(Method::POST, signed, body.clone(), deadline)
                .await?;
            if let Some(affinity) = &session.affinity {
                affinity.update_from(response.headers());
            }
            let status = response.status();
            let trouble = match media_type(response.headers()) {
                Media::Json => self.trouble(&self.reading.body(response, ERROR_BODY).await?),
                Media::Events | Media::Other => None,
            };
            let meaning = match trouble {
                Some(trouble) => Some(trouble.kind),
                None => self.quirks.platform.kind_of_status(status),
            };
            if meaning == Some(PlatformErrorKind::Busy) && patience.lasts().await {
                continue;
            }
            return match trouble.and_then(|trouble| trouble.to_link_error(self.sent)) {
                Some(error) => Err(error),
                None => session.posted(status),
            };
        }
    }
}
