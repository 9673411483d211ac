//! What came of reading the config again, and the way to ask for it.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::TextDigest;

/// Requests for a reload that may wait.
const ASKS: usize = 8;

/// What came of reading the config again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// It is in force.
    Applied {
        /// The snapshot that callers see since.
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
    },
    /// It says what it said before.
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

/// Who had the config read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// Whoever changed a file of it.
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

/// An outcome, when it came, and who asked.
#[derive(Clone, Debug)]
pub struct ReloadRecord {
    /// When.
    pub at: SystemTime,
    /// Who asked.
    pub trigger: ReloadTrigger,
    /// What.
    pub outcome: ReloadOutcome,
}

/// How many reloads came to what: by outcome, and then by who asked.
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

/// All reloads so far.
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
    /// Read the config, and say what comes of it.
    Reload {
        /// Who asks.
        trigger: ReloadTrigger,
        /// Told what came of it.
        tell: oneshot::Sender<ReloadOutcome>,
    },
    /// Its files seem to have changed. If there is something new in them, it is read; what is wrong may be half of something.
    Look {
        /// What was wrong for so long that it is taken for whole: if it is still there, it is refused.
        whole: Option<TextDigest>,
        /// Told what was seen.
        tell: oneshot::Sender<FileState>,
    },
}

/// What was seen in the files of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// What is in force, or was taken in or refused for good: nothing more to do until they change.
    Settled,
    /// Something wrong, and whether that was said.
    Wrong {
        /// What.
        text: TextDigest,
        /// It counts as refused.
        refused: bool,
    },
}

/// The way to ask for a reload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    ask: mpsc::Sender<ReloadRequest>,
    history: Arc<watch::Sender<ReloadHistory>>,
}

impl ReloadHandle {
    /// The way, and where it leads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (ask, asked) = mpsc::channel(ASKS);
        let history = ReloadHistory {
            counts: ReloadCounts::default(),
            last: None,
            good: SystemTime::now(),
        };
        let history = Arc::new(watch::Sender::new(history));
        (Self { ask, history }, asked)
    }

    /// Has the config read again, and waits for what comes of it; `None` where weir stops, or has no file to read.
    pub async fn reload(&self, trigger: ReloadTrigger) -> Option<ReloadOutcome> {
        let (tell, told) = oneshot::channel();
        self.ask
            .send(ReloadRequest::Reload { trigger, tell })
            .await
            .ok()?;
        told.await.ok()
    }

    /// Has the files of the config looked at, as [`ReloadRequest::Look`] says; `None` as above.
    pub async fn look(&self, whole: Option<TextDigest>) -> Option<FileState> {
        let (tell, told) = oneshot::channel();
        self.ask
            .send(ReloadRequest::Look { whole, tell })
            .await
            .ok()?;
        told.await.ok()
    }

    /// All reloads so far.
    #[must_use]
    pub fn history(&self) -> ReloadHistory {
        self.history.borrow().clone()
    }

    /// For who reloads: notes what came of it.
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
