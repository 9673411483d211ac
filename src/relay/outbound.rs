//! The params of a request on their next hop: the same bytes, with this hop's `_meta`.

use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::era::Version;
use crate::protocol::error::Fault;
use crate::protocol::hops::Onward;
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

/// What every request tells the next hop of where it comes from.
pub(super) struct Said<'s> {
    /// Whom it belongs to.
    pub(super) trace: &'s Trace,
    /// Its chain of weirs.
    pub(super) onward: Onward<'s>,
}

/// Puts this hop's `_meta` into the params for this upstream. Progress tokens are this hop's own: the number of the request on
/// its link.
///
/// # Errors
/// `_meta` is no object or has a key twice, or says that the request goes round in circles.
pub(super) fn hop(
    params: &mut Object<'_>,
    meta: Option<&Object<'_>>,
    caller: Era,
    peer: &Peer,
    id: u64,
    said: Said<'_>,
) -> Result<Hop, Fault> {
    let on_stdio = peer.is_on_stdio();
    towards(params, meta, caller, (peer.era(), on_stdio), id, said)
}

fn towards(
    params: &mut Object<'_>,
    meta: Option<&Object<'_>>,
    caller: Era,
    (upstream, on_stdio): (Era, bool),
    id: u64,
    said: Said<'_>,
) -> Result<Hop, Fault> {
    let logs = Logs::of(caller, meta);
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
    said.trace.write_meta(&mut own, on_stdio);
    said.onward.mark(&mut own)?;
    // Only `params` and `_meta` are rewritten, and their members keep their spelling.
    params.set("_meta", own.to_text());
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
    use std::time::Duration;

    use super::*;
    use crate::name::Instance;

    /// What weir itself says of the chain.
    const OWN: &str = r#","weir/path":["w"],"weir/deadlineMs":900}}"#;

    fn rewritten(text: &str, caller: Era, upstream: Era) -> (String, Option<Box<str>>) {
        let mut params = Object::parse(text).unwrap();
        let meta = params
            .borrowed("_meta")
            .map(|meta| Object::parse(meta).unwrap());
        let own = Instance::parse("w").unwrap();
        let onward = Onward {
            own: Some(&own),
            left: Duration::from_secs(1),
        };
        let said = Said {
            trace: &Trace::new(),
            onward,
        };
        let to = (upstream, false);
        let hop = towards(&mut params, meta.as_ref(), caller, to, 7, said).unwrap();
        (hop.params, hop.token)
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
    fn the_modern_envelope_does_not_reach_a_legacy_upstream() {
        let text = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"traceparent":"00-a"}}"#;
        assert_eq!(
            rewritten(text, Era::Modern, Era::Legacy).0,
            r#"{"name":"x","_meta":{"traceparent":"00-a""#.to_owned() + OWN
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
