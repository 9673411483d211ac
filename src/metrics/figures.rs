//! The figures of calls, for people: how many, how they ended, and how long they took.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metrics::counter::Counter;
use crate::metrics::last_error::LastError;
use crate::metrics::observed::visit_series;
use crate::metrics::series::{ADDED_BOUNDS, BOUNDS, Ending, Series, UpstreamMetrics};
use crate::metrics::{Metrics, lock};

/// Upstream, method and exposed name of the tool; empty for what is no tool.
pub type CallKey = [Box<str>; 3];

/// The calls of one tool, or the requests of one method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// In the order of [`Ending::ALL`].
    endings: [u64; Ending::ALL.len()],
    /// The number that took up to each of [`BOUNDS`], and longer.
    buckets: [u64; BOUNDS.len() + 1],
    /// The number that had up to each of [`ADDED_BOUNDS`] added by weir, and more.
    added: [u64; ADDED_BOUNDS.len() + 1],
}

impl CallCounts {
    fn of(series: &Series) -> Self {
        Self {
            endings: series.endings.each_ref().map(Counter::value),
            buckets: series.buckets.each_ref().map(Counter::value),
            added: series.added_buckets.each_ref().map(Counter::value),
        }
    }

    /// Returns the counts since an earlier time.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        let parts = [
            (&mut since.endings[..], &before.endings[..]),
            (&mut since.buckets[..], &before.buckets[..]),
            (&mut since.added[..], &before.added[..]),
        ];
        for (counts, before) in parts {
            for (count, before) in counts.iter_mut().zip(before) {
                *count = count.saturating_sub(*before);
            }
        }
        since
    }

    /// Adds the counts of others.
    pub fn add(&mut self, other: &Self) {
        let parts = [
            (&mut self.endings[..], &other.endings[..]),
            (&mut self.buckets[..], &other.buckets[..]),
            (&mut self.added[..], &other.added[..]),
        ];
        for (counts, others) in parts {
            for (count, other) in counts.iter_mut().zip(others) {
                *count = count.saturating_add(*other);
            }
        }
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.endings.iter().sum()
    }

    /// Returns the number of calls that ended in this way.
    #[must_use]
    pub fn ended(&self, ending: Ending) -> u64 {
        let pairs = Ending::ALL.iter().zip(self.endings);
        let of = pairs.filter(|(known, _)| **known == ending);
        of.map(|(_, count)| count).sum()
    }

    /// Returns the seconds within which this part of the calls was over, from 0 to 1; `None` without
    /// calls. It is estimated within a bucket, and at most the highest bound.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        quantile(&BOUNDS, &self.buckets, part)
    }

    /// Returns the same of the time that weir added to calls that were answered.
    #[must_use]
    pub fn added_quantile(&self, part: f64) -> Option<f64> {
        quantile(&ADDED_BOUNDS, &self.added, part)
    }
}

impl Metrics {
    /// Returns the counts of all that was called since weir started.
    #[must_use]
    pub fn call_counts(&self) -> BTreeMap<CallKey, CallCounts> {
        let upstreams = lock(&self.upstreams).clone();
        let mut counts = BTreeMap::new();
        visit_series(&upstreams, |upstream, method, tool, series| {
            let key = [upstream, method, tool].map(Box::from);
            counts.insert(key, CallCounts::of(series));
        });
        counts
    }

    /// Returns the last error of each tool and method that had one since weir started.
    #[must_use]
    pub fn last_errors(&self) -> BTreeMap<CallKey, LastError> {
        last_errors(&lock(&self.upstreams).clone())
    }
}

/// Returns the last error of each tool and method of some upstreams.
#[must_use]
pub fn last_errors(upstreams: &[Arc<UpstreamMetrics>]) -> BTreeMap<CallKey, LastError> {
    let mut errors = BTreeMap::new();
    visit_series(upstreams, |upstream, method, tool, series| {
        if let Some(error) = series.last_error() {
            errors.insert([upstream, method, tool].map(Box::from), error);
        }
    });
    errors
}

/// Estimates a quantile as Prometheus's `histogram_quantile` does.
#[allow(
    clippy::cast_precision_loss,
    reason = "an estimate, of fewer calls than 2^52"
)]
fn quantile(bounds: &[f64], counts: &[u64], part: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let rank = part * total as f64;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counts.iter().zip(bounds) {
        let count = *count as f64;
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * ((rank - below) / count));
        }
        below += count;
        lower = *upper;
    }
    (total > 0).then_some(lower)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::last_error::LONGEST_REASON;
    use crate::name::UpstreamId;
    use crate::protocol::error::Blame;

    #[test]
    fn quantiles_are_estimated_within_their_bucket() {
        let bounds = [1.0, 2.0, 4.0];
        assert_eq!(quantile(&bounds, &[0, 0, 0, 0], 0.5), None);
        assert_eq!(quantile(&bounds, &[0, 4, 0, 0], 0.5), Some(1.5));
        assert_eq!(quantile(&bounds, &[2, 0, 2, 0], 0.5), Some(1.0));
        assert_eq!(quantile(&bounds, &[2, 0, 2, 0], 0.75), Some(3.0));
        // All that is known of the slowest is that they took longer.
        assert_eq!(quantile(&bounds, &[1, 0, 0, 9], 0.99), Some(4.0));
    }

    #[test]
    fn counts_are_of_what_was_called_and_since_when() {
        let metrics = Metrics::new();
        let upstream = metrics.upstream(&UpstreamId::parse("up").unwrap());
        let call = |ending, millis| {
            let series = upstream.series("tools/call", Some("up__echo"));
            series.record(ending, Duration::from_millis(millis));
        };
        call(Ending::Ok, 3);
        let before = metrics.call_counts();
        call(Ending::Failed, 700);
        call(Ending::Ok, 700);
        let key = ["up", "tools/call", "up__echo"].map(Box::from);
        let now = metrics.call_counts();
        let since = now[&key].since(&before[&key]);
        assert_eq!((since.calls(), since.ended(Ending::Failed)), (2, 1));
        assert_eq!(since.quantile(0.5), Some(0.75));
        let mut all = before[&key].clone();
        all.add(&since);
        assert_eq!(all, now[&key]);
        assert_eq!(all.added_quantile(0.5), None);
    }

    #[test]
    fn each_tool_keeps_its_last_error_and_no_more_of_it_than_fits() {
        let metrics = Metrics::new();
        let upstream = metrics.upstream(&UpstreamId::parse("up").unwrap());
        let fail = |tool: &str, reason: &str| {
            let series = upstream.series("tools/call", Some(tool));
            series.record(Ending::Failed, Duration::from_millis(1));
            series.note_error(LastError::now(reason, Blame::Upstream));
        };
        assert!(metrics.last_errors().is_empty());
        fail("up__a", "too slow");
        fail("up__a", "gone");
        fail("up__b", &"é".repeat(LONGEST_REASON));
        let errors = metrics.last_errors();
        let reason = |tool: &str| &*errors[&["up", "tools/call", tool].map(Box::from)].reason;
        assert_eq!(errors.len(), 2);
        assert_eq!(reason("up__a"), "gone");
        assert_eq!(reason("up__b"), "é".repeat(LONGEST_REASON / 2));
        assert_eq!(last_errors(&[upstream]), errors);
    }
}
