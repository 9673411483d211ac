//! A record as counters: how the request ended, how long it took, and who has to act.

use std::time::Duration;

use crate::metrics::{Ending, LastError};
use crate::protocol::error::Blame;
use crate::record::Record;

impl Record {
    /// Counts the request, where it went and by its caller.
    pub(super) fn count(&self, ending: Ending, took: Duration, added: Duration) {
        if let Some(destination) = &self.destination {
            destination.series.record(ending, took);
            if self.times.is_answered {
                destination.series.record_added(added);
            }
        }
        self.count_blame(ending);
    }

    /// Counts by who has to act, if the request did not end well, and by its caller.
    fn count_blame(&self, ending: Ending) {
        let blame = match ending {
            Ending::Ok | Ending::Cancelled => None,
            Ending::Error | Ending::Failed => {
                Some(self.blame.or(self.code_blame).unwrap_or(Blame::Upstream))
            }
        };
        if let (Some(destination), Some(blame)) = (&self.destination, blame) {
            destination.series.record_blame(blame);
            let reason = self
                .error
                .as_deref()
                .unwrap_or("the upstream answered with an error");
            let error = LastError::now(reason, blame);
            destination.series.note_error(error);
        }
        self.metrics.count_caller(&self.caller, ending, blame);
    }
}
