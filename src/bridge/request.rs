//! Rewrites the params of a request for an upstream: the same bytes, with a new `_meta` in the
//! upstream's era.

use crate::bridge::logs::LogFilter;
use crate::json::{self, Object};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::hops::Onward;
use crate::protocol::meta as keys;
use crate::protocol::trace::Trace;

/// The params for an upstream, and what has to be remembered for its answer.
#[derive(Debug)]
pub struct HopParams {
    /// The params as JSON text.
    pub params: String,
    /// The caller's progress token as JSON text, if it sent one.
    pub token: Option<Box<str>>,
    /// The log messages on this call's stream that are for the caller.
    pub logs: LogFilter,
}

/// The part of `_meta` that tells an upstream where a request comes from.
#[derive(Debug)]
pub struct HopMeta<'s> {
    /// The request id and the trace context.
    pub trace: &'s Trace,
    /// The path through weirs, and the remaining time.
    pub onward: Onward<'s>,
    /// Whether weir wants to hear of progress even if the caller does not.
    pub wants_progress: bool,
    /// Whether the `baggage` of HTTP headers goes on. Rules for data do not look at it.
    pub keeps_baggage: bool,
    /// The parts that a modern upstream is told of the client of a legacy session; `None` where there
    /// are none.
    pub client: Option<LegacyClient>,
}

/// The parts of a legacy session that a modern request carries itself, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyClient {
    /// The capabilities.
    pub capabilities: String,
    /// The level of log messages, if it gets any.
    pub log_level: Option<String>,
}

/// The two sides of a request: its caller and its upstream.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// The caller's era.
    pub caller: Era,
    /// The upstream's era.
    pub upstream: Era,
    /// Whether the upstream is a child process, which gets no headers.
    pub on_stdio: bool,
    /// Whether the upstream gets all of `_meta` (`forward_meta`). Otherwise it gets the keys of the
    /// specification: neither what callers put beside them, nor baggage, nor what weirs tell each
    /// other.
    pub is_trusted: bool,
}

/// The member of `_meta` for baggage.
const BAGGAGE: &str = "baggage";

/// Optional members of params. Callers that cannot leave a member out write `null` for it; many
/// upstreams take that for a mistake, so it is left out here.
const OPTIONAL: [&str; 5] = [
    "arguments",
    "inputResponses",
    "requestState",
    "context",
    "task",
];
/// The same for members of `_meta`. What others put there may mean something by `null`.
const OPTIONAL_META: [&str; 6] = [
    keys::PROGRESS_TOKEN,
    keys::CLIENT_INFO,
    keys::LOG_LEVEL,
    "traceparent",
    "tracestate",
    BAGGAGE,
];

/// Puts a `_meta` for the upstream into the params, and leaves out optional members that are `null`.
/// A progress token becomes weir's own: the number `id` of the request on its link.
///
/// # Errors
/// The path in `_meta` is not valid, or says that the request goes round in circles.
pub fn rewrite_params(
    params: &mut Object<'_>,
    meta: Option<&Object<'_>>,
    hop: Hop,
    id: u64,
    hop_meta: &HopMeta<'_>,
) -> Result<HopParams, Fault> {
    let mut logs = LogFilter::new(hop.caller, meta);
    params.remove_nulls(&OPTIONAL);
    let mut own = meta.cloned().unwrap_or_default();
    if !hop.is_trusted {
        own.retain(keys::is_standard);
    }
    own.remove_nulls(&OPTIONAL_META);
    let token: Option<Box<str>> = own.value(keys::PROGRESS_TOKEN).map(Box::from);
    if token.is_some() || hop_meta.wants_progress {
        own.set(keys::PROGRESS_TOKEN, id.to_string());
    }
    match (hop.caller, hop.upstream) {
        (Era::Legacy, Era::Legacy) => {}
        // The envelope of a modern request means nothing to a legacy upstream.
        (Era::Modern, Era::Legacy) => own.retain(|key| !is_envelope(key)),
        (Era::Legacy, Era::Modern) => {
            set_envelope(&mut own, hop_meta.client.as_ref());
            logs = LogFilter::of_session(&own);
        }
        (Era::Modern, Era::Modern) => {
            if own
                .get(keys::CLIENT_CAPABILITIES)
                .is_some_and(json::says_nothing)
            {
                own.set(keys::CLIENT_CAPABILITIES, "{}");
            }
            own.set(keys::PROTOCOL_VERSION, format!("\"{}\"", Version::MODERN));
        }
    }
    let is_trusted = hop.is_trusted;
    let has_baggage = own.contains(BAGGAGE);
    hop_meta
        .trace
        .write_meta(&mut own, hop.on_stdio, is_trusted);
    if !hop_meta.keeps_baggage && !has_baggage {
        own.remove(BAGGAGE);
    }
    if is_trusted {
        hop_meta.onward.mark(&mut own)?;
    }
    // Only `params` and `_meta` are rewritten, and their members keep their spelling.
    if !own.is_empty() || meta.is_some() {
        params.set("_meta", own.to_text());
    }
    Ok(HopParams {
        params: params.to_text(),
        token,
        logs,
    })
}

/// Adds the members that every modern request has (`basic/index.mdx#_meta`).
fn set_envelope(own: &mut Object<'_>, client: Option<&LegacyClient>) {
    own.set(keys::PROTOCOL_VERSION, format!("\"{}\"", Version::MODERN));
    own.set(keys::CLIENT_INFO, keys::WEIR);
    let capabilities = client.map_or("{}", |client| &client.capabilities);
    own.set(keys::CLIENT_CAPABILITIES, capabilities.to_owned());
    if let Some(level) = client.and_then(|client| client.log_level.clone()) {
        own.set(keys::LOG_LEVEL, level);
    }
}

fn is_envelope(key: &str) -> bool {
    [
        keys::PROTOCOL_VERSION,
        keys::CLIENT_INFO,
        keys::CLIENT_CAPABILITIES,
        keys::LOG_LEVEL,
    ]
    .contains(&key)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::Instance;

    /// The path and the deadline that weir adds.
    const OWN: &str = r#","weir/path":["w"],"weir/deadlineMs":900}}"#;

    fn rewritten(text: &str, caller: Era, upstream: Era) -> (String, Option<Box<str>>) {
        rewritten_for(true, text, caller, upstream)
    }

    fn rewritten_for(
        is_trusted: bool,
        text: &str,
        caller: Era,
        upstream: Era,
    ) -> (String, Option<Box<str>>) {
        let mut params = Object::parse(text).unwrap();
        let meta = params
            .borrowed("_meta")
            .map(|meta| Object::parse(meta).unwrap());
        let own = Instance::parse("w").unwrap();
        let onward = Onward {
            own: Some(&own),
            left: Duration::from_secs(1),
        };
        let hop_meta = HopMeta {
            trace: &Trace::new(),
            onward,
            wants_progress: false,
            keeps_baggage: true,
            client: None,
        };
        let hop = Hop {
            caller,
            upstream,
            on_stdio: false,
            is_trusted,
        };
        let sent = rewrite_params(&mut params, meta.as_ref(), hop, 7, &hop_meta).unwrap();
        (sent.params, sent.token)
    }

    #[test]
    fn between_legacy_sides_only_the_progress_token_and_what_is_of_the_chain_changes() {
        let text = r#"{"name":"x","_meta":{"a":1e400,"progressToken":"mine","io.modelcontextprotocol/related-task":{}}}"#;
        let (sent, token) = rewritten(text, Era::Legacy, Era::Legacy);
        let expected = text.strip_suffix("}}").unwrap().replace("\"mine\"", "7");
        assert_eq!(sent, expected + OWN);
        assert_eq!(token.as_deref(), Some("\"mine\""));
        assert_eq!(
            rewritten(r#"{"name":"x"}"#, Era::Legacy, Era::Legacy),
            (format!(r#"{{"name":"x","_meta":{{{}"#, &OWN[1..]), None)
        );
    }

    #[test]
    fn an_upstream_that_is_not_trusted_gets_the_keys_of_the_specification() {
        let text = r#"{"name":"x","_meta":{"a":1,"progressToken":2,"baggage":"k=v","traceparent":"00-a","weir/path":["v"],"weir/deadlineMs":5,"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
        let (sent, _) = rewritten_for(false, text, Era::Legacy, Era::Legacy);
        assert_eq!(
            sent,
            r#"{"name":"x","_meta":{"progressToken":7,"traceparent":"00-a","io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#
        );
    }

    #[test]
    fn the_modern_envelope_does_not_reach_a_legacy_upstream() {
        let text = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"traceparent":"00-a"}}"#;
        assert_eq!(
            rewritten(text, Era::Modern, Era::Legacy).0,
            r#"{"name":"x","_meta":{"traceparent":"00-a""#.to_owned() + OWN
        );
    }

    #[test]
    fn optional_members_that_are_null_are_left_out_and_others_stay() {
        let text = r#"{"name":"x","arguments":null,"a":null,"requestState":null,"inputResponses":null,"context":null,"task":null,"_meta":{"progressToken":null,"b":null,"traceparent":null,"io.modelcontextprotocol/logLevel":null}}"#;
        let expected = r#"{"name":"x","a":null,"_meta":{"b":null"#.to_owned() + OWN;
        assert_eq!(
            rewritten(text, Era::Legacy, Era::Legacy),
            (expected.clone(), None)
        );
        assert_eq!(rewritten(text, Era::Modern, Era::Legacy), (expected, None));
        let inside = r#"{"name":"x","arguments":{"a":null},"_meta":{"b":1"#;
        let text = inside.to_owned() + "}}";
        assert_eq!(
            rewritten(&text, Era::Legacy, Era::Legacy).0,
            inside.to_owned() + OWN
        );
    }

    #[test]
    fn a_legacy_call_gets_a_modern_envelope() {
        let (sent, _) = rewritten(r#"{"name":"x"}"#, Era::Legacy, Era::Modern);
        assert!(
            sent.contains(r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#),
            "{sent}"
        );
        assert!(
            sent.contains(r#""io.modelcontextprotocol/clientCapabilities":{}"#),
            "{sent}"
        );
    }
}
