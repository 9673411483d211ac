//! The admission of connections to a listener: each gets a place, and a share of the memory.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::caller::ShareKey;
use crate::memory::{MemoryBudget, MemoryShare, Reservation};
use crate::tls::ListenerTls;

use super::activity::Activity;
use super::protocol::Protocols;
use super::registry::{ConnectionPlace, Registry};
use super::reserve::{self, ReserveFor};

/// The part of `limits.memory` that a connection takes: its task, its buffers, its part of the
/// kernel's.
const CONNECTION_BYTES: usize = 16 << 10;
/// The part of it that TLS takes besides: its keys, a record that arrives and one that is sent.
const TLS_BYTES: usize = 32 << 10;

/// State that all connections of one listener share.
pub(super) struct ListenerContext {
    pub(super) protocols: Protocols,
    /// The connections of the listener, and those of its reserve.
    pub(super) registry: Arc<Registry>,
    pub(super) reserve: Arc<Registry>,
    pub(super) reserve_for: ReserveFor,
    /// TLS of the connections, if they have it.
    pub(super) tls: Option<Arc<ListenerTls>>,
    pub(super) shutdown: CancellationToken,
    /// How long connections without a request stay open from then on.
    pub(super) last_requests: Duration,
}

/// The place of a connection, with what it does there.
pub(super) struct Admitted {
    pub(super) place: ConnectionPlace,
    pub(super) activity: Arc<Activity>,
    pub(super) header: Duration,
    pub(super) is_reserve: bool,
    /// The share that pays for all that is kept for it. The reserve is not in the budget: it is for
    /// probes, and few.
    pub(super) memory: MemoryShare,
    pub(super) kept: Option<Reservation>,
}

impl ListenerContext {
    /// Gives a connection a place, in the reserve if there is no other, or no memory.
    pub(super) fn admit(
        &self,
        share: ShareKey,
        header: Duration,
        budget: &Arc<MemoryBudget>,
    ) -> Option<Admitted> {
        let memory = budget.share();
        let bytes = match &self.tls {
            Some(_) => CONNECTION_BYTES + TLS_BYTES,
            None => CONNECTION_BYTES,
        };
        if let Ok(kept) = memory.reserve(bytes) {
            let activity = Arc::new(Activity::new(header));
            if let Some(place) = self.registry.admit(share, &activity) {
                return Some(Admitted {
                    place,
                    activity,
                    header,
                    is_reserve: false,
                    memory,
                    kept: Some(kept),
                });
            }
        }
        let header = header.min(reserve::HEADER);
        let activity = Arc::new(Activity::new(header));
        Some(Admitted {
            place: self.reserve.admit(share, &activity)?,
            activity,
            header,
            is_reserve: true,
            memory: MemoryShare::unlimited(),
            kept: None,
        })
    }
}
