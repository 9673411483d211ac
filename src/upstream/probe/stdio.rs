//! The handshake with a child process. A process may take minutes until it reads its first message
//! (`npx`, `uvx` and `docker run` download the server first), so silence is no answer here: the
//! process is kept, and only `timeouts.start` ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::era::KnownEra;
use super::requests::{SessionProfile, UnsolicitedMessages, discover_request, initialize_request};
use super::versions::{RefusedVersion, VersionsLeft};
use crate::protocol::era::Era;
use crate::protocol::{message, method};
use crate::upstream::error::LinkError;
use crate::upstream::introduction::{
    EraVerdict, Introduction, may_refuse_version, read_discover_answer, read_initialize_answer,
    read_offered_versions,
};
use crate::upstream::link::Link;
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::stdio::{Child, ChildClosed, ChildReply, ChildSpec};

/// Starts a child and shakes hands with it, in the known era or in the one it turns out to speak.
///
/// # Errors
/// The process does not start, ends, refuses, or does not answer within `timeouts.start`.
pub(super) async fn connect(
    link: &Link,
    spec: &ChildSpec,
    known: KnownEra,
) -> Result<(Peer, UnsolicitedMessages, KnownEra), LinkError> {
    let _starting = link.health.begin_start();
    let mut handshake = Handshake::start(link, spec).await?;
    // A legacy server may wait for ever at a method that it does not know. So every other process
    // is sent no modern request.
    let is_assumption = matches!(known, KnownEra::Unknown { attempts } if attempts % 2 == 1);
    let is_legacy = matches!(known, KnownEra::Proven(Era::Legacy) | KnownEra::Assumed);
    let mut found = match is_legacy || is_assumption {
        true => handshake.initialize(&SessionProfile::OWN).await,
        false => handshake.probe().await,
    };
    // Old rmcp servers exit when a request comes before `initialize`: start another process.
    if !is_legacy && matches!(found, Err(LinkError::ChildClosed(_))) {
        handshake.restart(spec).await?;
        found = handshake.initialize(&SessionProfile::OWN).await;
    }
    let (peer, unsolicited) = handshake.finish(found).await?;
    let is_assumption = is_assumption || known == KnownEra::Assumed;
    let era = match is_assumption && peer.era() == Era::Legacy {
        true => KnownEra::Assumed,
        false => KnownEra::Proven(peer.era()),
    };
    Ok((peer, unsolicited, era))
}

/// Starts another child beside the link's own, and opens a legacy session with it.
///
/// # Errors
/// The same as those of [`connect`].
pub(super) async fn open_session(
    link: &Link,
    spec: &ChildSpec,
    profile: &SessionProfile,
) -> Result<(Peer, UnsolicitedMessages), LinkError> {
    let handshake = Handshake::start(link, spec).await?;
    let found = handshake.initialize(profile).await;
    let found = found.and_then(|introduction| match introduction.era {
        Era::Legacy => Ok(introduction),
        Era::Modern => Err(LinkError::NoCommonVersion(introduction.version)),
    });
    handshake.finish(found).await
}

/// A child that weir shakes hands with.
struct Handshake<'l> {
    link: &'l Link,
    child: Arc<Child>,
    unsolicited: UnsolicitedMessages,
    /// When weir ends the child, if it has not answered.
    deadline: Instant,
    /// Whether it has answered once.
    answered: AtomicBool,
}

impl<'l> Handshake<'l> {
    async fn start(link: &'l Link, spec: &ChildSpec) -> Result<Self, LinkError> {
        let deadline = link.open_deadline();
        let (child, unsolicited) = start_child(spec, link, deadline).await?;
        Ok(Self {
            link,
            child,
            unsolicited,
            deadline,
            answered: AtomicBool::new(false),
        })
    }

    /// Starts another process in the place of one that has ended, within the same time budget.
    async fn restart(&mut self, spec: &ChildSpec) -> Result<(), LinkError> {
        self.child.stop().await;
        (self.child, self.unsolicited) = start_child(spec, self.link, self.deadline).await?;
        Ok(())
    }

    /// Finds the era of the child. A child that does not answer the modern request in time is either
    /// a legacy server that ignores it, or still starting. Nothing tells which, so `initialize` is
    /// sent too, and the answers decide.
    async fn probe(&self) -> Result<Introduction, LinkError> {
        let discovering = self.discover();
        tokio::pin!(discovering);
        match timeout(self.patience(), &mut discovering).await {
            Ok(Ok(EraVerdict::Modern(introduction))) => return Ok(introduction),
            Ok(Ok(EraVerdict::Again | EraVerdict::Legacy(_))) => {
                return self.initialize(&SessionProfile::OWN).await;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        let initializing = self.initialize(&SessionProfile::OWN);
        tokio::pin!(initializing);
        let verdict = tokio::select! {
            biased;
            verdict = &mut discovering => verdict?,
            initialized = &mut initializing => return match initialized {
                Err(error) if error.is_refusal() => match discovering.await {
                    Ok(EraVerdict::Modern(introduction)) => Ok(introduction),
                    Ok(EraVerdict::Again | EraVerdict::Legacy(_)) | Err(_) => Err(error),
                },
                other => other,
            },
        };
        match verdict {
            // A server of both eras may take the later request as the one that counts.
            EraVerdict::Modern(modern) => match timeout(self.patience(), initializing).await {
                Ok(Ok(legacy)) => Ok(legacy),
                Ok(Err(closed @ LinkError::ChildClosed(_))) => Err(closed),
                Ok(Err(_)) | Err(_) => Ok(modern),
            },
            EraVerdict::Again | EraVerdict::Legacy(_) => initializing.await,
        }
    }

    /// Returns how long the modern request is waited for alone.
    fn patience(&self) -> Duration {
        let timeouts = &self.link.config.timeouts;
        (timeouts.connect + timeouts.list) / 2
    }

    /// Sends `server/discover`; a second time if the child asks for that.
    async fn discover(&self) -> Result<EraVerdict, LinkError> {
        let mut verdict = EraVerdict::Again;
        for _ in 0..2 {
            let id = self.link.next_id();
            let message = self.ask(id, discover_request(id)).await?;
            verdict = read_discover_answer(&message)?;
            if !matches!(verdict, EraVerdict::Again) {
                break;
            }
        }
        Ok(verdict)
    }

    /// Sends `initialize`, and again with another version if the child refuses one.
    async fn initialize(&self, profile: &SessionProfile) -> Result<Introduction, LinkError> {
        let (mut left, mut version) = (VersionsLeft::new(), profile.version);
        loop {
            let id = self.link.next_id();
            let request = initialize_request(id, version, profile);
            let message = self.ask(id, request).await?;
            match read_initialize_answer(&message) {
                Ok(introduction) => return Ok(introduction),
                Err(error) => {
                    let refused = RefusedVersion {
                        error,
                        named: read_offered_versions(&message),
                        try_others: may_refuse_version(&message),
                    };
                    version = left.next(version, refused)?;
                }
            }
        }
    }

    /// Sends a request and waits for the response.
    async fn ask(&self, id: u64, body: Bytes) -> Result<Bytes, LinkError> {
        let timeouts = &self.link.config.timeouts;
        // A child that has answered once has started, and gets the time of any other handshake.
        let (deadline, after, raise) = match self.answered.load(Ordering::Relaxed) {
            false => (self.deadline, timeouts.start, "timeouts.start"),
            true => {
                let after = timeouts.connect + timeouts.list;
                (Instant::now() + after, after, "timeouts.list")
            }
        };
        let answer = timeout_at(deadline, ask_child(&self.child, id, body)).await;
        let answer = answer.map_err(|_| LinkError::ChildSilent { after, raise })??;
        self.answered.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    /// Makes a peer of what was found, or stops the child.
    async fn finish(
        self,
        found: Result<Introduction, LinkError>,
    ) -> Result<(Peer, UnsolicitedMessages), LinkError> {
        let connected = match found {
            Ok(introduction) if introduction.era == Era::Legacy => {
                let initialized = message::notification(method::INITIALIZED, None);
                let sent = self.child.send(initialized).await;
                sent.map(|()| introduction).map_err(LinkError::from_child)
            }
            other => other,
        };
        match connected {
            Ok(introduction) => {
                let connection = Connection::Child(self.child);
                Ok((introduction.into_peer(connection), self.unsolicited))
            }
            Err(error) => {
                self.child.stop().await;
                Err(error)
            }
        }
    }
}

async fn start_child(
    spec: &ChildSpec,
    link: &Link,
    deadline: Instant,
) -> Result<(Arc<Child>, UnsolicitedMessages), LinkError> {
    let secrets = deadline.min(link.connect_deadline());
    let read = timeout_at(secrets, spec.read_secrets());
    read.await
        .map_err(|_| LinkError::Timeout)?
        .map_err(LinkError::Start)?;
    Child::start(spec, link.tasks()).map_err(LinkError::Start)
}

async fn ask_child(child: &Arc<Child>, id: u64, body: Bytes) -> Result<Bytes, LinkError> {
    let mut replies = child
        .request(id, body, child.memory().clone())
        .await
        .map_err(LinkError::from_child)?;
    loop {
        match replies.next().await {
            Some(ChildReply::Notification(_)) => {}
            Some(ChildReply::Response(message)) => return Ok(message),
            Some(ChildReply::Closed(reason)) => {
                return Err(LinkError::ChildClosed(ChildClosed(reason)));
            }
            Some(ChildReply::NoMemory(over)) => return Err(over.into()),
            None => return Err(LinkError::Nonsense("no answer")),
        }
    }
}
