//! Spans: what is recorded of one piece of work (`opentelemetry/proto/trace/v1/trace.proto`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::telemetry::buffer::ExportBuffer;
use crate::telemetry::context::SpanContext;
use crate::telemetry::names;
use crate::telemetry::protobuf::{
    AttributeValue, write_attribute, write_bytes, write_fixed32, write_fixed64, write_int,
    write_message, write_message_of,
};

/// The most bytes of the text of an attribute, and of the description of an error.
const LONGEST_TEXT: usize = 1024;
/// The bytes of the entries of a usual span.
const USUAL_BYTES: usize = 768;
/// The field of a span that has its attributes.
const ATTRIBUTES: u32 = 9;
/// The most attributes, events and links of one span.
const MOST_ENTRIES: u32 = 64;

/// The role of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of weir itself.
    Internal,
    /// The answer to a request.
    Server,
    /// A request to somebody else.
    Client,
}

impl SpanKind {
    fn number(self) -> i64 {
        match self {
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
        }
    }
}

/// Attributes that many spans have, encoded once.
#[derive(Debug)]
pub struct SharedAttributes {
    entries: Box<[u8]>,
    count: u32,
}

impl SharedAttributes {
    /// Encodes attributes; those without a value are left out.
    #[must_use]
    pub fn of(attributes: &[(&str, Option<AttributeValue<'_>>)]) -> Self {
        let (mut entries, mut count) = (Vec::new(), 0);
        for (key, value) in attributes {
            if let Some(value) = value {
                write_attribute(&mut entries, ATTRIBUTES, key, shorten(*value));
                count += 1;
            }
        }
        Self {
            entries: entries.into(),
            count,
        }
    }
}

/// A span that goes on until it is dropped. Only spans that are recorded exist.
#[derive(Debug)]
pub struct Span {
    spans: Arc<ExportBuffer>,
    context: SpanContext,
    parent: Option<SpanContext>,
    /// Whether the parent is of another process.
    is_remote: bool,
    kind: SpanKind,
    name: Cow<'static, str>,
    state: Option<Box<str>>,
    began: SystemTime,
    clock: Instant,
    /// Attributes, events and links, encoded as fields of the span.
    entries: Vec<u8>,
    count: u32,
    error: Option<Box<str>>,
}

impl Span {
    pub(super) fn begin(
        spans: &Arc<ExportBuffer>,
        context: SpanContext,
        parent: Option<SpanContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            spans: Arc::clone(spans),
            context,
            parent,
            is_remote: false,
            kind,
            name: name.into(),
            state: None,
            began: SystemTime::now(),
            clock: Instant::now(),
            entries: Vec::with_capacity(USUAL_BYTES),
            count: 0,
            error: None,
        }
    }

    /// Notes that the parent is a span of another process, and the `tracestate` that came with it.
    pub(super) fn set_remote(&mut self, state: Option<&str>) {
        self.is_remote = true;
        self.state = state.map(Box::from);
    }

    /// Returns its context.
    #[must_use]
    pub fn context(&self) -> &SpanContext {
        &self.context
    }

    /// Begins a span below this one.
    #[must_use]
    pub fn child(&self, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        let context = self.context.child();
        let parent = Some(self.context);
        let mut child = Self::begin(&self.spans, context, parent, kind, name);
        child.state.clone_from(&self.state);
        child
    }

    /// Replaces the name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.name = name.into();
    }

    /// Adds an attribute. Text is cut after 1 KiB.
    pub fn set<'v>(&mut self, key: &str, value: impl Into<AttributeValue<'v>>) {
        if self.takes_entry() {
            write_attribute(&mut self.entries, ATTRIBUTES, key, shorten(value.into()));
        }
    }

    /// Adds attributes that were encoded before.
    pub fn set_all(&mut self, attributes: &SharedAttributes) {
        if self.count + attributes.count <= MOST_ENTRIES {
            self.count += attributes.count;
            self.entries.extend_from_slice(&attributes.entries);
        }
    }

    /// Adds an attribute, if there is a value.
    pub fn set_some<'v>(&mut self, key: &str, value: Option<impl Into<AttributeValue<'v>>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Adds a link to a span of another trace, or of another place in this one.
    pub fn link(&mut self, to: &SpanContext) {
        if self.takes_entry() {
            write_message(&mut self.entries, 13, |out| {
                write_bytes(out, 1, &to.trace);
                write_bytes(out, 2, &to.span);
                write_fixed32(out, 6, flags(to, true));
            });
        }
    }

    /// Adds an event that happens now.
    pub fn event(&mut self, name: &str, attributes: &[(&str, AttributeValue<'_>)]) {
        if self.takes_entry() {
            let now = self.now();
            write_message(&mut self.entries, 11, |out| {
                write_fixed64(out, 1, now);
                write_bytes(out, 2, name.as_bytes());
                for (key, value) in attributes {
                    write_attribute(out, 3, key, shorten(*value));
                }
            });
        }
    }

    /// Notes that the work failed. `kind` is the value of `error.type`, one of few; `description`
    /// is cut after 1 KiB, and may be empty.
    pub fn fail(&mut self, kind: &str, description: &str) {
        if self.error.is_none() {
            self.set(names::ERROR_TYPE, kind);
            self.error = Some(cut(description).into());
        }
    }

    /// Returns whether the work failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    fn takes_entry(&mut self) -> bool {
        self.count += 1;
        self.count <= MOST_ENTRIES
    }

    /// Returns the time, as it went on since the span began.
    fn now(&self) -> u64 {
        nanoseconds(self.began) + u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(0)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(out, 1, &self.context.trace);
        write_bytes(out, 2, &self.context.span);
        if let Some(state) = &self.state {
            write_bytes(out, 3, state.as_bytes());
        }
        if let Some(parent) = &self.parent {
            write_bytes(out, 4, &parent.span);
        }
        write_bytes(out, 5, self.name.as_bytes());
        write_int(out, 6, self.kind.number());
        write_fixed64(out, 7, nanoseconds(self.began));
        write_fixed64(out, 8, self.now());
        out.extend_from_slice(&self.entries);
        if let Some(description) = &self.error {
            write_message(out, 15, |out| {
                if !description.is_empty() {
                    write_bytes(out, 2, description.as_bytes());
                }
                // STATUS_CODE_ERROR
                write_int(out, 3, 2);
            });
        }
        write_fixed32(out, 16, flags(&self.context, self.is_remote));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let expected = self.entries.len() + self.name.len();
        self.spans
            .push(|out| write_message_of(out, 2, expected, |out| self.write(out)));
    }
}

/// Returns the flags of a span or link: those of W3C, and in two bits whether its parent, or what it
/// leads to, is of another process.
fn flags(context: &SpanContext, is_remote: bool) -> u32 {
    const IS_KNOWN: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let remote = if is_remote { IS_REMOTE } else { 0 };
    u32::from(context.is_sampled) | IS_KNOWN | remote
}

pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn shorten(value: AttributeValue<'_>) -> AttributeValue<'_> {
    match value {
        AttributeValue::Text(text) => AttributeValue::Text(cut(text)),
        other @ (AttributeValue::Int(_) | AttributeValue::Bool(_) | AttributeValue::Double(_)) => {
            other
        }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LogKinds, Pipeline, Sampler};

    #[test]
    fn a_span_is_bounded_whatever_is_put_in() {
        let sampler = Sampler {
            follows_parent: true,
            ratio: 1.0,
        };
        let pipeline = Pipeline::new(Some(sampler), LogKinds::default(), []);
        let mut span = pipeline.root("x").unwrap();
        let long = "\u{e9}".repeat(2_000);
        for number in 0..1_000 {
            span.set(&format!("key{number}"), &*long);
            span.event("event", &[]);
        }
        span.fail("timeout", &long);
        drop(span);
        let batch = pipeline.spans.take().unwrap();
        assert_eq!(batch.items, 1);
        assert!(
            batch.bytes.len() < 64 * (LONGEST_TEXT + 64),
            "{}",
            batch.bytes.len()
        );
        // A character is not cut in two.
        assert!(cut(&long).chars().all(|c| c == '\u{e9}') && cut(&long).len() <= LONGEST_TEXT);
    }
}
