//! Keeps one upstream: connects it, lists it when asked, tries again when it fails.

mod targets;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::catalog::{Digest, Listing, PerKind};
use crate::live::command::{ListingAttempt, PublisherCommand};
use crate::protocol::message;
use crate::upstream::error::Liveness;
use crate::upstream::list::{self, Listed};
use crate::upstream::probe::{Connected, KnownEra};
use crate::upstream::rounds::EndedListing;
use crate::upstream::{Connection, Link, LinkError, Peer, Wire, probe, watch};
use targets::TargetSync;

/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause while nothing answers: back within a second of the upstream's return.
const LONGEST_UNREACHABLE: Duration = Duration::from_millis(800);
/// The longest pause while the upstream answers with failures, or its process ends again and again.
const LONGEST_FAILING: Duration = Duration::from_secs(30);
/// A connection lost sooner than this counts as a failure.
const SHORT_LIVED: Duration = Duration::from_secs(5);
/// The time between two starts of a process that ends again and again, while calls ask for it.
const SOONEST_RESTART: Duration = Duration::from_secs(1);
/// The shortest life of a listing, whatever `ttlMs` says.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// The first pause after a listing that is no good: the upstream answers, and will do so again.
const FIRST_PAUSE_UNUSABLE: Duration = Duration::from_secs(2);
/// The longest pause while some lists fail and others do not.
const LONGEST_PART: Duration = Duration::from_secs(5 * 60);
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
    /// When to end.
    pub shutdown: CancellationToken,
}

/// The memory of a keeper between attempts.
#[derive(Default)]
struct KeeperState {
    era: KnownEra,
    failures: u32,
    /// Listings in a row that lacked a kind because its list failed.
    parts: u32,
    /// The kinds whose list did not come in time.
    hung: PerKind<bool>,
    /// When these are waited for again as long as any other.
    patient_at: Option<Instant>,
    connected: Option<Instant>,
    short_lives: u32,
    /// The upstream asked not to be asked before.
    not_before: Option<Instant>,
    watch: Option<AbortOnDropHandle<()>>,
    targets: TargetSync,
    /// The digest of the last listing that succeeded.
    listed: Option<Digest>,
}

/// Why the keeper goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakeup {
    /// Weir ends.
    Shutdown,
    /// The upstream announced a change, or its listing is no longer valid.
    Announced,
    /// Any other reason to list.
    Own,
    /// A call found no connection.
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
        while !self.shutdown.is_cancelled() {
            let (round, began) = (self.link.rounds.begin(), Instant::now());
            let attempt = tokio::select! {
                attempt = self.attempt(&mut memory, round) => attempt,
                () = self.shutdown.cancelled() => break,
            };
            self.link.rounds.note_listed(EndedListing {
                announced,
                changed: memory.note(&attempt),
                took: began.elapsed(),
            });
            let pause = self.pause(&mut memory, &attempt);
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
            let wakeup = self.wait(pause, &memory).await;
            if wakeup == Wakeup::Shutdown {
                break;
            }
            announced = wakeup == Wakeup::Announced;
        }
        drop(memory.watch.take());
        self.leave().await;
    }

    async fn attempt(&self, memory: &mut KeeperState, round: u64) -> Result<Listed, LinkError> {
        let link = &self.link;
        let mut again = true;
        loop {
            let peer = match link.current_peer().filter(|peer| peer.is_open()) {
                Some(peer) => peer,
                None => self.connect(memory).await?,
            };
            memory.targets.synchronize(link).await;
            let part = async |part| self.send_part(round, part).await;
            match Box::pin(list::list(link, &peer, memory.impatient(), part)).await {
                // The session went between two listings: once more with a new one.
                Err(LinkError::SessionLost | LinkError::ChildClosed(_)) if again => {
                    again = false;
                    link.forget_peer(&peer);
                }
                other => return other,
            }
        }
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
        self.rest(memory.rest()).await;
        let connected = probe::connect(link, memory.era).await;
        let Connected {
            peer,
            unsolicited,
            era,
        } = connected.inspect_err(|error| memory.era = memory.era.after_failure(error))?;
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

    /// Rests before the upstream is connected again. A call that waits for the connection ends the
    /// rest: the upstream is there, and calls do not pay for connections that end soon.
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
            () = async {
                self.link.peer_wanted().await;
                tokio::time::sleep_until(started + soonest).await;
            } => {}
        }
    }

    /// Returns how long to wait before listing again unasked.
    fn pause(&self, memory: &mut KeeperState, attempt: &Result<Listed, LinkError>) -> Pause {
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
                let pause = pause.min(longest);
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

    /// Waits for a reason to list again, and returns it.
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
            () = self.link.rounds.resync_requested() => Wakeup::Own,
            () = self.link.reconnect_requested() => Wakeup::Reconnect,
            () = self.link.gate.circuit_opened.notified() => Wakeup::Own,
            // Somebody has logged in, for example.
            () = self.link.credentials_recovered(), if memory.failures > 0 => Wakeup::Own,
            () = self.link.rounds.change_announced() => Wakeup::Announced,
            () = alarm => match pause {
                Pause::Ttl(_) => Wakeup::Announced,
                Pause::Failure(_) | Pause::Unbounded => Wakeup::Own,
            },
        };
        // Calls that find nobody ask for an attempt at once; together they get no more than a few a
        // second.
        let poked = wakeup == Wakeup::Reconnect && memory.failures > 0;
        let earliest = memory.not_before.unwrap_or(match poked {
            true => started + FIRST_PAUSE * 2,
            false => started,
        });
        tokio::select! {
            () = self.shutdown.cancelled() => return Wakeup::Shutdown,
            () = tokio::time::sleep_until(earliest) => {}
        }
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

impl KeeperState {
    /// Notes what an attempt found. Returns whether it differs from the listing before.
    fn note(&mut self, attempt: &Result<Listed, LinkError>) -> bool {
        let Ok(listed) = attempt else {
            return false;
        };
        let digest = listed.listing.digest();
        self.listed.replace(digest) != Some(digest)
    }

    /// Returns how long to wait after a listing before the lists that failed are tried again with
    /// all patience; `None` if none failed. The time doubles, so that a list that always fails costs
    /// little.
    fn pause_after_part(&mut self, listed: &Listed) -> Option<Duration> {
        if listed.failed.is_empty() {
            (self.parts, self.hung, self.patient_at) = (0, PerKind::default(), None);
            return None;
        }
        self.not_before = listed.retry_after.map(|after| Instant::now() + after);
        let left = self
            .patient_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let pause = match left.filter(|left| !left.is_zero()) {
            Some(left) => left,
            None => {
                let pause = FIRST_PAUSE_UNUSABLE.saturating_mul(2_u32.saturating_pow(self.parts));
                let pause = pause.min(LONGEST_PART);
                self.parts = self.parts.saturating_add(1);
                self.hung = listed.hung;
                self.patient_at = Some(Instant::now() + pause);
                pause
            }
        };
        Some(pause.max(listed.retry_after.unwrap_or_default()))
    }

    /// Returns the kinds whose list kept weir waiting in vain, and is not waited for again so soon.
    fn impatient(&self) -> PerKind<bool> {
        match self.patient_at {
            Some(at) if Instant::now() < at => self.hung,
            Some(_) | None => PerKind::default(),
        }
    }

    /// How long to rest before connecting again: nothing, unless connections end soon after they
    /// began.
    fn rest(&mut self) -> Duration {
        // Each connection counts once, however often the next one fails.
        match self.connected.take() {
            Some(at) if at.elapsed() < SHORT_LIVED => {
                self.short_lives = self.short_lives.saturating_add(1)
            }
            Some(_) => self.short_lives = 0,
            None => return Duration::ZERO,
        }
        match self.short_lives {
            0 | 1 => Duration::ZERO,
            lives => (FIRST_PAUSE * 2_u32.saturating_pow(lives)).min(LONGEST_FAILING),
        }
    }
}
