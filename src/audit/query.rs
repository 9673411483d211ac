//! Finds records by who, what, where and when.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::audit::line::time_text;

/// The members of a line that records are found by.
#[derive(Debug, Deserialize)]
pub struct RecordHead<'a> {
    /// When the request came.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// Its id.
    #[serde(borrow, default)]
    pub request_id: Option<Cow<'a, str>>,
    /// The subject of its caller.
    #[serde(borrow, default)]
    pub caller_identity: Option<Cow<'a, str>>,
    /// Its method.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// The exposed name of its tool.
    #[serde(borrow, default)]
    pub tool_name: Option<Cow<'a, str>>,
    /// Its upstream.
    #[serde(borrow, default)]
    pub upstream: Option<Cow<'a, str>>,
    /// The decision of policy.
    #[serde(borrow, default)]
    pub policy_decision: Option<Cow<'a, str>>,
    /// The answer to its caller.
    #[serde(borrow, default)]
    pub result_status: Option<Cow<'a, str>>,
    /// How long it took.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// The number of the line.
    #[serde(default)]
    pub seq: u64,
}

/// The properties of the records to find. One that is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// The subject of the caller.
    pub caller: Option<String>,
    /// The exposed name of the tool or prompt.
    pub tool: Option<String>,
    /// The upstream.
    pub upstream: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The decision of policy.
    pub decision: Option<String>,
    /// The answer to the caller.
    pub status: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// From this time on: see [`RecordFilter::with_times`].
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
}

/// A time of a filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time: write RFC 3339, such as 2026-11-28T09:00:00Z, or how long ago, such as `2h`"
)]
pub struct FilterError(String);

impl RecordFilter {
    /// Puts times into the form of the lines: RFC 3339, or how long before `now`.
    ///
    /// # Errors
    /// A time that is neither.
    pub fn with_times(mut self, now: SystemTime) -> Result<Self, FilterError> {
        for time in [&mut self.since, &mut self.until].into_iter().flatten() {
            *time = read_time(time, now).ok_or_else(|| FilterError(time.clone()))?;
        }
        Ok(self)
    }

    /// Returns whether a record is one of these.
    #[must_use]
    pub fn matches(&self, head: &RecordHead<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&self.caller, head.caller_identity.as_deref())
            && is(&self.tool, head.tool_name.as_deref())
            && is(&self.upstream, head.upstream.as_deref())
            && is(&self.method, Some(&head.method))
            && is(&self.decision, head.policy_decision.as_deref())
            && is(&self.status, head.result_status.as_deref())
            && is(&self.request_id, head.request_id.as_deref())
            // All times of lines have one form and length, so that they compare as text.
            && self.since.as_deref().is_none_or(|since| since <= &*head.time)
            && self.until.as_deref().is_none_or(|until| &*head.time < until)
    }
}

fn read_time(text: &str, now: SystemTime) -> Option<String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time_text(DateTime::<Utc>::from(time).into()));
    }
    let ago: Duration = crate::config::parse_duration(text).ok()?;
    now.checked_sub(ago).map(time_text)
}

impl<'a> RecordHead<'a> {
    /// Reads a line; `None` if it is none.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_all_that_is_asked_for() {
        let line = br#"{"time":"2026-11-28T09:00:00.000000Z","request_id":"r","caller_identity":"a\"b","method":"tools/call","tool_name":"t","upstream":null,"seq":3}"#;
        let head = RecordHead::parse(line).unwrap();
        let found = |filter: RecordFilter| {
            let now = SystemTime::now();
            filter.with_times(now).unwrap().matches(&head)
        };
        let some = |text: &str| Some(text.to_owned());
        let all = RecordFilter {
            caller: some("a\"b"),
            tool: some("t"),
            request_id: some("r"),
            since: some("2026-11-28T10:00:00+01:00"),
            until: some("2026-11-28T09:00:00.000001Z"),
            ..RecordFilter::default()
        };
        assert!(found(RecordFilter::default()) && found(all.clone()));
        for other in [
            RecordFilter {
                caller: some("b"),
                ..all.clone()
            },
            RecordFilter {
                upstream: some("u"),
                ..all.clone()
            },
            RecordFilter {
                decision: some("deny"),
                ..all.clone()
            },
            RecordFilter {
                until: some("2026-11-28T09:00:00Z"),
                ..all.clone()
            },
            RecordFilter {
                since: some("2026-11-28T09:00:01Z"),
                ..all.clone()
            },
        ] {
            assert!(!found(other.clone()), "{other:?}");
        }
    }

    #[test]
    fn a_time_is_one_of_rfc_3339_or_how_long_ago() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(7200);
        let since = |text: &str| {
            let since = Some(text.to_owned());
            let filter = RecordFilter {
                since,
                ..RecordFilter::default()
            };
            filter.with_times(now).map(|filter| filter.since.unwrap())
        };
        assert_eq!(since("1h"), Ok("1970-01-01T01:00:00.000000Z".to_owned()));
        assert_eq!(since("1.5h"), Err(FilterError("1.5h".to_owned())));
        assert_eq!(since("noon"), Err(FilterError("noon".to_owned())));
    }
}
