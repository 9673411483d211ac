//! Spans of requests to an upstream, and of what weir asks of it by itself.

use http::{HeaderMap, HeaderName};
use url::Url;

use crate::config::Endpoint;
use crate::json::{self, Object};
use crate::record::fail_with;
use crate::telemetry::{AttributeValue, SharedAttributes, Span, SpanKind, names};
use crate::upstream::error::LinkError;
use crate::upstream::link::Link;
use crate::upstream::peer::Peer;
use crate::upstream::request::OutboundRequest;

/// The header, and the key of `_meta`, that carries a span to the next hop.
const PARENT: &str = "traceparent";

/// Says of a span which upstream it is about, and how that is reached.
pub fn describe_upstream(span: &mut Span, link: &Link) {
    span.set_all(link.described.get_or_init(|| attributes(link)));
}

/// Encodes what spans say of an upstream.
fn attributes(link: &Link) -> SharedAttributes {
    let text = |text| Some(AttributeValue::Text(text));
    let (transport, url) = match &link.config.endpoint {
        Endpoint::Http(endpoint) => match endpoint.socket {
            Some(_) => ("unix", Some(&endpoint.url)),
            None => ("tcp", Some(&endpoint.url)),
        },
        Endpoint::Child { .. } => ("pipe", None),
    };
    let port = url.and_then(Url::port_or_known_default);
    SharedAttributes::of(&[
        (names::UPSTREAM, text(link.id().as_str())),
        (names::CONNECTOR, text(link.config.connector.as_str())),
        (names::TRANSPORT, text(transport)),
        (names::NETWORK_PROTOCOL, url.and_then(|_| text("http"))),
        (
            names::SERVER_ADDRESS,
            url.and_then(Url::host_str).and_then(text),
        ),
        (
            names::SERVER_PORT,
            port.map(|port| AttributeValue::Int(i64::from(port))),
        ),
    ])
}

/// Says of the span of a request what the server at the other end speaks.
pub fn describe_peer(span: &mut Span, peer: &Peer) {
    span.set(names::PROTOCOL, &*peer.version);
}

/// Ends a span with an error of the connection.
pub fn fail(span: &mut Span, error: &LinkError) {
    span.fail(error.kind(), error.public_text());
}

impl Link {
    /// Begins the span of a listing, a trace of its own; `None` if it is not recorded.
    #[must_use]
    pub fn begin_resync_span(&self) -> Option<Box<Span>> {
        let mut span = self.metrics.tracer().pipeline()?.root("weir.resync")?;
        describe_upstream(&mut span, self);
        Some(Box::new(span))
    }

    /// Begins the span of a request of weir's own.
    pub(super) fn begin_own_span(
        &self,
        above: &Span,
        peer: &Peer,
        method: &'static str,
    ) -> Box<Span> {
        let mut span = above.child(SpanKind::Client, method);
        span.set(names::METHOD, method);
        describe_upstream(&mut span, self);
        describe_peer(&mut span, peer);
        Box::new(span)
    }
}

/// Names the span as the parent of the next hop, in a request that names another one.
pub fn replace_parent(span: &Span, request: &mut OutboundRequest) {
    if let Some(params) = with_parent(span, &request.params) {
        request.params = params;
    }
    if request.headers.contains_key(PARENT) {
        write_header(span, &mut request.headers);
    }
}

fn with_parent(span: &Span, params: &str) -> Option<String> {
    let mut all = Object::parse(params).ok()?;
    let mut own = Object::parse(all.borrowed("_meta")?).ok()?;
    if !own.contains(PARENT) {
        return None;
    }
    write_meta(span, &mut own);
    let own = own.to_text();
    all.set("_meta", own);
    Some(all.to_text())
}

/// Names the span as the parent of the next hop, in `_meta`.
pub(super) fn write_meta(span: &Span, meta: &mut Object<'_>) {
    let parent = span.context().to_header();
    meta.set(PARENT, json::quote(parent.to_str().unwrap_or_default()));
}

/// Names the span as the parent of the next hop, in a header.
pub(super) fn write_header(span: &Span, headers: &mut HeaderMap) {
    let parent = span.context().to_header();
    headers.insert(HeaderName::from_static(PARENT), parent);
}

/// Ends the span of a page with what came of it: `Err` is a JSON-RPC error, as JSON text.
pub(super) fn end_page(span: &mut Span, answer: &Result<Result<String, String>, LinkError>) {
    match answer {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => fail_with(span, &Object::parse(error).unwrap_or_default(), false),
        Err(error) => fail(span, error),
    }
}
