//! The commands that the publisher carries out, one by one.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::catalog::{Listing, Pins};
use crate::config::Config;
use crate::guard::Guard;
use crate::hooks::Hooks;
use crate::live::state::{AcceptOutcome, AcceptRequest};
use crate::upstream::list::Listed;
use crate::upstream::{Link, LinkError};

/// A command to the publisher.
#[derive(Debug)]
pub enum PublisherCommand {
    /// From a keeper: a listing ended, with success or without.
    ApplyListing(ListingAttempt),
    /// From a keeper: some kinds of a listing came, while others keep it waiting.
    ApplyPart {
        /// The number of the link.
        link: u64,
        /// Counts the attempts over this link.
        round: u64,
        /// The listing, without the kinds that have not come.
        listing: Arc<Listing>,
    },
    /// Serve another config.
    Configure(Box<NewConfig>),
    /// Serve a config that means the same, but whose settings stand at other places in the files.
    Relocate {
        /// The config.
        config: Arc<Config>,
        /// Notified when operators see it.
        done: oneshot::Sender<()>,
    },
    /// Pin the redefinitions that an operator accepts.
    Accept {
        /// The redefinitions.
        requests: Vec<AcceptRequest>,
        /// Receives the results when callers see them.
        done: oneshot::Sender<AcceptResults>,
    },
}

/// An attempt to list an upstream, ended.
#[derive(Debug)]
pub struct ListingAttempt {
    /// The number of the link.
    pub link: u64,
    /// Counts the attempts over this link.
    pub round: u64,
    /// When the attempt ended.
    pub at: Instant,
    /// The same moment by the wall clock.
    pub on: SystemTime,
    /// The listing, or why there is none.
    pub result: Result<Listed, LinkError>,
}

/// Another config, with its links.
#[derive(Debug)]
pub struct NewConfig {
    /// Its hooks.
    pub hooks: Arc<Hooks>,
    /// The config.
    pub config: Arc<Config>,
    /// A link for each of its upstreams, in its order. An unchanged upstream keeps its link.
    pub links: Arc<[Arc<Link>]>,
    /// Stored pins of an earlier run, by the number of the link. They count where nothing is pinned
    /// yet.
    pub pins: Vec<(u64, Pins)>,
    /// Its rules for the data of requests.
    pub guard: Option<Arc<Guard>>,
    /// Notified when callers see it.
    pub done: oneshot::Sender<()>,
}

/// The results of [`PublisherCommand::Accept`].
#[derive(Debug, Default)]
pub struct AcceptResults {
    /// The outcome of each request, in their order.
    pub outcomes: Vec<AcceptOutcome>,
    /// One receiver for each upstream whose pins changed: whether they could be stored. Empty
    /// without a state folder.
    pub stored: Vec<oneshot::Receiver<bool>>,
}
