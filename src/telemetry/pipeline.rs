//! Where spans and log records go, under the config in force.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::telemetry::buffer::ExportBuffer;
use crate::telemetry::context::SpanContext;
use crate::telemetry::envelope::{Envelope, Signal};
use crate::telemetry::log_record::LogRecord;
use crate::telemetry::sampler::Sampler;
use crate::telemetry::span::{Span, SpanKind};

/// The kinds of log records that are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogKinds {
    /// One for each request.
    pub requests: bool,
    /// One for each line of the record file.
    pub audit: bool,
}

/// The way of spans and log records under one config.
#[derive(Debug)]
pub struct Pipeline {
    /// Which traces are recorded; `None` if no spans are sent.
    sampler: Option<Sampler>,
    /// Spans that ended.
    pub spans: Arc<ExportBuffer>,
    /// Log records; `None` if there are none.
    pub logs: Option<ExportBuffer>,
    /// The kinds of log records.
    pub log_kinds: LogKinds,
    /// How often all metrics were not taken by the receiver.
    lost_metrics: Arc<AtomicU64>,
    /// The resource and the scope around them.
    pub envelope: Envelope,
}

impl Pipeline {
    /// Returns which traces are recorded; `None` if no spans are sent.
    pub(super) fn sampler(&self) -> Option<Sampler> {
        self.sampler
    }

    /// Returns whether requests become spans or log records.
    #[must_use]
    pub fn is_about_requests(&self) -> bool {
        self.sampler.is_some() || self.log_kinds.requests
    }

    /// Makes a pipeline with empty buffers, which counts for itself what it drops.
    #[must_use]
    pub fn new<'a>(
        sampler: Option<Sampler>,
        log_kinds: LogKinds,
        resource: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Arc<Self> {
        Tracer::default().make_pipeline(sampler, log_kinds, resource)
    }

    /// Begins the span of work that nobody asked for, in a trace of its own; `None` if the trace is
    /// not recorded.
    #[must_use]
    pub fn root(&self, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        let sampler = self.sampler?;
        let context = SpanContext::root(|trace| sampler.takes(trace));
        let spans = &self.spans;
        context
            .is_sampled
            .then(|| Span::begin(spans, context, None, SpanKind::Internal, name))
    }

    /// Adds a log record, if log records are sent.
    pub fn log(&self, record: &LogRecord<'_>) {
        if let Some(logs) = &self.logs {
            record.push(logs);
        }
    }

    /// Returns the buffer of a signal, if it is sent.
    #[must_use]
    pub fn buffer(&self, signal: Signal) -> Option<&ExportBuffer> {
        match signal {
            Signal::Traces => Some(&*self.spans),
            Signal::Logs => self.logs.as_ref(),
            Signal::Metrics => None,
        }
    }

    /// Counts metrics that were not taken by the receiver.
    pub fn lose_metrics(&self) {
        self.lost_metrics.fetch_add(1, Ordering::Relaxed);
    }
}

/// The pipeline in force, if there is one. A reload replaces it; what began with the one before ends
/// with it.
#[derive(Debug, Default)]
pub struct Tracer {
    /// Whether there is a pipeline: so that a request without one costs a look.
    is_on: AtomicBool,
    pipeline: RwLock<Option<Arc<Pipeline>>>,
    /// How many items all pipelines dropped, in the order of [`Signal::ALL`].
    dropped: [Arc<AtomicU64>; 3],
}

impl Tracer {
    /// Returns the pipeline in force.
    #[must_use]
    pub fn pipeline(&self) -> Option<Arc<Pipeline>> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        self.pipeline.read().clone()
    }

    /// Puts another pipeline in force, or none.
    pub fn replace(&self, pipeline: Option<Arc<Pipeline>>) {
        let mut current = self.pipeline.write();
        self.is_on.store(pipeline.is_some(), Ordering::Relaxed);
        *current = pipeline;
    }

    /// Makes a pipeline with empty buffers. It is not in force yet.
    #[must_use]
    pub fn make_pipeline<'a>(
        &self,
        sampler: Option<Sampler>,
        log_kinds: LogKinds,
        resource: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Arc<Pipeline> {
        let [traces, logs, metrics] = &self.dropped;
        let has_logs = log_kinds.requests || log_kinds.audit;
        Arc::new(Pipeline {
            sampler,
            spans: Arc::new(ExportBuffer::new(traces)),
            logs: has_logs.then(|| ExportBuffer::new(logs)),
            log_kinds,
            lost_metrics: Arc::clone(metrics),
            envelope: Envelope::new(resource),
        })
    }

    /// Returns how many items of each signal were dropped so far.
    pub fn dropped(&self) -> impl Iterator<Item = (Signal, u64)> {
        let counts = self.dropped.iter();
        let counts = counts.map(|dropped| dropped.load(Ordering::Relaxed));
        Signal::ALL.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_was_replaced_still_counts_what_it_drops() {
        let (tracer, sampler) = (
            Tracer::default(),
            Some(Sampler {
                follows_parent: true,
                ratio: 1.0,
            }),
        );
        assert!(tracer.pipeline().is_none());
        let first = tracer.make_pipeline(sampler, LogKinds::default(), []);
        tracer.replace(Some(Arc::clone(&first)));
        let span = tracer.pipeline().unwrap().root("x");
        tracer.replace(Some(tracer.make_pipeline(sampler, LogKinds::default(), [])));
        first.spans.close();
        drop(span);
        first.lose_metrics();
        let dropped: Vec<_> = tracer.dropped().collect();
        assert_eq!(
            dropped,
            [(Signal::Traces, 1), (Signal::Logs, 0), (Signal::Metrics, 1)]
        );
        tracer.replace(None);
        assert!(tracer.pipeline().is_none());
    }
}
