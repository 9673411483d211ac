//! Chains of weirs: which of them a request has been through, and how much time it has left.
//!
//! Every request that weir sends has its path in `_meta["weir/path"]`: the instances it came through in
//! order, weir's own last. Replicas have one name, so a path through two of them is a loop.

use std::borrow::Cow;
use std::time::Duration;

use crate::json::{self, Object};
use crate::name::Instance;
use crate::protocol::error::Fault;
use crate::protocol::meta;

/// Most weirs in a chain: what has been through so many goes no further.
pub const MOST: usize = 8;

/// Most instances of a path that is read at all.
const READ: usize = 64;

/// Most time that a hop keeps for the way back.
const MARGIN: Duration = Duration::from_millis(500);

/// Why a request goes no further: it has been here.
pub const AGAIN: &str = "the request has been through this weir already";
/// Why a request goes no further: it has come too far.
pub const TOO_FAR: &str = "the request has been through too many weirs";

/// Refuses a request that has been through this weir already, or has come too far.
///
/// # Errors
/// [`Fault::Path`] with the path; [`Fault::Invalid`] for one that is no array of instances.
pub fn admit(meta: Option<&Object<'_>>, own: &Instance) -> Result<(), Fault> {
    path(meta, own).map(drop)
}

/// The chain of a request as its next hop is told.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'i> {
    /// This weir, if it is a hop.
    pub own: Option<&'i Instance>,
    /// How much time the request has left here.
    pub left: Duration,
}

impl<'i> Onward<'i> {
    /// Writes path and deadline into a request's `_meta`; all its other members stay as they are.
    ///
    /// # Errors
    /// As [`admit`].
    pub fn mark(&self, meta: &mut Object<'i>) -> Result<(), Fault> {
        if let Some(own) = self.own {
            let path = onward(Some(meta), own)?;
            meta.set(meta::PATH, path);
        }
        meta.set(meta::DEADLINE, travelling(self.left).to_string());
        Ok(())
    }
}

/// The path of a request on its next hop, as JSON text.
///
/// # Errors
/// As [`admit`].
pub fn onward<'i>(meta: Option<&Object<'_>>, own: &'i Instance) -> Result<Cow<'i, str>, Fault> {
    match path(meta, own)? {
        path if path.is_empty() => Ok(Cow::Borrowed(own.alone())),
        path => Ok(Cow::Owned(written(&path, Some(own)))),
    }
}

/// How much time the sender of a request gives it (`_meta["weir/deadlineMs"]`): nothing, if what it says
/// is not above 0. `None` where it says nothing, or no integer: who can only shorten has nothing to gain
/// from being misread.
#[must_use]
pub fn budget(meta: Option<&Object<'_>>) -> Option<Duration> {
    let text = meta?.get(meta::DEADLINE)?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if digits.len() < text.len() {
        return Some(Duration::ZERO);
    }
    text.parse().ok().map(Duration::from_millis)
}

/// How many milliseconds of a hop's time the next hop gets. A tenth, half a second at most, stays here for the way
/// back: who is nearest to a hanging upstream gives up first, and says whose fault it is.
#[must_use]
pub fn travelling(left: Duration) -> u64 {
    let left = left.saturating_sub((left / 10).min(MARGIN));
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

fn path<'m>(meta: Option<&'m Object<'_>>, own: &Instance) -> Result<Vec<&'m str>, Fault> {
    let Some(text) = meta.and_then(|meta| meta.get(meta::PATH)) else {
        return Ok(Vec::new());
    };
    let path = instances(text)
        .filter(|path| path.len() <= READ)
        .ok_or(Fault::Invalid("`weir/path` must be an array of instances"))?;
    let reason = if path.contains(&own.as_str()) {
        AGAIN
    } else if path.len() >= MOST {
        TOO_FAR
    } else {
        return Ok(path);
    };
    Err(Fault::Path {
        reason,
        path: written(&path, None),
    })
}

/// The names in an array of instances; `None` for everything else.
#[must_use]
pub fn instances(text: &str) -> Option<Vec<&str>> {
    json::array(text).ok()?.into_iter().map(instance).collect()
}

/// No character of an instance needs an escape, so what has one is no instance.
fn instance(item: &str) -> Option<&str> {
    let name = item.strip_prefix('"')?.strip_suffix('"')?;
    Instance::is_one(name).then_some(name)
}

fn written(path: &[&str], last: Option<&Instance>) -> String {
    let names = path.iter().copied().chain(last.map(Instance::as_str));
    let names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Instance {
        Instance::parse("b").unwrap()
    }

    fn after(path: &str) -> Result<String, Fault> {
        let text = format!(r#"{{"weir/path":{path}}}"#);
        let meta = Object::parse(&text).unwrap();
        assert_eq!(
            admit(Some(&meta), &own()).err(),
            onward(Some(&meta), &own()).err()
        );
        onward(Some(&meta), &own()).map(Cow::into_owned)
    }

    #[test]
    fn the_own_instance_is_appended() {
        assert_eq!(onward(None, &own()).unwrap(), r#"["b"]"#);
        let other = Object::parse(r#"{"x":["b"]}"#).unwrap();
        assert_eq!(onward(Some(&other), &own()).unwrap(), r#"["b"]"#);
        assert_eq!(after("[]").unwrap(), r#"["b"]"#);
        assert_eq!(after(r#"[ "a" , "B" ]"#).unwrap(), r#"["a","B","b"]"#);
    }

    #[test]
    fn every_other_member_keeps_its_bytes() {
        let own = own();
        let onward = Onward {
            own: Some(&own),
            left: Duration::from_secs(100),
        };
        let text = r#"{"\u0061":1e400,"weir/deadlineMs":7,"weir/path":["a"],"z":{ }}"#;
        let mut meta = Object::parse(text).unwrap();
        onward.mark(&mut meta).unwrap();
        assert_eq!(
            meta.to_text(),
            r#"{"\u0061":1e400,"weir/deadlineMs":99500,"weir/path":["a","b"],"z":{ }}"#
        );
    }

    #[test]
    fn a_sender_can_only_say_how_long_it_waits() {
        let said = |text: &str| {
            let text = format!(r#"{{"weir/deadlineMs":{text}}}"#);
            budget(Some(&Object::parse(&text).unwrap()))
        };
        assert_eq!(said("1500"), Some(Duration::from_millis(1500)));
        for spent in ["0", "-1", "-99999999999999999999999"] {
            assert_eq!(said(spent), Some(Duration::ZERO), "{spent}");
        }
        for odd in [
            "1e3",
            "1.5",
            "\"9\"",
            "null",
            "99999999999999999999999",
            "[]",
        ] {
            assert_eq!(said(odd), None, "{odd}");
        }
        assert_eq!(budget(None), None);
    }

    #[test]
    fn a_little_time_stays_for_the_way_back() {
        let travels = |millis| travelling(Duration::from_millis(millis));
        assert_eq!(travels(120_000), 119_500);
        assert_eq!(travels(1_000), 900);
        assert_eq!(travels(0), 0);
        assert_eq!(travelling(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_loop_and_a_path_without_end_are_refused() {
        let refused = |path: &str| match after(path) {
            Err(Fault::Path { path, .. }) => path,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(refused(r#"["a", "b","c"]"#), r#"["a","b","c"]"#);
        let eight = r#"["1","2","3","4","5","6","7","8"]"#;
        assert_eq!(refused(eight), eight);
        assert!(after(r#"["1","2","3","4","5","6","7"]"#).is_ok());
    }

    #[test]
    fn what_is_no_path_is_invalid() {
        let long = format!(r#"["{}"]"#, "x".repeat(65));
        let many = format!("[{}]", vec![r#""x""#; READ + 1].join(","));
        for path in [
            "null",
            "7",
            "{}",
            r#""b""#,
            "[7]",
            r#"[""]"#,
            r#"["a b"]"#,
            r#"["\u0062"]"#,
            r#"["é"]"#,
            r#"[["b"]]"#,
            "[null]",
            &long,
            &many,
        ] {
            assert!(matches!(after(path), Err(Fault::Invalid(_))), "{path}");
        }
    }
}
