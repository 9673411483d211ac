//! `_meta["weir/origin"]`: the weirs that a definition came through, nearest first.
//!
//! By it a weir knows its own definitions when they come back to it round a loop, so that weirs
//! which list each other end with the catalogs they would have without the loop.

use std::ops::Range;

use crate::catalog::edit::span;
use crate::json::Object;
use crate::name::Instance;
use crate::protocol::hops::{self, MOST};
use crate::protocol::meta::ORIGIN;

/// The origin that a definition states, and where a weir adds itself in its text. `None` if it has
/// no `_meta`, as most have: then the weir adds itself at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Option<Box<Found>>);

#[derive(Clone, Debug, Default)]
struct Found {
    /// The weirs it came through, nearest first; no more than are looked at.
    hops: Box<[Box<str>]>,
    /// The bytes to replace: usually none.
    at: Range<usize>,
    /// The text to put before and after the name of the weir.
    around: (&'static str, &'static str),
}

/// Definitions that are left out because of where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedCounts {
    /// They came from this weir: it lists itself by a detour.
    pub own: usize,
    /// They came through so many weirs that a call would not get there.
    pub far: usize,
}

impl Origin {
    /// Reads the origin of a definition. What is no origin says nothing, and is replaced.
    pub(crate) fn read(raw: &str, definition: &Object<'_>) -> Self {
        let meta = definition.borrowed("_meta");
        Self(meta.map(|meta| Box::new(Found::read(raw, meta))))
    }

    /// Returns whether the definition must be left out of the catalog of a weir of this name, and
    /// counts it then.
    pub(crate) fn is_dropped(&self, own: &Instance, dropped: &mut DroppedCounts) -> bool {
        let hops = self.0.as_ref().map_or(&[][..], |found| &found.hops);
        if hops.iter().any(|hop| **hop == *own.as_str()) {
            dropped.own += 1;
            return true;
        }
        let far = hops.len() >= MOST;
        dropped.far += usize::from(far);
        far
    }

    /// Returns the edit of the text of the definition that adds a weir.
    pub(crate) fn with(&self, raw: &str, own: &Instance) -> (Range<usize>, String) {
        let (at, (before, after)) = match &self.0 {
            Some(found) => (found.at.clone(), found.around),
            None => {
                let end = raw.len().saturating_sub(1);
                (end..end, (",\"_meta\":{\"weir/origin\":[", "]}"))
            }
        };
        (at, [before, own.as_json(), after].concat())
    }
}

impl Found {
    fn read(raw: &str, text: &str) -> Self {
        let inside = |at: usize, around| Self {
            at: at..at,
            around,
            ..Self::default()
        };
        let whole = span(raw, text);
        let Ok(meta) = Object::parse(text) else {
            return Self {
                at: whole,
                around: ("{\"weir/origin\":[", "]}"),
                ..Self::default()
            };
        };
        let Some(text) = meta.borrowed(ORIGIN) else {
            let end = whole.end.saturating_sub(1);
            return match meta.is_empty() {
                true => inside(end, ("\"weir/origin\":[", "]")),
                false => inside(end, (",\"weir/origin\":[", "]")),
            };
        };
        let value = span(raw, text);
        match hops::instances(text) {
            None => Self {
                at: value,
                around: ("[", "]"),
                ..Self::default()
            },
            Some(names) => {
                let after = if names.is_empty() { "" } else { "," };
                let looked_at = names.into_iter().take(4 * MOST);
                Self {
                    hops: looked_at.map(Box::from).collect(),
                    ..inside(value.start + 1, ("", after))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Kind, listing};

    fn read(raw: &str) -> Origin {
        listing::check_definition(Kind::Prompts, raw)
            .unwrap()
            .facts
            .origin
    }

    fn with(raw: &str) -> String {
        let (at, text) = read(raw).with(raw, &Instance::parse("w").unwrap());
        [&raw[..at.start], &text, &raw[at.end..]].concat()
    }

    #[test]
    fn a_weir_is_put_before_those_that_are_there() {
        let cases = [
            (
                r#"{ "name":"a" }"#,
                r#"{ "name":"a" ,"_meta":{"weir/origin":["w"]}}"#,
            ),
            (
                r#"{"_meta":{ },"name":"a"}"#,
                r#"{"_meta":{ "weir/origin":["w"]},"name":"a"}"#,
            ),
            (
                r#"{"_meta":{"x":1e400 },"name":"a"}"#,
                r#"{"_meta":{"x":1e400 ,"weir/origin":["w"]},"name":"a"}"#,
            ),
            (
                r#"{"name":"a","_meta":{"weir\/origin":[ "b","c"],"z":[ ]},"n":1}"#,
                r#"{"name":"a","_meta":{"weir\/origin":["w", "b","c"],"z":[ ]},"n":1}"#,
            ),
            (
                r#"{"name":"a","_meta":{"weir/origin":[ ]}}"#,
                r#"{"name":"a","_meta":{"weir/origin":["w" ]}}"#,
            ),
        ];
        for (raw, expected) in cases {
            assert_eq!(with(raw), expected);
        }
    }

    #[test]
    fn what_is_no_origin_is_replaced() {
        for odd in [
            "null",
            "7",
            r#""b""#,
            "{}",
            r#"["a b"]"#,
            r#"[["b"]]"#,
            "[1]",
        ] {
            let raw = format!(r#"{{"name":"a","_meta":{{"weir/origin":{odd} ,"x":0}}}}"#);
            let expected = raw.replace(odd, r#"["w"]"#);
            assert_eq!(with(&raw), expected);
        }
        for odd in ["null", "[]", r#"{"a":1,"a":2}"#] {
            let raw = format!(r#"{{"_meta":{odd} ,"name":"a"}}"#);
            let expected = raw.replace(odd, r#"{"weir/origin":["w"]}"#);
            assert_eq!(with(&raw), expected);
        }
    }

    #[test]
    fn what_came_from_here_or_from_too_far_is_dropped() {
        let own = Instance::parse("w").unwrap();
        let mut dropped = DroppedCounts::default();
        let mut is_dropped = |origin: &str| {
            let raw = format!(r#"{{"name":"a","_meta":{{"weir/origin":{origin}}}}}"#);
            read(&raw).is_dropped(&own, &mut dropped)
        };
        assert!(!is_dropped("[]"));
        assert!(!is_dropped(r#"["a","W"]"#));
        assert!(is_dropped(r#"["a","w"]"#));
        assert!(!is_dropped(r#"["1","2","3","4","5","6","7"]"#));
        assert!(is_dropped(r#"["1","2","3","4","5","6","7","8"]"#));
        assert!(is_dropped(r#"["1","2","3","4","5","6","7","8","9","w"]"#));
        assert_eq!(dropped, DroppedCounts { own: 2, far: 1 });
        assert!(!read(r#"{"name":"a"}"#).is_dropped(&own, &mut dropped));
    }
}
