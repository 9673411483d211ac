//! Writes what checks of data found, what hooks did, and what became of questions.

use std::time::Duration;

use crate::metrics::writer::MetricsWriter;
use crate::metrics::{Metrics, lock, names};

impl Metrics {
    pub(super) fn write_data(&self, out: &mut MetricsWriter) {
        out.family(&names::VALIDATION, |values| {
            for upstream in lock(&self.upstreams).iter() {
                let name = upstream.id().as_str();
                for ([part, found, consequence], counter) in upstream.findings.read().iter() {
                    values.write(&[name, part, found, consequence], counter.value());
                }
            }
        });
        let hooks = lock(&self.hooks).clone();
        out.family(&names::HOOK_CALLS, |values| {
            for hook in &hooks {
                for ([phase, outcome], counter) in hook.calls.read().iter() {
                    values.write(&[hook.name().as_str(), phase, outcome], counter.value());
                }
            }
        });
        out.family(&names::HOOK_SECONDS, |values| {
            for hook in &hooks {
                let seconds = Duration::from_nanos(hook.nanoseconds.value()).as_secs_f64();
                values.write(&[hook.name().as_str()], seconds);
            }
        });
        out.family(&names::ASKS, |values| {
            for upstream in lock(&self.upstreams).iter() {
                for (word, count) in upstream.ask_counts() {
                    values.write(&[upstream.id().as_str(), word], count);
                }
            }
        });
    }
}
