//! Counters of questions of upstreams (elicitation, sampling, roots) to callers of the other era.

use crate::metrics::counter::Counter;

/// The end of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskOutcome {
    /// It was put to the caller.
    Asked,
    /// The caller answered with a result.
    Answered,
    /// The caller did not answer in time.
    Expired,
    /// The caller answered with an error, or cannot be asked.
    Refused,
}

impl AskOutcome {
    const ALL: [Self; 4] = [Self::Asked, Self::Answered, Self::Expired, Self::Refused];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

/// The counters of one upstream, in the order of [`AskOutcome::ALL`].
#[derive(Debug, Default)]
pub(super) struct AskCounters([Counter; 4]);

impl AskCounters {
    pub(super) fn add(&self, outcome: AskOutcome, count: usize) {
        for (known, counter) in AskOutcome::ALL.iter().zip(&self.0) {
            if *known == outcome {
                counter.add(count as u64);
            }
        }
    }

    /// Returns the values, by the word for the outcome.
    pub(super) fn values(&self) -> [(&'static str, u64); 4] {
        let counts = self.0.each_ref().map(Counter::value);
        let mut words = AskOutcome::ALL.map(AskOutcome::as_str).into_iter();
        counts.map(|count| (words.next().unwrap_or_default(), count))
    }
}
