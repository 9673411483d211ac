//! Log records (`opentelemetry/proto/logs/v1/logs.proto`).

use std::time::SystemTime;

use crate::telemetry::buffer::ExportBuffer;
use crate::telemetry::context::SpanContext;
use crate::telemetry::protobuf::{
    AttributeValue, write_attribute, write_bytes, write_fixed32, write_fixed64, write_int,
    write_message,
};
use crate::telemetry::span::{nanoseconds, shorten};

/// How important a log record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As usual.
    Info,
    /// Something was refused, or failed.
    Warn,
}

/// A log record, made and sent at once.
#[derive(Debug)]
pub struct LogRecord<'r> {
    /// The kind of event, such as `weir.call`.
    pub event: &'static str,
    /// How important it is.
    pub severity: Severity,
    /// When it happened; `None` for now.
    pub time: Option<SystemTime>,
    /// Its text, which is not cut; `None` if it has none.
    pub body: Option<&'r str>,
    /// The trace that it is about, if there is one.
    pub trace: Option<[u8; 16]>,
    /// The span that it is about, if it is recorded.
    pub span: Option<&'r SpanContext>,
    /// Names and values; absent values are left out.
    pub attributes: &'r [(&'static str, Option<AttributeValue<'r>>)],
}

impl LogRecord<'_> {
    pub(super) fn push(&self, to: &ExportBuffer) {
        let now = nanoseconds(SystemTime::now());
        to.push(|out| write_message(out, 2, |out| self.write(out, now)));
    }

    fn write(&self, out: &mut Vec<u8>, now: u64) {
        let (number, text) = match self.severity {
            Severity::Info => (9, "INFO"),
            Severity::Warn => (13, "WARN"),
        };
        write_fixed64(out, 1, self.time.map_or(now, nanoseconds));
        write_int(out, 2, number);
        write_bytes(out, 3, text.as_bytes());
        if let Some(body) = self.body {
            write_message(out, 5, |out| write_bytes(out, 1, body.as_bytes()));
        }
        for (key, value) in self.attributes {
            if let Some(value) = value {
                write_attribute(out, 6, key, shorten(*value));
            }
        }
        if let Some(span) = self.span {
            write_fixed32(out, 8, u32::from(span.is_sampled));
            write_bytes(out, 9, &span.trace);
            write_bytes(out, 10, &span.span);
        } else if let Some(trace) = &self.trace {
            write_bytes(out, 9, trace);
        }
        write_fixed64(out, 11, now);
        write_bytes(out, 12, self.event.as_bytes());
    }
}
