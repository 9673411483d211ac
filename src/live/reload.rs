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
pub enum Outcome {
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

impl Outcome {
    /// The words for all of them, in the order of [`Counts`].
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
pub enum Trigger {
    /// Whoever changed a file of it.
    File,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
}

impl Trigger {
    /// All of them, in the order of [`Counts`].
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
pub struct Reloaded {
    /// When.
    pub at: SystemTime,
    /// Who asked.
    pub trigger: Trigger,
    /// What.
    pub outcome: Outcome,
}

/// How many reloads came to what: by outcome, and then by who asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([[u64; 3]; 3]);

impl Counts {
    /// By the words for the outcomes: how many.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let totals = self.0.iter().map(|counts| counts.iter().sum());
        Outcome::WORDS.into_iter().zip(totals)
    }

    /// By the words for the outcomes and for who asked: how many.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let outcomes = Outcome::WORDS.into_iter().zip(self.0);
        outcomes.flat_map(|(outcome, counts)| {
            let triggers = Trigger::ALL.map(Trigger::as_str).into_iter();
            triggers
                .zip(counts)
                .map(move |(trigger, count)| (outcome, trigger, count))
        })
    }

    fn add(&mut self, outcome: &Outcome, trigger: Trigger) {
        let counts = self.0.get_mut(outcome.number());
        let asked = Trigger::ALL.iter().position(|other| *other == trigger);
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
pub struct History {
    /// How many there were.
    pub counts: Counts,
    /// The last one.
    pub last: Option<Reloaded>,
    /// When what is in force was last found in the files: at first the start.
    pub good: SystemTime,
}

impl History {
    /// Whether what was last found in the files is in force.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let refused = |last: &Reloaded| matches!(last.outcome, Outcome::Refused { .. });
        !self.last.as_ref().is_some_and(refused)
    }
}

/// A request for a reload.
#[derive(Debug)]
pub enum Ask {
    /// Read the config, and say what comes of it.
    Reload {
        /// Who asks.
        trigger: Trigger,
        /// Told what came of it.
        tell: oneshot::Sender<Outcome>,
    },
    /// Its files seem to have changed. If there is something new in them, it is read; what is wrong may be half of something.
    Look {
        /// What was wrong for so long that it is taken for whole: if it is still there, it is refused.
        whole: Option<TextDigest>,
        /// Told what was seen.
        tell: oneshot::Sender<Seen>,
    },
}

/// What was seen in the files of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
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
pub struct Reloads {
    ask: mpsc::Sender<Ask>,
    history: Arc<watch::Sender<History>>,
}

impl Reloads {
    /// The way, and where it leads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (ask, asked) = mpsc::channel(ASKS);
        let history = History {
            counts: Counts::default(),
            last: None,
            good: SystemTime::now(),
        };
        let history = Arc::new(watch::Sender::new(history));
        (Self { ask, history }, asked)
    }

    /// Has the config read again, and waits for what comes of it; `None` where weir stops, or has no file to read.
    pub async fn reload(&self, trigger: Trigger) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.ask.send(Ask::Reload { trigger, tell }).await.ok()?;
        told.await.ok()
    }

    /// Has the files of the config looked at, as [`Ask::Look`] says; `None` as above.
    pub async fn look(&self, whole: Option<TextDigest>) -> Option<Seen> {
        let (tell, told) = oneshot::channel();
        self.ask.send(Ask::Look { whole, tell }).await.ok()?;
        told.await.ok()
    }

    /// All reloads so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.history.borrow().clone()
    }

    /// For who reloads: notes what came of it.
    pub fn note(&self, trigger: Trigger, outcome: &Outcome) {
        self.history.send_modify(|history| {
            history.counts.add(outcome, trigger);
            let last = Reloaded {
                at: SystemTime::now(),
                trigger,
                outcome: outcome.clone(),
            };
            if !matches!(outcome, Outcome::Refused { .. }) {
                history.good = last.at;
            }
            history.last = Some(last);
        });
    }
}
