//! `GET /callers`: who sees how much of the catalog, what policies decided, and what data rules found.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::admin::work::answer_with;
use crate::catalog::Kind;
use crate::live::access::known_callers;
use crate::live::{Live, Snapshot};
use crate::policy::{CallerName, Visible};

/// The most callers that are looked at.
const MOST: usize = 200;

/// The report on callers.
#[derive(Debug, Serialize)]
pub struct CallersReport {
    /// Whether there are policies. Without them every caller may call everything.
    pub has_policies: bool,
    /// All tools of the catalog.
    pub tools: usize,
    /// One caller of each class that listed something, and those that the config names.
    pub callers: Vec<CallerSight>,
    /// How many more there are.
    pub more: usize,
    /// How many requests policies decided on since weir started, by the word for the decision.
    pub decisions: Vec<(&'static str, u64)>,
    /// The values that data rules found since weir started.
    pub data: Vec<DataCount>,
}

/// How much a caller sees.
#[derive(Debug, Serialize)]
pub struct CallerSight {
    /// The caller.
    pub caller: CallerName,
    /// Its era.
    pub era: String,
    /// How many tools it sees.
    pub tools: usize,
}

/// Values of one class with one outcome.
#[derive(Debug, Serialize)]
pub struct DataCount {
    /// `towards_upstream` or `towards_caller`.
    pub direction: String,
    /// The class.
    pub class: String,
    /// The action.
    pub action: String,
    /// How many.
    pub values: u64,
}

impl CallersReport {
    /// Describes the callers of a snapshot. It reads the file of API keys.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let tools = snapshot.catalog.len(Kind::Tools);
        let mut seen = BTreeSet::new();
        let mut callers = known_callers(snapshot);
        callers.retain(|known| seen.insert((CallerName::of(&known.caller), known.era.to_string())));
        let more = callers.len().saturating_sub(MOST);
        callers.truncate(MOST);
        let sight = callers.iter().map(|known| {
            let policies = snapshot.policies.as_ref();
            let visible =
                policies.map(|policies| policies.visible(&known.caller, Kind::Tools, known.era));
            let tools = match &visible {
                None | Some(Visible::All) => tools,
                Some(Visible::Some(places)) => {
                    (0..tools).filter(|place| places.contains(*place)).count()
                }
            };
            CallerSight {
                caller: CallerName::of(&known.caller),
                era: known.era.to_string(),
                tools,
            }
        });
        let data = snapshot.metrics.guard_counts().into_iter();
        let data = data.map(|([direction, class, action], values)| DataCount {
            direction,
            class,
            action,
            values,
        });
        Self {
            has_policies: snapshot.policies.is_some(),
            tools,
            callers: sight.collect(),
            more,
            decisions: snapshot.metrics.decision_counts().into(),
            data: data.collect(),
        }
    }
}

/// Answers `GET /callers`. It needs the token or a role even where reading is open.
pub(super) async fn callers(State(live): State<Arc<Live>>) -> Response {
    let snapshot = live.load_full();
    answer_with(move || CallersReport::of(&snapshot)).await
}
