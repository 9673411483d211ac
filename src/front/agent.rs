//! The name that a client gives itself, for records. Nobody verifies it, and nothing is decided by it.

use std::sync::Arc;

use crate::json::Object;
use crate::printable;

/// The most characters of a name, and of a version.
const CHARACTERS: usize = 64;

/// Reads `Implementation` (`schema.ts`): `name/version` or the name alone, printable and cut.
pub(super) fn agent_of(info: &str) -> Option<Arc<str>> {
    let info = Object::parse(info).ok()?;
    let part = |key| {
        let text = info.string(key)?;
        let cut: String = text.chars().take(CHARACTERS).collect();
        let shown = printable::line(&cut).trim().to_owned();
        (!shown.is_empty()).then_some(shown)
    };
    let name = part("name")?;
    Some(match part("version") {
        Some(version) => format!("{name}/{version}").into(),
        None => name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_printable_and_bounded() {
        let of = |info: &str| agent_of(info).map(|agent| agent.to_string());
        let usual = of(r#"{"name":"cli","title":"The CLI","version":"1.2"}"#);
        assert_eq!(usual.as_deref(), Some("cli/1.2"));
        assert_eq!(of(r#"{"name":"cli"}"#).as_deref(), Some("cli"));
        for odd in [
            r#"{"version":"1"}"#,
            r#"{"name":7}"#,
            r#"{"name":" "}"#,
            "[]",
            "x",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        let long = format!(
            "{{\"name\":\"{}\",\"version\":\"\\u001b[2J\\n\"}}",
            "x".repeat(9_999)
        );
        let long = of(&long).unwrap();
        assert!(
            long.len() < 200 && long.chars().all(printable::is_harmless),
            "{long}"
        );
    }
}
