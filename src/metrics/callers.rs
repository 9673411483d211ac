//! Counters of requests by caller.
//!
//! A caller is counted by a name that the config or an issuer of it knows: the id of an API key, the
//! client of a token. Subjects are people, of whom there is no end.

use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::RwLock;

use crate::caller::{Caller, Principal};
use crate::metrics::blame::BLAMES;
use crate::metrics::counter::Counter;
use crate::metrics::names;
use crate::metrics::series::{Ending, OTHER};
use crate::metrics::writer::MetricsWriter;
use crate::protocol::error::Blame;

/// Most callers with counters of their own in the process; later ones are counted as `other`.
const CALLERS: usize = 256;
/// The tag with the id of an API key.
const KEY_ID: &str = "key_id";

/// The requests of one caller: by ending, and by blame, of which the last is none.
#[derive(Debug, Default)]
struct CallerSeries([[Counter; BLAMES.len() + 1]; Ending::ALL.len()]);

impl CallerSeries {
    fn count(&self, ending: Ending, blame: Option<Blame>) {
        let column = BLAMES.iter().position(|(known, _)| Some(*known) == blame);
        let column = column.unwrap_or(BLAMES.len());
        let row = Ending::ALL.iter().position(|known| *known == ending);
        let row = row.and_then(|row| self.0.get(row));
        if let Some(counter) = row.and_then(|row| row.get(column)) {
            counter.add(1);
        }
    }
}

/// The counters of all callers.
#[derive(Debug, Default)]
pub(super) struct CallerCounters {
    /// Callers that have no name of their own, which are most where nobody logs in.
    anonymous: CallerSeries,
    named: RwLock<HashMap<Box<str>, Arc<CallerSeries>>>,
}

/// Returns the name that a caller is counted by: one of few, and never its subject.
#[must_use]
pub(crate) fn caller_label(caller: &Caller) -> &str {
    let identity = caller.identity();
    match identity.principal {
        Principal::Anonymous => "anonymous",
        Principal::Local => "local",
        Principal::OAuthUser => identity.client.as_deref().unwrap_or("oauth_user"),
        Principal::IamEntity => "iam_entity",
        Principal::ApiKey => identity.tags.get(KEY_ID).map_or("api_key", |id| id),
        Principal::Workload => "workload",
    }
}

impl CallerCounters {
    /// Counts a request that is over.
    pub(super) fn count(&self, caller: &Caller, ending: Ending, blame: Option<Blame>) {
        if caller.identity().principal == Principal::Anonymous {
            self.anonymous.count(ending, blame);
            return;
        }
        let label = caller_label(caller);
        if let Some(known) = self.named.read().get(label) {
            known.count(ending, blame);
            return;
        }
        let mut named = self.named.write();
        let is_full = named.len() >= CALLERS && !named.contains_key(label);
        let label = if is_full { OTHER } else { label };
        named.entry(label.into()).or_default().count(ending, blame);
    }

    pub(super) fn write(&self, out: &mut MetricsWriter) {
        let named = self.named.read();
        let mut all: Vec<(&str, &CallerSeries)> = named
            .iter()
            .map(|(label, series)| (&**label, &**series))
            .collect();
        all.push(("anonymous", &self.anonymous));
        all.sort_by_key(|(label, _)| *label);
        out.family(&names::CALLER_CALLS, |values| {
            for (caller, CallerSeries(rows)) in all {
                for (ending, row) in Ending::ALL.iter().zip(rows) {
                    let blames = BLAMES.iter().map(|(_, word)| *word).chain([""]);
                    for (blame, counter) in blames.zip(row) {
                        if counter.value() > 0 {
                            let labels = [caller, ending.as_str(), blame];
                            values.write(&labels, counter.value());
                        }
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Identity;
    use crate::metrics::{Metrics, MetricsFormat, Observed};

    fn oauth_user(subject: &str, client: Option<&str>) -> Caller {
        Caller::new(Identity {
            client: client.map(Box::from),
            ..Identity::new(Principal::OAuthUser, subject)
        })
    }

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text(&Observed::default(), MetricsFormat::Prometheus);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("weir_caller_calls_total"));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn callers_are_counted_by_names_that_operators_know_and_never_by_subject() {
        let metrics = Metrics::new();
        let key = Caller::new(Identity {
            tags: [("key_id".into(), "ci".into())].into(),
            ..Identity::new(Principal::ApiKey, "alice")
        });
        metrics.count_caller(&oauth_user("alice", Some("4abc")), Ending::Ok, None);
        metrics.count_caller(&oauth_user("bob", Some("4abc")), Ending::Ok, None);
        metrics.count_caller(&oauth_user("carol", None), Ending::Cancelled, None);
        metrics.count_caller(&key, Ending::Failed, Some(Blame::Caller));
        metrics.count_caller(&Caller::anonymous(), Ending::Error, Some(Blame::Upstream));
        let line = |caller: &str, outcome: &str, blame: &str, count: u32| {
            format!(
                "weir_caller_calls_total{{caller=\"{caller}\",outcome=\"{outcome}\",blame=\"{blame}\"}} {count}"
            )
        };
        assert_eq!(
            lines(&metrics),
            [
                line("4abc", "ok", "", 2),
                line("anonymous", "error", "upstream", 1),
                line("ci", "failed", "caller", 1),
                line("oauth_user", "cancelled", "", 1),
            ]
        );
    }

    #[test]
    fn callers_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..2 * CALLERS {
            let client = format!("c{number}");
            metrics.count_caller(&oauth_user("x", Some(&client)), Ending::Ok, None);
        }
        let lines = lines(&metrics);
        assert_eq!(lines.len(), CALLERS + 1);
        let other = format!("{{caller=\"other\",outcome=\"ok\",blame=\"\"}} {CALLERS}");
        assert!(lines.iter().any(|line| line.ends_with(&other)), "{lines:?}");
    }
}
