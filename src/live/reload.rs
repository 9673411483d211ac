//! What came of reading the config again, and the way to ask for it.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

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

/// An outcome, and when it came.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// When.
    pub at: SystemTime,
    /// What.
    pub outcome: Outcome,
}

/// How many reloads came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In force.
    pub applied: u64,
    /// The same as before.
    pub unchanged: u64,
    /// Not taken.
    pub refused: u64,
}

/// Who wants to know what comes of a reload.
pub type Ask = oneshot::Sender<Outcome>;

/// The way to ask for a reload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloads {
    ask: mpsc::Sender<Ask>,
    last: Arc<watch::Sender<(Counts, Option<Reloaded>)>>,
}

impl Reloads {
    /// The way, and where it leads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (ask, asked) = mpsc::channel(ASKS);
        let last = Arc::new(watch::Sender::new((Counts::default(), None)));
        (Self { ask, last }, asked)
    }

    /// Has the config read again, and waits for what comes of it; `None` where weir stops, or has no file to read.
    pub async fn reload(&self) -> Option<Outcome> {
        let (tell, told) = oneshot::channel();
        self.ask.send(tell).await.ok()?;
        told.await.ok()
    }

    /// The last outcome, and how many there were.
    #[must_use]
    pub fn last(&self) -> (Counts, Option<Reloaded>) {
        self.last.borrow().clone()
    }

    /// For who reloads: notes what came of it.
    pub fn note(&self, outcome: &Outcome) {
        self.last.send_modify(|(counts, last)| {
            match outcome {
                Outcome::Applied { .. } => counts.applied += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::Refused { .. } => counts.refused += 1,
            }
            *last = Some(Reloaded {
                at: SystemTime::now(),
                outcome: outcome.clone(),
            });
        });
    }
}
