//! Counters of messages that hooks were asked about.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::metrics::counter::Counter;
use crate::name::UpstreamId;

/// The counters of one hook.
#[derive(Debug)]
pub struct HookMetrics {
    name: UpstreamId,
    /// By phase and outcome. A handful.
    pub(super) calls: RwLock<Vec<(HookLabels, Arc<Counter>)>>,
    pub(super) nanoseconds: Counter,
}

/// The labels of a message: its phase, and how asking ended.
pub(super) type HookLabels = [&'static str; 2];

impl HookMetrics {
    pub(super) fn new(name: UpstreamId) -> Self {
        Self {
            name,
            calls: RwLock::default(),
            nanoseconds: Counter::default(),
        }
    }

    /// Returns the name of the hook.
    #[must_use]
    pub fn name(&self) -> &UpstreamId {
        &self.name
    }

    /// Counts a message that the hook was asked about: its phase, how that ended, how long it took.
    pub fn record(&self, phase: &'static str, outcome: &'static str, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.add(nanoseconds);
        let labels = [phase, outcome];
        let find = |known: &[(HookLabels, Arc<Counter>)]| {
            let found = known.iter().find(|(known, _)| *known == labels);
            found.map(|(_, counter)| Arc::clone(counter))
        };
        let known = find(&self.calls.read());
        let counter = known.unwrap_or_else(|| {
            let mut calls = self.calls.write();
            find(&calls).unwrap_or_else(|| {
                let new = Arc::<Counter>::default();
                calls.push((labels, Arc::clone(&new)));
                new
            })
        });
        counter.add(1);
    }

    /// Returns how many messages had which end, in both phases.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for ([_, outcome], counter) in self.calls.read().iter() {
            match counts.iter_mut().find(|(known, _)| known == outcome) {
                Some((_, count)) => *count += counter.value(),
                None => counts.push((outcome, counter.value())),
            }
        }
        counts
    }
}
