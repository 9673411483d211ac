//! The way to accept what upstreams say otherwise than what is pinned.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::catalog::{Digest, Kind};
use crate::live::publisher::Word;
use crate::live::state::Accepted;

/// What somebody wants to accept.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The number of the upstream's link.
    pub link: u64,
    /// What it is.
    pub kind: Kind,
    /// What its upstream calls it.
    pub original: Arc<str>,
    /// What was looked at: nothing else is accepted. `None`: whatever the upstream says.
    pub digest: Option<Digest>,
}

/// Wishes on their way to the publisher.
#[derive(Debug)]
pub struct Accepting {
    /// What is wished.
    pub wishes: Vec<Wish>,
    /// Told when callers see what came of it.
    pub done: oneshot::Sender<Done>,
}

/// What came of wishes.
#[derive(Debug, Default)]
pub struct Done {
    /// Of each, in their order.
    pub accepted: Vec<Accepted>,
    /// Each told whether pins are stored; none where there is no state folder.
    pub stored: Vec<oneshot::Receiver<bool>>,
}

/// The way to accept. Cheap to clone; it keeps nobody running.
#[derive(Clone, Debug)]
pub struct Accepts {
    words: mpsc::WeakSender<Word>,
}

impl Accepts {
    /// The way to the publisher that hears these words.
    #[must_use]
    pub fn new(words: &mpsc::Sender<Word>) -> Self {
        Self {
            words: words.downgrade(),
        }
    }

    /// Accepts, and waits until callers see it and it is stored: what came of each, and whether it survives a restart, where there
    /// is a state folder. `None` where weir stops.
    pub async fn accept(&self, wishes: Vec<Wish>) -> Option<(Vec<Accepted>, Option<bool>)> {
        let (done, told) = oneshot::channel();
        let word = Word::Accepting(Accepting { wishes, done });
        let words = self.words.upgrade()?;
        words.send(word).await.ok()?;
        drop(words);
        let Done { accepted, stored } = told.await.ok()?;
        let mut all = None;
        for stored in stored {
            let stored = stored.await.unwrap_or(false);
            all = Some(all.unwrap_or(true) && stored);
        }
        Some((accepted, all))
    }
}
