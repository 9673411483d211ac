//! The times of one request that are not weir's: what its upstream took, and what its caller took to
//! answer questions.

use std::time::{Duration, Instant};

/// The time that the upstream took, over all attempts, and the caller over all questions.
#[derive(Debug, Default)]
pub(super) struct RequestTimes {
    /// When the attempt under way was sent.
    sent: Option<Instant>,
    spent: Duration,
    /// When the caller was asked what it has not answered yet.
    asked: Option<Instant>,
    waited: Duration,
    /// There is an answer.
    pub(super) is_answered: bool,
}

impl RequestTimes {
    /// Notes that an attempt is sent.
    pub(super) fn note_sent(&mut self) {
        self.end_question();
        self.sent.get_or_insert_with(Instant::now);
    }

    /// Notes that nothing is under way at the upstream.
    pub(super) fn stop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.spent += sent.elapsed();
        }
    }

    /// Notes that the upstream answered with a question, and the caller is asked.
    pub(super) fn note_question(&mut self) {
        self.stop();
        self.asked.get_or_insert_with(Instant::now);
    }

    fn end_question(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.waited += asked.elapsed();
        }
    }

    /// Ends what is under way. Returns how long the request took that took `whole`, without the time of
    /// its caller, and the part of it that weir added.
    pub(super) fn finish(&mut self, whole: Duration) -> (Duration, Duration) {
        self.stop();
        self.end_question();
        let took = whole.saturating_sub(self.waited);
        (took, took.saturating_sub(self.spent))
    }
}
