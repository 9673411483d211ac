//! Counters of requests that rules of `limits.rates` refused.

use std::sync::Arc;

use crate::metrics::counter::Counter;
use crate::metrics::names;
use crate::metrics::series::OTHER;
use crate::metrics::writer::MetricsWriter;
use crate::metrics::{Metrics, lock};

/// Most rules with a counter of their own in the process; later ones are counted as `other`.
const RULES: usize = 256;

/// The counter of one rule.
#[derive(Debug)]
pub struct LimitCounter {
    rule: Box<str>,
    refused: Counter,
}

impl LimitCounter {
    /// Counts a refused request.
    pub(crate) fn count(&self) {
        self.refused.add(1);
    }
}

impl Metrics {
    /// Returns the counter of a rule; the same one for the same name.
    #[must_use]
    pub fn limited(&self, rule: &str) -> Arc<LimitCounter> {
        let mut limited = lock(&self.limited);
        let find = |limited: &[Arc<LimitCounter>], rule: &str| {
            limited.iter().find(|known| *known.rule == *rule).cloned()
        };
        let is_full = limited.len() >= RULES;
        let known = find(&limited, rule).or_else(|| find(&limited, OTHER).filter(|_| is_full));
        if let Some(known) = known {
            return known;
        }
        let rule = if is_full { OTHER } else { rule };
        let new = Arc::new(LimitCounter {
            rule: rule.into(),
            refused: Counter::default(),
        });
        limited.push(Arc::clone(&new));
        new
    }

    pub(super) fn write_limited(&self, out: &mut MetricsWriter) {
        out.family(&names::LIMITED, |values| {
            for counter in lock(&self.limited).iter() {
                values.write(&[&counter.rule], counter.refused.value());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..2 * RULES {
            metrics.limited(&format!("r{number}")).count();
        }
        // One that is known keeps its own.
        metrics.limited("r0").count();
        let limited = lock(&metrics.limited);
        assert_eq!(limited.len(), RULES + 1);
        let value = |rule: &str| {
            let found = limited.iter().find(|known| *known.rule == *rule);
            found.unwrap().refused.value()
        };
        assert_eq!(value("r0"), 2);
        assert_eq!(value(OTHER), RULES as u64);
        assert_eq!(value(&format!("r{}", RULES - 1)), 1);
    }
}
