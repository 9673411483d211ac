//! The place of a request in its trace: below the span of its sender, and above those of the
//! requests that it becomes.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use crate::protocol::trace::Trace;
use crate::telemetry::context::SpanContext;
use crate::telemetry::names;
use crate::telemetry::pipeline::Pipeline;
use crate::telemetry::span::{Span, SpanKind};

/// The header of AWS's load balancers and of AgentCore Runtime (AWS X-Ray developer guide, "Tracing
/// header").
const AMAZON: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The header in which AgentCore Runtime names the session of a user.
const RUNTIME_SESSION: HeaderName =
    HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");
/// The longest name of a user's session.
const LONGEST_SESSION: usize = 128;

/// The place of one request in its trace, and its span if the trace is recorded.
#[derive(Debug)]
pub struct RequestTrace {
    /// That of the span, or of the sender where nothing is recorded.
    context: SpanContext,
    /// Whether the next hop gets this context in place of what the sender wrote.
    is_own: bool,
    /// Whether the request belongs to a trace: not without a sender's, where weir sends no spans.
    has_trace: bool,
    /// The session of the user, if the request is recorded.
    session: Option<Box<str>>,
    span: Option<Span>,
}

impl RequestTrace {
    /// Finds the place of a request, and begins its span. `trace` came with it; `headers` are those of
    /// HTTP.
    #[must_use]
    pub fn begin(
        pipeline: &Pipeline,
        trace: &Trace,
        headers: Option<&HeaderMap>,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        let sent = trace.parent().and_then(SpanContext::parse);
        let of_amazon = || SpanContext::parse_amazon(headers?.get(AMAZON)?.to_str().ok()?);
        let parent = sent.or_else(of_amazon);
        let Some(sampler) = pipeline.sampler() else {
            // Weir sends no spans, so that those before and behind it find each other as they would
            // without telemetry.
            return Self {
                context: parent.unwrap_or_else(|| SpanContext::root(|_| false)),
                is_own: false,
                has_trace: parent.is_some(),
                session: None,
                span: None,
            };
        };
        let Some(parent) = parent else {
            let context = SpanContext::root(|trace| sampler.takes(trace));
            return Self::with(pipeline, context, None, name).described(trace, headers);
        };
        if !sampler.decide(Some(&parent), &parent.trace) {
            // The ids stay: whoever records the trace finds its own spans in the next hop's.
            let context = SpanContext {
                is_sampled: false,
                ..parent
            };
            return Self {
                is_own: sent.is_none() || parent.is_sampled,
                has_trace: true,
                session: None,
                context,
                span: None,
            };
        }
        let context = SpanContext {
            is_sampled: true,
            ..parent.child()
        };
        let mut begun = Self::with(pipeline, context, Some(parent), name);
        if let Some(span) = &mut begun.span {
            span.set_remote(sent.and_then(|_| trace.state()));
        }
        begun.described(trace, headers)
    }

    fn with(
        pipeline: &Pipeline,
        context: SpanContext,
        parent: Option<SpanContext>,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        let spans = &pipeline.spans;
        let begin = || Span::begin(spans, context, parent, SpanKind::Server, name);
        Self {
            context,
            is_own: true,
            has_trace: true,
            session: None,
            span: context.is_sampled.then(begin),
        }
    }

    /// Adds what came beside the parent: the context of the transport, if the message has another
    /// one, and the session of the user.
    fn described(mut self, trace: &Trace, headers: Option<&HeaderMap>) -> Self {
        let Some(span) = &mut self.span else {
            return self;
        };
        if let Some(transport) = trace.transport_parent().and_then(SpanContext::parse) {
            span.link(&transport);
        }
        let of_runtime = || {
            headers?
                .get(RUNTIME_SESSION)?
                .to_str()
                .ok()
                .map(Cow::Borrowed)
        };
        let session = trace.baggage().and_then(find_session).or_else(of_runtime);
        let session = session.filter(|session| is_session(session));
        self.session = session.map(|session| session.into());
        self
    }

    /// Writes the session of the user into the span.
    pub fn set_session(&mut self) {
        if let (Some(span), Some(session)) = (&mut self.span, self.session.take()) {
            span.set(names::USER_SESSION, &*session);
        }
    }

    /// Returns the span, if the request is recorded.
    pub fn span(&mut self) -> Option<&mut Span> {
        self.span.as_mut()
    }

    /// Returns the id of the trace, 32 hexadecimal digits, if there is one.
    #[must_use]
    pub fn trace_text(&self) -> Option<String> {
        self.has_trace.then(|| self.context.trace_text())
    }

    /// Returns the context of the span, if the request is recorded.
    #[must_use]
    pub fn recorded(&self) -> Option<&SpanContext> {
        self.span.as_ref().map(Span::context)
    }

    /// Begins the span of a request to an upstream, if this one is recorded.
    #[must_use]
    pub fn client(&self, name: impl Into<Cow<'static, str>>) -> Option<Span> {
        let span = self.span.as_ref()?;
        Some(span.child(SpanKind::Client, name))
    }

    /// Returns the trace for the next hop, whose request is `client`; `None` if what the sender wrote
    /// goes on as it is.
    #[must_use]
    pub fn onward(&self, trace: &Trace, client: Option<&Span>) -> Option<Trace> {
        let context = client.map_or(&self.context, Span::context);
        let is_own = client.is_some() || self.is_own;
        is_own.then(|| trace.with_parent(context.to_header()))
    }
}

/// Finds `session.id` in `baggage` (<https://www.w3.org/TR/baggage/>), decoded.
fn find_session(baggage: &str) -> Option<Cow<'_, str>> {
    let mut members = baggage
        .split(',')
        .filter_map(|member| member.split_once('='));
    let (_, value) = members.find(|(key, _)| key.trim() == names::USER_SESSION)?;
    let value = value.split(';').next().unwrap_or_default().trim();
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    // Of the query of a URL: the same escapes, and `+` is not among them in baggage.
    let encoded = value.replace('+', "%2B").replace('&', "%26");
    let mut decoded = url::form_urlencoded::parse(encoded.as_bytes());
    decoded
        .next()
        .map(|(text, _)| Cow::Owned(text.into_owned()))
}

fn is_session(text: &str) -> bool {
    (1..=LONGEST_SESSION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::json::Object;
    use crate::telemetry::LogKinds;
    use crate::telemetry::Sampler;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn pipeline(ratio: f64) -> Arc<Pipeline> {
        let sampler = Sampler {
            follows_parent: true,
            ratio,
        };
        Pipeline::new(Some(sampler), LogKinds::default(), [])
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    /// The `traceparent` that goes on, as header and in `_meta`.
    fn onward(begun: &RequestTrace, trace: &Trace, client: Option<&Span>) -> (String, String) {
        let changed = begun.onward(trace, client);
        let trace = changed.as_ref().unwrap_or(trace);
        let mut headers = HeaderMap::new();
        trace.write(&mut headers, usize::MAX);
        let mut meta = Object::new();
        trace.write_meta(&mut meta, false, true);
        (
            headers
                .get("traceparent")
                .map(|parent| parent.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            meta.string("traceparent").unwrap_or_default().into_owned(),
        )
    }

    #[test]
    fn the_span_of_the_attempt_is_the_parent_of_the_next_hop() {
        let headers = headers(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        let trace = Trace::of(&headers);
        let begun = RequestTrace::begin(&pipeline(0.0), &trace, Some(&headers), "tools/call");
        let client = begun.client("tools/call").unwrap();
        let (header, meta) = onward(&begun, &trace, Some(&client));
        assert_eq!(header, client.context().to_header().to_str().unwrap());
        assert_eq!(meta, header);
        assert!(header.contains("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!header.contains("00f067aa0ba902b7") && header.ends_with("-01"));
    }

    #[test]
    fn what_is_not_recorded_keeps_its_ids_and_says_so() {
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let sent = headers(&[("traceparent", unsampled)]);
        let trace = Trace::of(&sent);
        let begun = RequestTrace::begin(&pipeline(1.0), &trace, Some(&sent), "x");
        assert!(begun.recorded().is_none() && begun.client("x").is_none());
        assert!(begun.onward(&trace, None).is_none());
        // Where weir decides for itself, the flag goes and the ids stay.
        let sent = headers(&[("traceparent", PARENT)]);
        let trace = Trace::of(&sent);
        let decides = Sampler {
            follows_parent: false,
            ratio: 0.0,
        };
        let pipeline_of_own = Pipeline::new(Some(decides), LogKinds::default(), []);
        let begun = RequestTrace::begin(&pipeline_of_own, &trace, Some(&sent), "x");
        assert_eq!(onward(&begun, &trace, None).0, unsampled);
        // Without a sender the next weir learns that this trace is not recorded.
        let trace = Trace::new();
        let begun = RequestTrace::begin(&pipeline(0.0), &trace, None, "x");
        let (header, meta) = onward(&begun, &trace, None);
        assert!(header.ends_with("-00") && header.len() == 55);
        assert_eq!(header, meta);
    }

    #[test]
    fn where_no_spans_are_sent_the_context_goes_on_as_it_came() {
        let pipeline = Pipeline::new(None, LogKinds::default(), []);
        assert!(pipeline.root("x").is_none());
        let sent = headers(&[("traceparent", PARENT)]);
        let trace = Trace::of(&sent);
        let begun = RequestTrace::begin(&pipeline, &trace, Some(&sent), "x");
        assert!(begun.recorded().is_none() && begun.onward(&trace, None).is_none());
        let expected = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(begun.trace_text().as_deref(), Some(expected));
        let trace = Trace::new();
        let begun = RequestTrace::begin(&pipeline, &trace, None, "x");
        assert!(begun.onward(&trace, None).is_none() && begun.trace_text().is_none());
    }

    #[test]
    fn a_header_of_x_ray_is_a_parent_where_there_is_no_other() {
        let amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let sent = headers(&[("x-amzn-trace-id", amazon)]);
        let trace = Trace::of(&sent);
        let begun = RequestTrace::begin(&pipeline(0.0), &trace, Some(&sent), "x");
        let expected = "5759e988bd862e3fe1be46a994272793";
        assert_eq!(begun.trace_text().as_deref(), Some(expected));
        assert!(begun.recorded().is_some());
        let both = headers(&[("x-amzn-trace-id", amazon), ("traceparent", PARENT)]);
        let trace = Trace::of(&both);
        let begun = RequestTrace::begin(&pipeline(0.0), &trace, Some(&both), "x");
        let expected = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(begun.trace_text().as_deref(), Some(expected));
    }

    #[test]
    fn the_session_of_the_user_is_in_the_baggage() {
        for (baggage, expected) in [
            ("session.id=abc", Some("abc")),
            ("a=b, session.id = x%2Fy%20z;p=1 ,c=d", Some("x/y z")),
            ("session.id=a%2Bb+c", Some("a+b+c")),
            ("mysession.id=abc", None),
            ("", None),
        ] {
            assert_eq!(find_session(baggage).as_deref(), expected, "{baggage}");
        }
        assert!(is_session("x/y") && !is_session("x y") && !is_session(&"x".repeat(129)));
    }
}
