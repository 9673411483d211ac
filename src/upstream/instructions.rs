//! The instructions that a peer gives to models: read at the handshake, and asked for again when
//! a modern peer said that they would be out of date by then.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::INSTRUCTIONS_BYTES;
use crate::json::Object;
use crate::protocol::message::read_number;

/// The most bytes that are kept: enough to tell that callers see only the beginning.
const KEPT_BYTES: usize = 2 * INSTRUCTIONS_BYTES;

/// The longest time that instructions count as fresh, whatever the peer says.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);

/// The instructions of a peer, as it gave them last.
#[derive(Debug)]
pub struct GivenInstructions(Mutex<Given>);

#[derive(Debug)]
struct Given {
    text: Arc<str>,
    fresh_until: Instant,
    /// Whether no listing has used them yet.
    is_unused: bool,
}

impl Default for GivenInstructions {
    fn default() -> Self {
        Self::new(Arc::default(), Duration::ZERO)
    }
}

impl GivenInstructions {
    fn new(text: Arc<str>, ttl: Duration) -> Self {
        Self(Mutex::new(Given {
            text,
            fresh_until: Instant::now() + ttl.min(LONGEST_TTL),
            is_unused: true,
        }))
    }

    /// Reads the instructions in the result of a handshake.
    pub(super) fn read(result: &Object<'_>) -> Self {
        let text = result.string("instructions").unwrap_or_default();
        let most = text.floor_char_boundary(KEPT_BYTES);
        let ttl = result.get("ttlMs").and_then(read_number);
        let ttl = ttl.map_or(Duration::ZERO, Duration::from_millis);
        Self::new(text.get(..most).unwrap_or_default().into(), ttl)
    }

    /// Returns the text; empty if the peer gives none.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0.lock().text)
    }

    /// Returns whether they have to be asked for again. The first listing after a handshake uses
    /// what came with it.
    pub(super) fn is_due(&self) -> bool {
        let mut given = self.0.lock();
        let is_unused = std::mem::take(&mut given.is_unused);
        !is_unused && Instant::now() >= given.fresh_until
    }

    /// Takes newer ones.
    pub(super) fn replace(&self, newer: Self) {
        *self.0.lock() = Given {
            is_unused: false,
            ..newer.0.into_inner()
        };
    }
}
