//! The URLs that a call waits for.

use std::time::Duration;

use tokio::time::Instant;

use crate::bridge::UrlDemand;

/// The URLs that a call waits for.
pub(super) struct Demanded {
    pub(super) demand: UrlDemand,
    /// When a person agreed to visit them.
    pub(super) accepted: Option<Instant>,
    /// The number of times that the call was sent again since then.
    pub(super) attempts: u32,
    /// When it is sent again.
    pub(super) again: Option<Instant>,
}

impl Demanded {
    /// Returns whether the caller has to be asked.
    pub(super) fn is_open(&self) -> bool {
        self.demand.is_open()
    }

    pub(super) fn to_result(&self, state: &str) -> String {
        self.demand.to_result(state)
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.demand.keys()
    }

    /// Sends the call again after 1, 2, 4, 8, 8, … seconds.
    pub(super) fn wait(&mut self) {
        let pause = Duration::from_secs(1 << self.attempts.min(3));
        self.attempts += 1;
        self.again = Some(Instant::now() + pause);
    }
}
