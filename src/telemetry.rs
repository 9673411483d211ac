//! Spans, log records and metrics, for OpenTelemetry: what they are made of, which are recorded, and
//! where they wait to be sent. [`crate::exporter`] sends them.
//!
//! Everything is encoded when it ends, into a bounded buffer: whoever ends it never waits, and what
//! finds no room is dropped and counted. Without `telemetry` in the config a request costs one look
//! at a flag.

mod buffer;
mod context;
mod emf;
mod envelope;
mod log_record;
mod metric;
pub mod names;
mod pipeline;
mod protobuf;
mod request_trace;
mod sampler;
mod span;

pub use buffer::{Batch, ExportBuffer};
pub use context::SpanContext;
pub use emf::{EmfBaseline, EmfEncoder, EmfLines};
pub use envelope::{Envelope, PartialSuccess, Signal};
pub use log_record::{LogRecord, Severity};
pub use metric::{Histogram, MetricEncoder, MetricForm, MetricKind, MetricPoints};
pub use pipeline::{LogKinds, Pipeline, Tracer};
pub use protobuf::AttributeValue;
pub use request_trace::RequestTrace;
pub use sampler::Sampler;
pub use span::{SharedAttributes, Span, SpanKind};
