//! Changes of the state, and their effects.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::catalog::{Catalog, Digest, DriftedDefinition, Kind, Listing, RenamedDefinition};
use crate::config::Config;

/// An event that changes the state.
#[derive(Debug)]
pub enum StateChange {
    /// An attempt to list an upstream ended.
    Listed {
        /// The number of the link.
        link: u64,
        /// Counts the attempts over this link. The state ignores one that is not newer than the
        /// last.
        round: u64,
        /// When the attempt ended.
        at: Instant,
        /// The same moment by the wall clock.
        on: SystemTime,
        /// The listing; `None` if the attempt failed.
        listing: Option<Arc<Listing>>,
    },
    /// An attempt to list an upstream goes on, but some kinds have come.
    ListedPart {
        /// The number of the link.
        link: u64,
        /// The number of the attempt.
        round: u64,
        /// When the last of those kinds came.
        at: Instant,
        /// The same moment by the wall clock.
        on: SystemTime,
        /// The listing, without the kinds that have not come.
        listing: Arc<Listing>,
    },
    /// A stored listing of an earlier run was found. It counts as stale until the upstream is
    /// listed.
    Restored {
        /// The number of the link.
        link: u64,
        /// When the listing was last confirmed.
        at: Instant,
        /// The same moment by the wall clock.
        on: SystemTime,
        /// When it was found.
        now: Instant,
        /// The listing.
        listing: Arc<Listing>,
    },
    /// There is another config. An upstream that keeps its link keeps its state; one with another
    /// link keeps the last listing until the next one.
    Configured {
        /// The config.
        config: Arc<Config>,
        /// The numbers of its links, in its order.
        links: Vec<u64>,
        /// When it was read.
        now: Instant,
    },
    /// An operator accepts a redefinition.
    Accepted {
        /// Which one.
        request: AcceptRequest,
        /// When.
        now: Instant,
    },
    /// Time passed.
    Clock(Instant),
}

/// A request of an operator to accept a redefinition.
#[derive(Clone, Debug)]
pub struct AcceptRequest {
    /// The number of the upstream's link.
    pub link: u64,
    /// The kind of the definition.
    pub kind: Kind,
    /// The name that the upstream gives it.
    pub original: Arc<str>,
    /// The digest of the redefinition that the operator saw: no other is accepted. `None` accepts
    /// the present one.
    pub digest: Option<Digest>,
}

/// The outcome of an [`AcceptRequest`].
#[derive(Clone, Debug)]
pub enum AcceptOutcome {
    /// This redefinition is pinned now.
    Accepted(DriftedDefinition),
    /// Nothing was accepted: the definition is now this one, with another digest than requested.
    Changed(DriftedDefinition),
    /// No redefinition of that name waits for acceptance.
    NotFound,
}

/// The effects of changes of the state.
#[derive(Debug, Default)]
pub struct Effects {
    /// Links whose upstream suddenly listed nothing of some kind: they are to be listed again
    /// before that is believed.
    pub confirm: Vec<u64>,
    /// Links whose listing is believed, and whether it differs from the last believed one.
    pub believed: Vec<(u64, bool)>,
    /// The new catalog, if callers are to see another one.
    pub publish: Option<Arc<Catalog>>,
    /// Links whose pins changed.
    pub pins_changed: Vec<u64>,
    /// Definitions that are newly held back, by link.
    pub drifted: Vec<(u64, DriftedDefinition)>,
    /// Pinned definitions that newly have another name, by link.
    pub renamed: Vec<(u64, RenamedDefinition)>,
    /// The outcome of each accept request, in their order.
    pub accepted: Vec<AcceptOutcome>,
}
