//! Selects the log messages on a call's stream that are for its caller
//! (`server/utilities/logging.mdx`).

use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::meta;

/// `LoggingLevel`, from the least severe to the most.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The log messages that a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFilter {
    /// All of them. A legacy upstream filters, by the level that was set for the session.
    All,
    /// None: a modern request names no level, or an unknown one.
    None,
    /// Messages at least as severe as the level at this index of `LEVELS`. The upstream should
    /// filter too, but not every one does.
    From(usize),
}

impl LogFilter {
    /// Returns the filter for a request with this `_meta`.
    #[must_use]
    pub fn new(caller: Era, own: Option<&Object<'_>>) -> Self {
        match caller {
            Era::Legacy => Self::All,
            Era::Modern => {
                let level = own.and_then(|own| own.string(meta::LOG_LEVEL));
                let place = level.and_then(|level| place(&level));
                place.map_or(Self::None, Self::From)
            }
        }
    }

    /// Returns the filter for a legacy caller of a modern upstream, which is asked for the level of the
    /// caller's session in each request with this `_meta`.
    #[must_use]
    pub fn of_session(own: &Object<'_>) -> Self {
        let level = own.string(meta::LOG_LEVEL);
        let place = level.and_then(|level| place(&level));
        place.map_or(Self::All, Self::From)
    }

    /// Returns whether a message is for this caller. A message with no level or an unknown one is,
    /// unless the caller wants none.
    #[must_use]
    pub fn passes(self, params: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::From(least) => {
                let params = params.and_then(|text| Object::parse(text).ok());
                let level = params.as_ref().and_then(|params| params.string("level"));
                let place = level.and_then(|level| place(&level));
                place.is_none_or(|place| place >= least)
            }
        }
    }
}

/// Returns whether this is a `LoggingLevel`.
#[must_use]
pub fn is_level(level: &str) -> bool {
    place(level).is_some()
}

fn place(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(caller: Era, own: &str) -> Vec<&'static str> {
        let logs = LogFilter::new(caller, Some(&Object::parse(own).unwrap()));
        let takes =
            |level: &&str| logs.passes(Some(&format!("{{\"level\":\"{level}\",\"data\":1}}")));
        LEVELS.into_iter().filter(takes).collect()
    }

    #[test]
    fn a_modern_caller_gets_what_is_severe_enough_and_nothing_unasked() {
        let asked = r#"{"io.modelcontextprotocol/logLevel":"alert"}"#;
        assert_eq!(taken(Era::Modern, asked), ["alert", "emergency"]);
        assert_eq!(taken(Era::Modern, "{}"), [""; 0]);
        let unknown = r#"{"io.modelcontextprotocol/logLevel":"loud"}"#;
        assert_eq!(taken(Era::Modern, unknown), [""; 0]);
        assert_eq!(LogFilter::new(Era::Modern, None), LogFilter::None);
    }

    #[test]
    fn a_legacy_caller_gets_all() {
        assert_eq!(taken(Era::Legacy, "{}"), LEVELS);
    }

    #[test]
    fn a_legacy_caller_gets_what_a_modern_upstream_was_asked_for() {
        let filter = |own| LogFilter::of_session(&Object::parse(own).unwrap());
        let asked = filter(r#"{"io.modelcontextprotocol/logLevel":"info"}"#);
        assert_eq!(asked, LogFilter::From(1));
        assert_eq!(filter("{}"), LogFilter::All);
    }

    #[test]
    fn a_level_that_cannot_be_compared_passes_where_any_does() {
        for params in [None, Some("{}"), Some("[]"), Some(r#"{"level":"loud"}"#)] {
            assert!(LogFilter::From(7).passes(params) && !LogFilter::None.passes(params));
        }
    }
}
