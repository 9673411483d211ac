//! A record as the span of its request.

use std::borrow::Cow;

use crate::protocol::era::Version;
use crate::protocol::message::Request;
use crate::record::Record;
use crate::record::traced::{BegunRequest, RequestOrigin, TracedRequest};
use crate::telemetry::{RequestTrace, names};

impl Record {
    /// Begins the span of the request, if spans are sent and its trace is recorded.
    pub fn begin_span(&mut self, request: &Request<'_>, origin: RequestOrigin<'_>) {
        let pipeline = self.metrics.tracer().pipeline();
        if let Some(pipeline) = pipeline.filter(|pipeline| pipeline.is_about_requests()) {
            let begun = TracedRequest::begin(
                pipeline,
                &BegunRequest {
                    method: &self.method,
                    trace: &self.trace,
                    caller: &self.caller,
                    request,
                    origin,
                },
            );
            self.traced = Some(Box::new(begun));
        }
    }

    /// Returns the place of the request in its trace, if spans are sent.
    #[must_use]
    pub fn place(&self) -> Option<&RequestTrace> {
        self.traced.as_ref().map(|traced| traced.place())
    }

    /// Returns the number of the next attempt to send the request, from 1 on; `None` if no spans are
    /// sent.
    pub fn count_attempt(&mut self) -> Option<i64> {
        self.traced.as_mut().map(|traced| traced.count_attempt())
    }

    /// Notes the revision of MCP that the caller speaks.
    pub fn set_version(&mut self, version: Version) {
        if let Some(span) = self.traced.as_mut().and_then(|traced| traced.span()) {
            span.set(names::PROTOCOL, version.as_str());
        }
    }

    /// Notes the kind of error for which there is no answer of the upstream: one of few words.
    pub fn set_failure(&mut self, kind: &'static str) {
        if let Some(traced) = &mut self.traced {
            traced.set_failure(kind);
        }
    }

    /// Keeps data of the request and of its answer out of the span, because there are rules for it.
    pub fn hide_data(&mut self) {
        if let Some(traced) = &mut self.traced {
            traced.hide_data();
        }
    }

    /// Returns whether data of the request is kept out of spans.
    #[must_use]
    pub fn hides_data(&self) -> bool {
        self.traced
            .as_ref()
            .is_some_and(|traced| traced.hides_data())
    }

    /// Notes something that happens now, in the span.
    pub fn note_event(&mut self, name: &str) {
        if let Some(span) = self.traced.as_mut().and_then(|traced| traced.span()) {
            span.event(name, &[]);
        }
    }

    /// Returns the id of the trace, 32 hexadecimal digits, if there is one.
    pub(super) fn trace_id(&self) -> Option<Cow<'_, str>> {
        let own = self.place().and_then(RequestTrace::trace_text);
        own.map(Cow::Owned)
            .or_else(|| self.trace.trace_id().map(Cow::Borrowed))
    }
}
