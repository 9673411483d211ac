//! The params of a request on their next hop: the same bytes, with this hop's `_meta`.

use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::era::Version;
use crate::protocol::error::Fault;
use crate::protocol::meta as keys;
use crate::protocol::trace::Trace;
use crate::relay::logs::Logs;
use crate::upstream::Peer;
use crate::upstream::probe::WEIR;

/// What one hop sends, and what has to be remembered for the way back.
#[derive(Debug)]
pub(super) struct Hop {
    /// The params as JSON text.
    pub(super) params: String,
    /// The caller's progress token as JSON text, if it sent one.
    pub(super) token: Option<Box<str>>,
    /// Which log messages on this call's stream are for the caller.
    pub(super) logs: Logs,
}

/// Puts this hop's `_meta` into the params for this upstream. Progress tokens are this hop's own: the number of the request on
/// its link.
///
/// # Errors
/// `_meta` is no object or has a key twice.
pub(super) fn hop(
    params: &mut Object<'_>,
    meta: Option<&Object<'_>>,
    caller: Era,
    peer: &Peer,
    id: u64,
    trace: &Trace,
) -> Result<Hop, Fault> {
    towards(
        params,
        meta,
        caller,
        (peer.era(), peer.is_on_stdio()),
        id,
        trace,
    )
}

fn towards(
    params: &mut Object<'_>,
    meta: Option<&Object<'_>>,
    caller: Era,
    (upstream, on_stdio): (Era, bool),
    id: u64,
    trace: &Trace,
) -> Result<Hop, Fault> {
    let logs = Logs::of(caller, meta);
    if meta.is_none() && upstream == Era::Legacy && !trace.needs_meta(on_stdio) {
        // There is one only from an attempt at a peer of the other era.
        params.remove("_meta");
        return Ok(Hop {
            params: params.to_text(),
            token: None,
            logs,
        });
    }
    let mut own = meta.cloned().unwrap_or_default();
    let token = own.get(keys::PROGRESS_TOKEN).map(Box::from);
    if token.is_some() {
        own.set(keys::PROGRESS_TOKEN, id.to_string());
    }
    match (caller, upstream) {
        (Era::Legacy, Era::Legacy) => {}
        // The envelope of a modern request means nothing to a legacy upstream.
        (Era::Modern, Era::Legacy) => own.retain(|key| !is_envelope(key)),
        (Era::Legacy, Era::Modern) => {
            own.set(keys::PROTOCOL_VERSION, format!("\"{}\"", Version::MODERN));
            own.set(keys::CLIENT_INFO, WEIR);
            // What a modern upstream may ask for, this connection cannot carry yet.
            own.set(keys::CLIENT_CAPABILITIES, "{}");
        }
        (Era::Modern, Era::Modern) => {
            own.set(keys::PROTOCOL_VERSION, format!("\"{}\"", Version::MODERN));
        }
    }
    trace.write_meta(&mut own, on_stdio);
    // Only `params` and `_meta` are rewritten; an untouched message keeps even its spelling of `_meta`.
    if own.is_empty() && caller != upstream {
        params.remove("_meta");
    } else {
        params.set("_meta", own.to_text());
    }
    Ok(Hop {
        params: params.to_text(),
        token,
        logs,
    })
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
    use super::*;

    fn rewritten(text: &str, caller: Era, upstream: Era) -> (String, Option<Box<str>>) {
        let mut params = Object::parse(text).unwrap();
        let meta = params
            .borrowed("_meta")
            .map(|meta| Object::parse(meta).unwrap());
        let trace = Trace::new();
        let hop = towards(
            &mut params,
            meta.as_ref(),
            caller,
            (upstream, false),
            7,
            &trace,
        )
        .unwrap();
        (hop.params, hop.token)
    }

    #[test]
    fn between_legacy_sides_only_the_progress_token_changes() {
        let text = r#"{"name":"x","_meta":{"a":1e400,"progressToken":"mine","io.modelcontextprotocol/related-task":{}}}"#;
        let (sent, token) = rewritten(text, Era::Legacy, Era::Legacy);
        assert_eq!(sent, text.replace("\"mine\"", "7"));
        assert_eq!(token.as_deref(), Some("\"mine\""));
        assert_eq!(
            rewritten(r#"{"name":"x"}"#, Era::Legacy, Era::Legacy),
            (r#"{"name":"x"}"#.to_owned(), None)
        );
    }

    #[test]
    fn the_modern_envelope_does_not_reach_a_legacy_upstream() {
        let text = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"traceparent":"00-a"}}"#;
        assert_eq!(
            rewritten(text, Era::Modern, Era::Legacy).0,
            r#"{"name":"x","_meta":{"traceparent":"00-a"}}"#
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
