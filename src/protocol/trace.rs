//! The names of a request, across hops: `x-request-id`, and the W3C trace context (`traceparent`,
//! `tracestate`, <https://www.w3.org/TR/trace-context/>; `baggage`, <https://www.w3.org/TR/baggage/>).
//!
//! All of it comes in as HTTP headers or in `params._meta`, where the context has un-prefixed keys
//! (`basic/index.mdx#_meta`), and goes on to the upstream the same two ways:
//!
//! - **The context goes in headers and in `_meta`.** `_meta` wins, being the message's own; headers belong to the hop. Where weir
//!   exports no spans (`telemetry`), `parent-id` goes on unchanged: a span id of weir's own would be a parent that nobody ever sees,
//!   and would cut the trace in two. Where it does, its span takes the place of the parent ([`Trace::with_parent`]).
//! - **The request id goes in a header.** Where there are no headers, on stdio, it goes in `_meta` as
//!   [`REQUEST_ID_KEY`]; it is read from there if no header says otherwise. Without one, weir makes one.
//! - **What is in `_meta` keeps its bytes**, even where weir can make nothing of it; weir only adds what is not there. What is malformed or too long
//!   goes no further than that: it is neither copied to the other place, nor answered, nor logged.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::json::{self, Object};
use crate::protocol::headers;

/// The header that carries the request id, in every direction.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The `_meta` key of the request id, for hops without headers.
pub const REQUEST_ID_KEY: &str = "weir/requestId";

/// The `_meta` keys of the context; the headers are called the same.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

/// The headers of the context.
const PARENT_HEADER: HeaderName = HeaderName::from_static(PARENT);
const STATE_HEADER: HeaderName = HeaderName::from_static(STATE);
const BAGGAGE_HEADER: HeaderName = HeaderName::from_static(BAGGAGE);

/// The longest request id that is taken from a caller.
const LONGEST_ID: usize = 128;
/// The longest `traceparent`. Version 00 has 55 characters; later ones may have more.
const LONGEST_PARENT: usize = 128;
/// The longest `tracestate`: what the specification asks everybody to pass on at least.
const LONGEST_STATE: usize = 512;
/// The longest `baggage`, by its specification.
const LONGEST_BAGGAGE: usize = 8192;
/// Most members of `tracestate`, by its specification.
const STATES: usize = 32;
/// Most members of `baggage`, by its specification.
const BAGS: usize = 64;

/// The request id and the trace context of one request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trace {
    id: HeaderValue,
    /// Weir made the id up: nobody before it knows it.
    made: bool,
    /// Rare, so that the common case is small.
    context: Option<Box<Context>>,
}

/// The parts that passed the checks.
#[derive(Clone, Debug, Default)]
struct Context {
    parent: Option<HeaderValue>,
    /// Never without a parent from the same place.
    state: Option<HeaderValue>,
    baggage: Option<HeaderValue>,
    /// The parent in the headers, if `_meta` has another one.
    transport: Option<HeaderValue>,
    /// The parent is a span of weir's own, which takes the place of what is in `_meta`.
    is_own: bool,
}

impl Trace {
    /// A request that nobody has said anything of: a new id, no context.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: made_up(),
            made: true,
            context: None,
        }
    }

    /// Reads the headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let single = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        let id = single(REQUEST_ID)
            .filter(|value| value.to_str().is_ok_and(is_id))
            .map(headers::detach);
        let parent = single(PARENT_HEADER)
            .filter(|value| value.to_str().is_ok_and(is_parent))
            .map(headers::detach);
        let context = Context {
            state: parent
                .as_ref()
                .and_then(|_| joined(headers, STATE_HEADER, is_state)),
            parent,
            baggage: joined(headers, BAGGAGE_HEADER, is_baggage),
            transport: None,
            is_own: false,
        };
        Self {
            made: id.is_none(),
            id: id.unwrap_or_else(made_up),
            context: context.boxed(),
        }
    }

    /// Takes in what the request's own `_meta` says.
    pub fn heed(&mut self, meta: Option<&Object<'_>>) {
        let Some(meta) = meta else { return };
        let take = |key, fits: fn(&str) -> bool| {
            let text = meta.string(key).filter(|text| fits(text))?;
            HeaderValue::from_str(&text).ok()
        };
        if self.made
            && let Some(id) = take(REQUEST_ID_KEY, is_id)
        {
            (self.id, self.made) = (id, false);
        }
        let parent = take(PARENT, is_parent);
        let baggage = take(BAGGAGE, is_baggage);
        if parent.is_none() && baggage.is_none() {
            return;
        }
        let context = self.context.get_or_insert_default();
        if parent.is_some() {
            context.transport = context
                .parent
                .take()
                .filter(|other| Some(other) != parent.as_ref());
            (context.parent, context.state) = (parent, take(STATE, is_state));
        }
        if baggage.is_some() {
            context.baggage = baggage;
        }
    }

    /// The request id, visible ASCII.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// The trace's id, 32 hexadecimal digits, if the request is part of one.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        let parent = self.context.as_ref()?.parent.as_ref()?;
        parent.to_str().ok()?.split('-').nth(1)
    }

    /// Returns the sender's `traceparent`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.context.as_ref()?.parent.as_ref()?.to_str().ok()
    }

    /// Returns the `traceparent` of the headers, if `_meta` has another one, which wins.
    #[must_use]
    pub fn transport_parent(&self) -> Option<&str> {
        self.context.as_ref()?.transport.as_ref()?.to_str().ok()
    }

    /// Returns the sender's `tracestate`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.context.as_ref()?.state.as_ref()?.to_str().ok()
    }

    /// Returns the sender's `baggage`.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.context.as_ref()?.baggage.as_ref()?.to_str().ok()
    }

    /// Returns the trace with a span of weir's own as the parent of the next hop, whatever `_meta`
    /// says. What belongs to the trace as a whole goes on: the state of the sender, and its baggage.
    #[must_use]
    pub fn with_parent(&self, parent: HeaderValue) -> Self {
        let context = self.context.as_deref();
        Self {
            context: Some(Box::new(Context {
                parent: Some(parent),
                state: context.and_then(|context| context.state.clone()),
                baggage: context.and_then(|context| context.baggage.clone()),
                transport: None,
                is_own: true,
            })),
            id: self.id.clone(),
            made: self.made,
        }
    }

    /// Names the request in an answer's headers.
    pub fn answer(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.id.clone());
    }

    /// The headers of the next hop. `baggage` goes only if it fits into so many bytes: 0 keeps it
    /// from a peer that is not trusted with it.
    pub fn write(&self, headers: &mut HeaderMap, baggage_room: usize) {
        headers.insert(REQUEST_ID, self.id.clone());
        let goes = |name: &str, value: &HeaderValue| {
            name != BAGGAGE || name.len() + value.len() + 4 <= baggage_room
        };
        for (name, value) in self.context().filter(|(name, value)| goes(name, value)) {
            let header = match name {
                PARENT => PARENT_HEADER,
                STATE => STATE_HEADER,
                _ => BAGGAGE_HEADER,
            };
            headers.insert(header, value.clone());
        }
    }

    /// Whether a request without `_meta` has to get one for the next hop.
    #[must_use]
    pub fn needs_meta(&self, on_stdio: bool) -> bool {
        on_stdio || self.context.is_some()
    }

    /// Adds to the `_meta` of the next hop what is not there: only `traceparent` and `tracestate` for
    /// a peer that is not trusted.
    pub fn write_meta(&self, meta: &mut Object<'_>, on_stdio: bool, is_trusted: bool) {
        if on_stdio
            && is_trusted
            && meta.string(REQUEST_ID_KEY).as_deref() != Some(self.request_id())
        {
            meta.set(REQUEST_ID_KEY, json::quote(self.request_id()));
        }
        let is_own = self.context.as_ref().is_some_and(|context| context.is_own);
        if is_own && self.state().is_none() {
            meta.remove(STATE);
        }
        // A state belongs to its parent: it is not put beside another one.
        let has_parent = meta.contains(PARENT);
        let context = self.context();
        for (key, value) in context.filter(|(key, _)| is_trusted || *key != BAGGAGE) {
            let is_taken = meta.contains(key) || (has_parent && key == STATE);
            if !is_taken || (is_own && key != BAGGAGE) {
                meta.set(key, json::quote(value.to_str().unwrap_or_default()));
            }
        }
    }

    fn context(&self) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
        self.context.iter().flat_map(|context| {
            let named = [
                (PARENT, &context.parent),
                (STATE, &context.state),
                (BAGGAGE, &context.baggage),
            ];
            named
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        })
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    fn boxed(self) -> Option<Box<Self>> {
        let is_empty = self.parent.is_none() && self.baggage.is_none();
        (!is_empty).then(|| Box::new(self))
    }
}

/// A new request id: 128 random bits in hexadecimal. Two ids are never the same; that somebody could guess the
/// next one does no harm.
fn made_up() -> HeaderValue {
    use std::hash::BuildHasher as _;
    // The standard library's source of random numbers: a system call per thread, not one per request.
    let random = std::hash::RandomState::new();
    let number = u128::from(random.hash_one(0_u8)) << 64 | u128::from(random.hash_one(1_u8));
    let text: [u8; 32] = std::array::from_fn(|at| match (number >> (4 * at)) as u8 & 15 {
        digit @ 0..=9 => b'0' + digit,
        digit => b'a' + digit - 10,
    });
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// A list that may be spread over several headers of one name (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: HeaderName, fits: fn(&str) -> bool) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return first
            .to_str()
            .is_ok_and(fits)
            .then(|| headers::detach(first));
    };
    let all = [first, second].into_iter().chain(values);
    let all: Option<Vec<&str>> = all.map(|value| value.to_str().ok()).collect();
    let text = all.map(|all| all.join(",")).filter(|text| fits(text))?;
    HeaderValue::try_from(text).ok()
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `version "-" trace-id "-" parent-id "-" flags`; a version after 00 may go on with another `-`.
fn is_parent(text: &str) -> bool {
    let hex = |text: &str, length| {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == length && text.bytes().all(is_hex)
    };
    let id = |text: &str, length| hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let mut parts = text.splitn(5, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (part(), part(), part(), part());
    let has_more = parts.next().is_some();
    text.len() <= LONGEST_PARENT
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && hex(version, 2)
        && version != "ff"
        && id(trace, 32)
        && id(parent, 16)
        && hex(flags, 2)
        && !(has_more && version == "00")
}

/// At least one member, each `key=value`, some of them left empty.
fn is_list(text: &str, longest: usize, most: usize, is_member: impl Fn(&str) -> bool) -> bool {
    let mut members = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    let mut count = 0;
    text.len() <= longest
        && members.all(|member| {
            count += usize::from(!member.is_empty());
            member.is_empty() || is_member(member)
        })
        && (1..=most).contains(&count)
}

fn is_state(text: &str) -> bool {
    let is_key =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    is_list(text, LONGEST_STATE, STATES, |member| {
        member.split_once('=').is_some_and(|(key, value)| {
            (1..=256).contains(&key.len())
                && key.bytes().all(is_key)
                && (1..=256).contains(&value.len())
                && value
                    .bytes()
                    .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
        })
    })
}

fn is_baggage(text: &str) -> bool {
    is_list(text, LONGEST_BAGGAGE, BAGS, |member| {
        let is_text = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        let (key, value) = member.split_once('=').unwrap_or_default();
        // A key is a token (RFC 9110): the same as the name of a header.
        HeaderName::from_bytes(key.trim_end().as_bytes()).is_ok() && value.bytes().all(is_text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT_00: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn sent(trace: &Trace, name: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        trace.write(&mut headers, usize::MAX);
        Some(headers.get(name)?.to_str().unwrap().to_owned())
    }

    fn in_meta(trace: &Trace, meta: &str, on_stdio: bool) -> String {
        let mut meta = Object::parse(meta).unwrap();
        trace.write_meta(&mut meta, on_stdio, true);
        meta.to_text()
    }

    #[test]
    fn an_id_is_taken_if_it_is_sane_and_made_otherwise() {
        let id = |value: &str| Trace::of(&headers(&[("x-request-id", value)]));
        for sane in ["a", "01ARZ3NDEKTSV4RRFFQ69G5FAV", &"x".repeat(128), "{\"\\"] {
            assert_eq!(id(sane).request_id(), sane);
        }
        for odd in ["", "a b", "a\tb", "\u{e9}", &"x".repeat(129)] {
            let made = id(odd);
            assert_ne!(made.request_id(), odd);
            assert_eq!(made.request_id().len(), 32, "{odd}");
        }
        let twice = Trace::of(&headers(&[("x-request-id", "a"), ("x-request-id", "a")]));
        assert_eq!(twice.request_id().len(), 32);
    }

    #[test]
    fn ids_that_are_made_differ() {
        let mut ids: Vec<_> = std::iter::repeat_with(|| Trace::new().request_id().to_owned())
            .take(10_000)
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn a_parent_is_what_the_specification_says() {
        let future = format!("cc{}-what-the-future-will-be-like", &PARENT_00[2..]);
        for good in [
            PARENT_00,
            future.as_str(),
            &format!("cc{}", &PARENT_00[2..]),
        ] {
            assert!(is_parent(good), "{good}");
        }
        for bad in [
            String::new(),
            PARENT_00.to_uppercase(),
            PARENT_00[1..].to_owned(),
            PARENT_00.replace("00-4b", "ff-4b"),
            PARENT_00.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            PARENT_00.replace("00f067aa0ba902b7", &"0".repeat(16)),
            format!("{PARENT_00}-more"),
            format!("{PARENT_00} "),
            format!("cc{}.x", &PARENT_00[2..]),
            format!("{future}{}", "x".repeat(64)),
        ] {
            assert!(!is_parent(&bad), "{bad}");
        }
    }

    #[test]
    fn lists_are_bounded_and_checked() {
        for good in [
            "a=1",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "a@b= x , ,c=\"1\"",
        ] {
            assert!(is_state(good), "{good}");
        }
        let many = |count| vec!["a=1"; count].join(",");
        for bad in ["", ",", "a", "A=1", "a=", "a=1=2", "a=\u{e9}", &many(33)] {
            assert!(!is_state(bad), "{bad}");
        }
        assert!(is_state(&many(32)) && !is_state(&format!("a={}", "1".repeat(255)).repeat(3)));
        for good in [
            "userId=alice,serverNode=DF%2028",
            "k = v;p;q=1 , z=",
            &many(64),
        ] {
            assert!(is_baggage(good), "{good}");
        }
        for bad in [
            "",
            "k",
            "=v",
            "k k=v",
            "k=\u{e9}",
            &many(65),
            &format!("k={}", "v".repeat(8192)),
        ] {
            assert!(!is_baggage(bad), "{bad}");
        }
    }

    #[test]
    fn a_state_without_a_parent_is_dropped_and_a_list_over_several_headers_joined() {
        let lone = Trace::of(&headers(&[("tracestate", "a=1")]));
        assert!(lone.context.is_none() && lone.trace_id().is_none());
        let trace = Trace::of(&headers(&[
            ("traceparent", PARENT_00),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "k=v"),
        ]));
        assert_eq!(trace.trace_id(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(sent(&trace, "tracestate").as_deref(), Some("a=1,b=2"));
        assert_eq!(
            in_meta(&trace, "{}", false),
            format!(r#"{{"traceparent":"{PARENT_00}","tracestate":"a=1,b=2","baggage":"k=v"}}"#)
        );
    }

    #[test]
    fn meta_wins_and_keeps_its_bytes() {
        let inner = PARENT_00.replace("-00f0", "-aaaa");
        let text = format!(
            r#"{{"n":1e400,"traceparent":"{inner}","baggage":[1],"weir/requestId":"theirs"}}"#
        );
        let meta = Object::parse(&text).unwrap();
        let outer = [
            ("traceparent", PARENT_00),
            ("tracestate", "a=1"),
            ("baggage", "k=v"),
        ];
        let mut trace = Trace::of(&headers(&outer));
        trace.heed(Some(&meta));
        assert_eq!(sent(&trace, "traceparent"), Some(inner));
        // Of the other parent.
        assert_eq!(sent(&trace, "tracestate"), None);
        assert_eq!(sent(&trace, "baggage").as_deref(), Some("k=v"));
        assert_eq!(trace.request_id(), "theirs");
        assert_eq!(in_meta(&trace, &text, true), text);
    }

    #[test]
    fn what_is_malformed_in_meta_stays_there_and_goes_nowhere_else() {
        let text = r#"{"traceparent":"00-a","tracestate":7,"weir/requestId":{}}"#;
        let meta = Object::parse(text).unwrap();
        let mut trace = Trace::of(&headers(&[
            ("traceparent", PARENT_00),
            ("tracestate", "a=1"),
        ]));
        trace.heed(Some(&meta));
        assert_eq!(sent(&trace, "traceparent").as_deref(), Some(PARENT_00));
        assert_eq!(in_meta(&trace, text, false), text);
        let mut none = Trace::new();
        none.heed(Some(&meta));
        assert!(sent(&none, "traceparent").is_none() && !none.needs_meta(false));
    }

    #[test]
    fn an_id_goes_into_meta_only_where_there_are_no_headers() {
        let trace = Trace::of(&headers(&[("x-request-id", "a\"b")]));
        assert!(trace.needs_meta(true) && !trace.needs_meta(false));
        assert_eq!(in_meta(&trace, r#"{"k":1}"#, false), r#"{"k":1}"#);
        assert_eq!(
            in_meta(&trace, r#"{"weir/requestId":[],"k":1}"#, true),
            r#"{"weir/requestId":"a\"b","k":1}"#
        );
    }
}
