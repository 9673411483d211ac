//! Keeps one upstream: connects it, lists it when asked, tries again when it fails.

mod attempts;
mod targets;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::catalog::{Listing, PerKind};
use crate::live::command::{ListingAttempt, PublisherCommand};
use crate::live::shared_listings::SharedListings;
use crate::protocol::message;
use crate::telemetry::Span;
use crate::upstream::error::Liveness;
use crate::upstream::list::{self, Listed};
use crate::upstream::probe::Connected;
use crate::upstream::rounds::EndedListing;
use crate::upstream::{Connection, Link, LinkError, Peer, Wire, probe, spans, watch};
use attempts::{FIRST_PAUSE, FIRST_PAUSE_UNUSABLE, KeeperState, LONGEST_FAILING};

/// The longest pause while nothing answers: back within a second of the upstream's return.
const LONGEST_UNREACHABLE: Duration = Duration::from_millis(800);
/// The least time between two listings, whoever wants them.
const LEAST_REST: Duration = Duration::from_millis(50);
/// The time between two starts of a process that ends again and again, while calls ask for it.
const SOONEST_RESTART: Duration = Duration::from_secs(1);
/// The shortest life of a listing, whatever `ttlMs` says.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// How long the first listing waits for the stream of changes.
const HEEDING: Duration = Duration::from_millis(100);
/// Time to say goodbye in.
const GOODBYE: Duration = Duration::from_secs(2);

/// Everything one keeper works with.
pub struct Keeper {
    /// The upstream.
    pub link: Arc<Link>,
    /// Where listings go.
    pub commands: mpsc::Sender<PublisherCommand>,
    /// The listings that replicas share, if they share that of this upstream.
    pub shared: Option<Arc<SharedListings>>,
    /// When to end.
    pub shutdown: CancellationToken,
}

/// Why the keeper goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakeup {
    /// Weir ends.
    Shutdown,
    /// The upstream caused it: it announced a change, or calls of it fail.
    Announced,
    /// The upstream caused it: its listing is no longer valid.
    Expired,
    /// An operator wants it.
    Ordered,
    /// Any other reason to list.
    Own,
    /// The connection is gone.
    Reconnect,
}

/// How long to wait before listing again unasked.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// Only the schedule says.
    Unbounded,
    /// The listing succeeded, and its upstream says that it is valid for this long.
    Ttl(Duration),
    /// The last attempt failed.
    Failure(Duration),
}

impl Pause {
    /// Returns the time, if there is one.
    const fn duration(self) -> Option<Duration> {
        match self {
            Self::Unbounded => None,
            Self::Ttl(duration) | Self::Failure(duration) => Some(duration),
        }
    }
}

impl Keeper {
    /// Runs until shutdown; then ends the session or the child process.
    pub async fn run(self) {
        let mut memory = KeeperState::default();
        let mut announced = false;
        if let Some(shared) = &self.shared {
            shared.join(&self.link);
        }
        while !self.shutdown.is_cancelled() {
            let (round, began) = (self.link.rounds.begin(), Instant::now());
            let attempt = tokio::select! {
                attempt = self.attempt(&mut memory, round) => attempt,
                () = self.shutdown.cancelled() => break,
            };
            let took = began.elapsed();
            if let Some(shared) = &self.shared {
                shared.note_attempt(self.link.link_id, attempt.is_ok());
            }
            self.link.rounds.note_listed(EndedListing {
                announced,
                changed: memory.note(&attempt),
                took,
                bytes: attempt.as_ref().map_or(0, |listed| listed.listing.bytes()),
            });
            let pause = self.pause(&mut memory, &attempt, took);
            let command = PublisherCommand::ApplyListing(ListingAttempt {
                link: self.link.link_id,
                round,
                at: Instant::now(),
                on: SystemTime::now(),
                result: attempt,
            });
            if self.commands.send(command).await.is_err() {
                break;
            }
            let wakeup = self.wait_for_listing(pause, &mut memory).await;
            if wakeup == Wakeup::Shutdown {
                break;
            }
            let is_caused = matches!(wakeup, Wakeup::Announced | Wakeup::Reconnect);
            announced = is_caused || wakeup == Wakeup::Expired;
            memory.is_ordered = wakeup == Wakeup::Ordered;
            memory.is_own = is_caused || memory.is_ordered;
        }
        if let Some(shared) = &self.shared {
            shared.leave(self.link.link_id);
        }
        drop(memory.watch.take());
        self.leave().await;
    }

    async fn attempt(&self, memory: &mut KeeperState, round: u64) -> Result<Listed, LinkError> {
        let mut span = self.link.begin_resync_span();
        let listed = self.attempt_within(memory, round, span.as_deref()).await;
        if let (Some(span), Err(error)) = (&mut span, &listed) {
            spans::fail(span, error);
        }
        listed
    }

    async fn attempt_within(
        &self,
        memory: &mut KeeperState,
        round: u64,
        span: Option<&Span>,
    ) -> Result<Listed, LinkError> {
        let link = &self.link;
        let mut again = true;
        loop {
            let peer = match link.current_peer().filter(|peer| peer.is_open()) {
                Some(peer) => peer,
                None => self.connect(memory).await?,
            };
            if let Some(taken) = self.take_shared(memory, &peer).await {
                return Ok(taken);
            }
            memory.targets.synchronize(link).await;
            let part = async |part| self.send_part(round, part).await;
            let listed = Box::pin(list::list(link, &peer, memory.impatient(), span, part));
            match listed.await {
                // The session went between two listings: once more with a new one.
                Err(LinkError::SessionLost | LinkError::ChildClosed(_)) if again => {
                    again = false;
                    link.forget_peer(&peer);
                }
                other => return other,
            }
        }
    }

    /// Returns what another replica listed, if that will do: not for what concerns this one, such as
    /// an order, a message of the upstream to it, or a failure.
    async fn take_shared(&self, memory: &KeeperState, peer: &Peer) -> Option<Listed> {
        let shared = self.shared.as_ref()?;
        if memory.is_own || memory.failures > 0 {
            return None;
        }
        Some(Listed {
            listing: Box::pin(shared.take(&self.link, peer.era())).await?,
            failed: Vec::new(),
            hung: PerKind::default(),
            retry_after: None,
        })
    }

    /// Has those kinds of a listing applied that have come while others keep it waiting.
    async fn send_part(&self, round: u64, listing: Listing) {
        let command = PublisherCommand::ApplyPart {
            link: self.link.link_id,
            round,
            listing: Arc::new(listing),
        };
        // Without a publisher the keeper ends when the attempt does.
        let _ = self.commands.send(command).await;
    }

    async fn connect(&self, memory: &mut KeeperState) -> Result<Arc<Peer>, LinkError> {
        let link = &self.link;
        memory.watch = None;
        let rest = memory.rest();
        if !memory.is_ordered {
            self.rest(rest).await;
        }
        let connected = probe::connect(link, memory.era).await;
        let Connected {
            peer,
            unsolicited,
            era,
        } = connected.inspect_err(|error| {
            memory.era = memory.era.after_failure(error);
            link.record_no_connection();
        })?;
        let peer = Arc::new(peer);
        tracing::info!(
            upstream = %link.id(), era = %peer.era(), version = %peer.version, server = %peer.server, "connected"
        );
        memory.era = era;
        memory.connected = Some(Instant::now());
        link.set_peer(Arc::clone(&peer));
        let (heeding, heeded) = oneshot::channel();
        let watch = watch::watch(Arc::clone(link), Arc::clone(&peer), unsolicited, heeding);
        memory.watch = Some(AbortOnDropHandle::new(link.tasks().spawn(watch)));
        // A change between the listing and the start of the stream would be missed. So the stream
        // comes first, unless the upstream takes long to open it: then it is listed again.
        let _ = tokio::time::timeout(HEEDING, heeded).await;
        Ok(peer)
    }

    /// Rests before the upstream is connected again. An operator ends the rest, and so does a call
    /// that waits for the connection: the upstream is there, and calls do not pay for connections that end soon.
    async fn rest(&self, rest: Duration) {
        let (started, soonest) = (
            Instant::now(),
            match &self.link.wire {
                Wire::Http(_) => FIRST_PAUSE * 2,
                Wire::Child(_) => SOONEST_RESTART,
            },
        );
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            // The round under way began before the operator asked, so another one follows it.
            () = self.link.rounds.listing_ordered() => self.link.rounds.order_listing(),
            () = async {
                self.link.peer_wanted().await;
                tokio::time::sleep_until(started + soonest).await;
            } => {}
        }
    }

    /// Returns how long to wait before listing again unasked.
    fn pause(
        &self,
        memory: &mut KeeperState,
        attempt: &Result<Listed, LinkError>,
        took: Duration,
    ) -> Pause {
        memory.not_before = None;
        match attempt {
            Ok(listed) => {
                memory.failures = 0;
                memory.targets.listed = true;
                let floor = self.link.rounds.floor();
                let ttl = listed.listing.ttl().filter(|ttl| !ttl.is_zero());
                let ttl = ttl.map(|ttl| ttl.max(SHORTEST_TTL).max(floor));
                match (memory.pause_after_part(listed), ttl) {
                    (Some(pause), None) => Pause::Failure(pause),
                    (Some(pause), Some(ttl)) if pause < ttl => Pause::Failure(pause),
                    (_, Some(ttl)) => Pause::Ttl(ttl),
                    (None, None) => Pause::Unbounded,
                }
            }
            Err(error) => {
                if memory.failures == 0 {
                    tracing::warn!(upstream = %self.link.id(), reason = %error.full_text(), "upstream fails");
                } else {
                    tracing::debug!(upstream = %self.link.id(), reason = %error.full_text(), "upstream still fails");
                }
                memory.failures = memory.failures.saturating_add(1);
                let (first, longest) = match (error, &self.link.wire) {
                    (LinkError::Unreachable(_) | LinkError::Broken(_), Wire::Http(_)) => {
                        (FIRST_PAUSE, LONGEST_UNREACHABLE)
                    }
                    (error, Wire::Http(_)) if error.liveness() == Liveness::Stalled => {
                        (FIRST_PAUSE, LONGEST_UNREACHABLE)
                    }
                    (LinkError::Listing(_), _) => (FIRST_PAUSE_UNUSABLE, LONGEST_FAILING),
                    _ => (FIRST_PAUSE, LONGEST_FAILING),
                };
                let pause = first.saturating_mul(2_u32.saturating_pow(memory.failures - 1));
                let mut pause = pause.min(longest);
                if error.liveness() == Liveness::Broken {
                    // It may break off after megabytes.
                    pause = pause.max(took.min(LONGEST_FAILING));
                }
                let LinkError::Throttled {
                    retry_after: Some(after),
                    ..
                } = error
                else {
                    return Pause::Failure(pause);
                };
                memory.not_before = Some(Instant::now() + *after);
                Pause::Failure(pause.max(*after))
            }
        }
    }

    /// Waits for a reason to list again, and returns it. A connection that is gone is made again at
    /// once, because calls need it, but the upstream is listed for that at its pace.
    async fn wait_for_listing(&self, pause: Pause, memory: &mut KeeperState) -> Wakeup {
        loop {
            let wakeup = self.wait(pause, memory).await;
            if wakeup != Wakeup::Reconnect {
                return wakeup;
            }
            let may_wait = memory.failures == 0 && memory.listed.is_some();
            if self.link.rounds.note_cause().is_zero() || !may_wait {
                return wakeup;
            }
            if !self.link.current_peer().is_some_and(|peer| peer.is_open()) {
                tokio::select! {
                    connected = self.connect(memory) => if connected.is_err() {
                        // The attempt to list tries again, and reports it.
                        return wakeup;
                    },
                    () = self.shutdown.cancelled() => return Wakeup::Shutdown,
                }
            }
            self.link.rounds.announce_change();
        }
    }

    /// Waits until the circuit has opened, and the upstream may be listed for that.
    async fn circuit_opened(&self) {
        self.link.gate.circuit_opened.notified().await;
        self.link.rounds.note_cause();
        self.link.rounds.wait_for_turn().await;
    }

    /// Waits for the next event that is a reason to list again, and returns it.
    async fn wait(&self, pause: Pause, memory: &KeeperState) -> Wakeup {
        let started = Instant::now();
        let until = pause.duration().map(|pause| started + pause);
        self.link.health.set_next_try(until);
        let alarm = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let wakeup = tokio::select! {
            () = self.shutdown.cancelled() => return Wakeup::Shutdown,
            () = self.link.rounds.listing_ordered() => Wakeup::Ordered,
            () = self.link.rounds.resync_requested() => Wakeup::Own,
            () = self.link.reconnect_requested() => Wakeup::Reconnect,
            () = self.circuit_opened() => Wakeup::Announced,
            // Somebody has logged in, for example.
            () = self.link.credentials_recovered(), if memory.failures > 0 => Wakeup::Own,
            () = self.link.rounds.change_announced() => Wakeup::Announced,
            () = alarm => match pause {
                Pause::Ttl(_) => Wakeup::Expired,
                Pause::Failure(_) | Pause::Unbounded => Wakeup::Own,
            },
        };
        // Calls that find nobody ask for an attempt at once; together they get no more than a few a
        // second.
        let poked = wakeup == Wakeup::Reconnect && memory.failures > 0;
        let earliest = match (wakeup, memory.not_before) {
            (Wakeup::Ordered, _) => started,
            (_, Some(not_before)) => not_before,
            (_, None) if poked => started + FIRST_PAUSE * 2,
            (_, None) => started,
        };
        let wakeup = tokio::select! {
            () = self.shutdown.cancelled() => return Wakeup::Shutdown,
            () = self.link.rounds.listing_ordered() => Wakeup::Ordered,
            () = tokio::time::sleep_until(earliest) => wakeup,
        };
        tokio::time::sleep_until(started + LEAST_REST).await;
        self.link.health.set_next_try(None);
        wakeup
    }

    async fn leave(&self) {
        let Some(peer) = self.link.current_peer() else {
            return;
        };
        match (&peer.connection, &self.link.wire) {
            (Connection::Http(session), Wire::Http(wire)) => {
                wire.end_session(session, Instant::now() + GOODBYE).await
            }
            (Connection::Child(child), _) => {
                // A server that still answers somebody may stay on after its stdin closed.
                if let Some(id) = peer.listen_id() {
                    let body = message::cancelled(id, "weir stops");
                    let until = Instant::now() + GOODBYE;
                    let _ = self.link.post(&peer, body, until).await;
                }
                child.stop().await;
            }
            (Connection::Http(_), Wire::Child(_)) => {}
        }
    }
}
