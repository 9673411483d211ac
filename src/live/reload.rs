//! Reloads of the config: how they are requested, and how they end.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::TextDigest;
use crate::policy::AccessChange;

/// Requests for a reload that may wait.
const ASKS: usize = 8;

/// The outcome of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// The new config is in force.
    Applied {
        /// The first snapshot under it.
        generation: u64,
        /// Upstreams that were not there before.
        added: Vec<String>,
        /// Upstreams that are configured otherwise, and were connected anew.
        changed: Vec<String>,
        /// Upstreams that are not there any more.
        removed: Vec<String>,
        /// Exposed names of tools that were not there before.
        tools_added: Vec<String>,
        /// Exposed names of tools that are not there any more.
        tools_removed: Vec<String>,
        /// The names that callers gain and lose because policies changed.
        access: Vec<AccessChange>,
    },
    /// The config did not change.
    Unchanged,
    /// The config from before stays in force.
    Refused {
        /// Everything that is wrong, or what cannot be changed without a restart.
        errors: Vec<String>,
    },
}

impl ReloadOutcome {
    /// The words for all of them, in the order of [`ReloadCounts`].
    pub const WORDS: [&str; 3] = ["applied", "unchanged", "refused"];

    fn number(&self) -> usize {
        match self {
            Self::Applied { .. } => 0,
            Self::Unchanged => 1,
            Self::Refused { .. } => 2,
        }
    }
}

/// The trigger of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// A file of the config changed.
    File,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
}

impl ReloadTrigger {
    /// All of them, in the order of [`ReloadCounts`].
    pub const ALL: [Self; 3] = [Self::File, Self::Signal, Self::Request];

    /// As logs and metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }
}

/// A reload that ended.
#[derive(Clone, Debug)]
pub struct ReloadRecord {
    /// When it ended.
    pub at: SystemTime,
    /// The trigger.
    pub trigger: ReloadTrigger,
    /// The outcome.
    pub outcome: ReloadOutcome,
}

/// Counts of reloads, by outcome and by trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts([[u64; 3]; 3]);

impl ReloadCounts {
    /// By the words for the outcomes: how many.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let totals = self.0.iter().map(|counts| counts.iter().sum());
        ReloadOutcome::WORDS.into_iter().zip(totals)
    }

    /// By the words for the outcomes and for who asked: how many.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let outcomes = ReloadOutcome::WORDS.into_iter().zip(self.0);
        outcomes.flat_map(|(outcome, counts)| {
            let triggers = ReloadTrigger::ALL.map(ReloadTrigger::as_str).into_iter();
            triggers
                .zip(counts)
                .map(move |(trigger, count)| (outcome, trigger, count))
        })
    }

    fn add(&mut self, outcome: &ReloadOutcome, trigger: ReloadTrigger) {
        let counts = self.0.get_mut(outcome.number());
        let asked = ReloadTrigger::ALL
            .iter()
            .position(|other| *other == trigger);
        let count = counts
            .zip(asked)
            .and_then(|(counts, at)| counts.get_mut(at));
        if let Some(count) = count {
            *count += 1;
        }
    }
}

/// Returns the history of reloads.
#[derive(Clone, Debug)]
pub struct ReloadHistory {
    /// How many there were.
    pub counts: ReloadCounts,
    /// The last one.
    pub last: Option<ReloadRecord>,
    /// When what is in force was last found in the files: at first the start.
    pub good: SystemTime,
}

impl ReloadHistory {
    /// Whether what was last found in the files is in force.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let refused = |last: &ReloadRecord| matches!(last.outcome, ReloadOutcome::Refused { .. });
        !self.last.as_ref().is_some_and(refused)
    }
}

/// A request for a reload.
#[derive(Debug)]
pub enum ReloadRequest {
    /// Read the config and apply it.
    Reload {
        /// The trigger.
        trigger: ReloadTrigger,
        /// The subject of the operator who requests it, if it is known.
        subject: Option<Arc<str>>,
        /// Receives the outcome.
        tell: oneshot::Sender<ReloadOutcome>,
    },
    /// Its files seem to have changed. If there is something new in them, it is read; what is wrong
    /// may be half of something.
    Look {
        /// The digest of a text that has been invalid for so long that it is taken for complete: if
        /// it is still there, it is refused.
        whole: Option<TextDigest>,
        /// Receives the state of the files.
        tell: oneshot::Sender<FileState>,
    },
}

/// The state of the config files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Their content is in force, was applied or was refused: nothing to do until they change.
    Settled,
    /// Their content is invalid, or takes upstreams away and adds nothing: it may be half of
    /// something.
    Wrong {
        /// The digest of their text.
        text: TextDigest,
        /// Whether it was refused.
        refused: bool,
    },
}

/// A handle to request reloads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    ask: mpsc::Sender<ReloadRequest>,
    history: Arc<watch::Sender<ReloadHistory>>,
    cannot: Option<&'static str>,
}

impl ReloadHandle {
    /// Makes a handle, and the receiver of its requests. `cannot` says why there is nothing to read
    /// again, if that is so.
    #[must_use]
    pub fn new(cannot: Option<&'static str>) -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (ask, asked) = mpsc::channel(ASKS);
        let history = ReloadHistory {
            counts: ReloadCounts::default(),
            last: None,
            good: SystemTime::now(),
        };
        let history = Arc::new(watch::Sender::new(history));
        let handle = Self {
            ask,
            history,
            cannot,
        };
        (handle, asked)
    }

    /// Returns why the config cannot be read again, if that is so.
    #[must_use]
    pub fn cannot(&self) -> Option<&'static str> {
        self.cannot
    }

    /// Has the config read again, for an operator with this subject. Returns the outcome; `None`
    /// when weir is stopping, or has no file to read.
    pub async fn reload(
        &self,
        trigger: ReloadTrigger,
        subject: Option<Arc<str>>,
    ) -> Option<ReloadOutcome> {
        let (tell, told) = oneshot::channel();
        let request = ReloadRequest::Reload {
            trigger,
            subject,
            tell,
        };
        self.ask.send(request).await.ok()?;
        told.await.ok()
    }

    /// Has the config files checked, as described at [`ReloadRequest::Look`]. Returns `None` as
    /// [`Self::reload`] does.
    pub async fn look(&self, whole: Option<TextDigest>) -> Option<FileState> {
        let (tell, told) = oneshot::channel();
        self.ask
            .send(ReloadRequest::Look { whole, tell })
            .await
            .ok()?;
        told.await.ok()
    }

    /// Returns the history of reloads.
    #[must_use]
    pub fn history(&self) -> ReloadHistory {
        self.history.borrow().clone()
    }

    /// Records the outcome of a reload.
    pub fn note(&self, trigger: ReloadTrigger, outcome: &ReloadOutcome) {
        self.history.send_modify(|history| {
            history.counts.add(outcome, trigger);
            let last = ReloadRecord {
                at: SystemTime::now(),
                trigger,
                outcome: outcome.clone(),
            };
            if !matches!(outcome, ReloadOutcome::Refused { .. }) {
                history.good = last.at;
            }
            history.last = Some(last);
        });
    }
}
