//! `_meta["weir/stale"]`: since when a definition may be out of date.
//!
//! A weir stamps what it serves though it cannot list its upstream any more, with the time when
//! that was last found to hold. What a weir before it has stamped keeps the older of the two times:
//! a definition is as old as its oldest part. A stamp is put on what callers see, not on what was
//! listed, so no weir ever takes its own for news.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::catalog::edit::span;
use crate::json::{self, Object};
use crate::protocol::meta::STALE;

/// When something was last found to hold; whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleSince(DateTime<Utc>);

impl StaleSince {
    /// Of this time.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let time = DateTime::<Utc>::from(time);
        Self(DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time))
    }

    /// The one on a definition, given as JSON text, if there is one that can be read.
    #[must_use]
    pub fn on(definition: &str) -> Option<Self> {
        let definition = Object::parse(definition).ok()?;
        let meta = Object::parse(definition.borrowed("_meta")?).ok()?;
        Self::read(meta.get(STALE)?)
    }

    /// From JSON text: a string with a time of RFC 3339.
    fn read(value: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(&json::string(value)?).ok()?;
        DateTime::from_timestamp(time.timestamp(), 0).map(Self)
    }

    /// The definition, given as JSON text, with this stamp on it, or with the one that it has if
    /// that is older.
    pub(super) fn put(self, definition: String) -> String {
        let Ok(object) = Object::parse(&definition) else {
            return definition;
        };
        let (key, value) = (json::quote(STALE), json::quote(&self.to_string()));
        let inside = |end: usize, text: String| (end..end, text);
        let (at, text) = match object.borrowed("_meta") {
            None => {
                let end = definition.len().saturating_sub(1);
                inside(end, format!(",\"_meta\":{{{key}:{value}}}"))
            }
            Some(text) => {
                let whole = span(&definition, text);
                match Object::parse(text) {
                    Err(_) => (whole, format!("{{{key}:{value}}}")),
                    Ok(meta) => match meta.borrowed(STALE) {
                        Some(there) if Self::read(there).is_some_and(|there| there <= self) => {
                            return definition;
                        }
                        Some(there) => (span(&definition, there), value),
                        None => {
                            let comma = if meta.is_empty() { "" } else { "," };
                            inside(whole.end.saturating_sub(1), format!("{comma}{key}:{value}"))
                        }
                    },
                }
            }
        };
        let part = |range| definition.get(range).unwrap_or_default();
        [part(0..at.start), &text, part(at.end..definition.len())].concat()
    }
}

/// The definition, given as JSON text, with the stamp of another one in the place of its own;
/// `None` if that is the same.
pub(super) fn carried(definition: &str, from: &str) -> Option<String> {
    let stamp = StaleSince::on(from);
    if StaleSince::on(definition) == stamp {
        return None;
    }
    let mut object = Object::parse(definition).ok()?;
    let mut meta = Object::parse(object.get("_meta").unwrap_or("{}")).ok()?;
    meta.remove(STALE);
    if meta.is_empty() {
        object.remove("_meta");
    } else {
        object.set("_meta", meta.to_text());
    }
    let text = object.to_text();
    Some(match stamp {
        Some(stamp) => stamp.put(text),
        None => text,
    })
}

impl fmt::Display for StaleSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stamp() -> StaleSince {
        // date -u -d 2026-11-22T06:04:41Z +%s
        StaleSince::of(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_327_481_900))
    }

    #[test]
    fn a_time_is_written_in_whole_seconds_of_utc() {
        assert_eq!(stamp().to_string(), "2026-11-22T06:04:41Z");
        assert_eq!(
            StaleSince::of(SystemTime::UNIX_EPOCH).to_string(),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_stamp_stands_at_the_end_of_meta_and_changes_nothing_else() {
        let cases = [
            (
                r#"{ "name":"a" }"#,
                r#"{ "name":"a" ,"_meta":{"weir/stale":"2026-11-22T06:04:41Z"}}"#,
            ),
            (
                r#"{"_meta":{ },"name":"a"}"#,
                r#"{"_meta":{ "weir/stale":"2026-11-22T06:04:41Z"},"name":"a"}"#,
            ),
            (
                r#"{"_meta":{"x":1e400 ,"weir/origin":["w"]},"name":"a"}"#,
                r#"{"_meta":{"x":1e400 ,"weir/origin":["w"],"weir/stale":"2026-11-22T06:04:41Z"},"name":"a"}"#,
            ),
            (
                r#"{"_meta":null ,"name":"a"}"#,
                r#"{"_meta":{"weir/stale":"2026-11-22T06:04:41Z"} ,"name":"a"}"#,
            ),
        ];
        for (raw, expected) in cases {
            assert_eq!(stamp().put(raw.to_owned()), expected);
            assert_eq!(StaleSince::on(raw), None);
            assert_eq!(StaleSince::on(expected), Some(stamp()));
        }
    }

    #[test]
    fn of_two_stamps_the_older_one_stays() {
        let with =
            |value: &str| format!(r#"{{"_meta":{{"weir\/stale": {value} ,"x":0}},"name":"a"}}"#);
        let older = [
            r#""2026-11-22T06:04:41Z""#,
            r#""2026-11-22T06:04:40Z""#,
            r#""2026-11-22T07:04:40+01:00""#,
            r#""2026-11-22T06:04:41.5Z""#,
            r#""0001-01-01T00:00:00Z""#,
        ];
        for there in older {
            assert_eq!(stamp().put(with(there)), with(there));
        }
        let others = [
            r#""2026-11-22T06:04:42Z""#,
            r#""9999-12-31T23:59:59Z""#,
            r#""yesterday""#,
            "1795327481",
            "null",
            "[]",
        ];
        for there in others {
            let expected = with(r#""2026-11-22T06:04:41Z""#);
            assert_eq!(stamp().put(with(there)), expected, "{there}");
        }
    }
}
