//! A session of the caller's own at an upstream: opened by the first call that needs it, read while
//! the caller has a stream, ended with the caller's session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch as channel};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::json;
use crate::protocol::message::Message;
use crate::protocol::method;
use crate::session::caller_session::CallerSession;
use crate::session::stream::UnaskedMessage;
use crate::upstream::ask::ask;
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::probe::{self, UnsolicitedMessages};
use crate::upstream::sessions::{SessionOwner, SessionPlace};
use crate::upstream::watch::{self, StreamEnd};
use crate::upstream::{Link, LinkError, Peer, Wire, leave_session};

/// How long the first request of a session waits until its GET stream is open.
const STREAM_OPENS: Duration = Duration::from_millis(500);
/// The pause before a session that was lost is opened again for its subscriptions.
const REOPENED_AFTER: Duration = Duration::from_millis(500);

/// A session of the caller's own at one upstream, open or not opened yet.
#[derive(Default)]
pub(super) struct UpstreamSession {
    open: OnceLock<OpenSession>,
    attempt: Mutex<Option<Attempt>>,
}

/// An attempt to open a session. It goes on when the call that began it has run out of time, because
/// a process may need longer to start than any call waits.
struct Attempt {
    /// Closed when the attempt is over.
    over: channel::Receiver<()>,
    /// Aborted with the session.
    _task: AbortOnDropHandle<()>,
}

struct OpenSession {
    link: Arc<Link>,
    peer: Arc<Peer>,
    /// Whether the upstream forgot it; then it need not be ended there.
    lost: AtomicBool,
    _reader: Option<AbortOnDropHandle<()>>,
    /// Counts against the upstream's limit of sessions, until the session is ended there.
    place: SessionPlace,
}

impl UpstreamSession {
    /// Returns the session's peer. The first call opens it; others wait for that attempt.
    pub(super) async fn peer(
        self: &Arc<Self>,
        session: &Arc<CallerSession>,
        link: &Arc<Link>,
        login: Option<&Arc<CallerLogin>>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        loop {
            if let Some(open) = self.open.get() {
                return Ok(Arc::clone(&open.peer));
            }
            if session.lock().is_over {
                return Err(LinkError::SessionLost);
            }
            let (mut over, failure) = self.join(session, link, login);
            // Nothing is sent: it ends when the attempt does.
            if timeout_at(deadline, over.changed()).await.is_err() {
                return Err(match &link.wire {
                    Wire::Http(_) => LinkError::Timeout,
                    Wire::Child(_) => LinkError::StillStarting,
                });
            }
            if self.open.get().is_some() {
                // The attempt is over. Its task would keep its memory for as long as its handle.
                self.cancel();
            }
            match failure.map(|mut failure| failure.try_recv()) {
                Some(Ok(error)) => return Err(error),
                Some(Err(_)) if self.open.get().is_none() => return Err(LinkError::SessionLost),
                // If an attempt that another call began has failed, it is this call's turn.
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Joins the attempt under way, or begins one. Returns the receiver that is closed when it is
    /// over and, to the call that began it, that of the failure.
    fn join(
        self: &Arc<Self>,
        session: &Arc<CallerSession>,
        link: &Arc<Link>,
        login: Option<&Arc<CallerLogin>>,
    ) -> (channel::Receiver<()>, Option<oneshot::Receiver<LinkError>>) {
        let mut attempt = self.attempt.lock();
        let usable = |one: &&Attempt| one.over.has_changed().is_ok();
        if let Some(running) = attempt.as_ref().filter(usable) {
            return (running.over.clone(), None);
        }
        let (running, over) = channel::channel(());
        if self.open.get().is_some() {
            return (over, None);
        }
        let (failed, failure) = oneshot::channel();
        // Both weak: an attempt keeps no session alive that has ended meanwhile.
        let (this, session) = (Arc::downgrade(self), Arc::downgrade(session));
        let (opened_at, login) = (Arc::clone(link), login.map(Arc::clone));
        let task = link.tasks().spawn(async move {
            match (
                Box::pin(open(&session, &opened_at, login.as_ref())).await,
                this.upgrade(),
            ) {
                (Ok(open), Some(this)) => {
                    let _ = this.open.set(open);
                }
                // The caller's session has ended meanwhile.
                (Ok(_), None) => {}
                (Err(error), _) => {
                    let _ = failed.send(error);
                }
            }
            drop(running);
        });
        *attempt = Some(Attempt {
            over: over.clone(),
            _task: AbortOnDropHandle::new(task),
        });
        (over, Some(failure))
    }

    /// Ends the attempt to open the session, if there is one.
    pub(super) fn cancel(&self) {
        let attempt = self.attempt.lock().take();
        drop(attempt);
    }

    /// Returns the session's link and peer, if it is open.
    pub(super) fn opened(&self) -> Option<(Arc<Link>, Arc<Peer>)> {
        let open = self.open.get()?;
        Some((Arc::clone(&open.link), Arc::clone(&open.peer)))
    }

    /// Marks the session as lost if it is the one with that peer, and returns whether it is.
    pub(super) fn mark_lost(&self, peer: &Arc<Peer>) -> bool {
        self.open.get().is_some_and(|open| {
            let is_it = Arc::ptr_eq(&open.peer, peer);
            open.lost.fetch_or(is_it, Ordering::Relaxed);
            is_it
        })
    }
}

/// Opens a session with the settings of the caller, and begins to read its messages. Dropped at any
/// time, it leaves no session at the upstream that was opened.
async fn open(
    session: &Weak<CallerSession>,
    link: &Arc<Link>,
    login: Option<&Arc<CallerLogin>>,
) -> Result<OpenSession, LinkError> {
    let current = || session.upgrade().ok_or(LinkError::SessionLost);
    let (share, usage, profile) = {
        let session = current()?;
        let usage = Arc::clone(session.usage());
        (session.share(), usage, session.profile.clone())
    };
    let owner: Weak<dyn SessionOwner> = session.clone();
    let place = link.sessions.acquire(link.link_id, share, owner, usage);
    let place = place.await?;
    let (peer, unasked) = probe::open_session(link, &profile, login).await?;
    let (peer, deadline) = (Arc::new(peer), link.connect_deadline());
    let mut opened = OpenSession {
        link: Arc::clone(link),
        peer: Arc::clone(&peer),
        lost: AtomicBool::new(false),
        _reader: None,
        place,
    };
    tracing::debug!(upstream = %link.id(), version = %peer.version, "opened a session of the caller's own");
    let settings = current()?.own_settings(link.id());
    restore(settings, link, &peer, deadline).await;
    let (told, stream_is_open) = oneshot::channel();
    let reader = read(session.clone(), Arc::clone(link), peer, unasked, told);
    opened._reader = Some(AbortOnDropHandle::new(link.tasks().spawn(reader)));
    let has_stream = *current()?.has_stream().borrow();
    if has_stream {
        // Some servers send requests on this stream that they need answered for the first call, and
        // send none if the stream is not open yet.
        let until = deadline.min(Instant::now() + STREAM_OPENS);
        let _ = tokio::time::timeout_at(until, stream_is_open).await;
    }
    Ok(opened)
}

/// Sends the caller's settings to a new session as they were sent to an earlier one: the level of
/// log messages, and the subscriptions. Errors are ignored: the session is of use without them.
async fn restore(
    (level, uris): (Option<Box<str>>, Vec<Arc<str>>),
    link: &Link,
    peer: &Peer,
    deadline: Instant,
) {
    if let Some(level) = level.filter(|_| peer.capabilities.logging) {
        let params = format!("{{\"level\":{level}}}");
        let _ = ask(link, peer, method::SET_LEVEL, params, deadline).await;
    }
    for uri in uris {
        let params = format!("{{\"uri\":{}}}", json::quote(&uri));
        let _ = ask(link, peer, method::SUBSCRIBE, params, deadline).await;
    }
}

/// Reads the messages that the upstream sends outside of calls, while the caller has a stream for
/// them. `opened` is used when the upstream's stream is open.
async fn read(
    session: Weak<CallerSession>,
    link: Arc<Link>,
    peer: Arc<Peer>,
    unasked: Option<UnsolicitedMessages>,
    opened: oneshot::Sender<()>,
) {
    let reading = read_messages(&session, &link, &peer, unasked, opened);
    let is_lost = tokio::select! {
        end = reading => end == StreamEnd::SessionLost,
        () = peer.outbox.wait_overflow() => true,
    };
    if is_lost {
        handle_loss(&session, &link, &peer);
    }
}

/// Reads as [`read`] does, and returns why nothing more comes.
async fn read_messages(
    session: &Weak<CallerSession>,
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    unasked: Option<UnsolicitedMessages>,
    opened: oneshot::Sender<()>,
) -> StreamEnd {
    let mut opened = Some(opened);
    if let Some(mut unasked) = unasked {
        drop(opened.take());
        while let Some(message) = unasked.recv().await {
            receive(session, link, peer, &message);
        }
        return StreamEnd::SessionLost;
    }
    loop {
        let Some(mut has_stream) = session.upgrade().map(|session| session.has_stream()) else {
            return StreamEnd::NoStream;
        };
        if has_stream.wait_for(|has| *has).await.is_err() {
            return StreamEnd::NoStream;
        }
        // Boxed: most callers have no stream, and then it takes no memory.
        let follow = Box::pin(watch::follow_stream(
            link,
            peer,
            || {
                if let Some(opened) = opened.take() {
                    let _ = opened.send(());
                }
            },
            |message| receive(session, link, peer, message),
        ));
        tokio::select! {
            end = follow => return end,
            ended = has_stream.wait_for(|has| !*has) => if ended.is_err() {
                return StreamEnd::NoStream;
            },
        }
    }
}

/// Forgets a session that the upstream forgot, or that is given up. If it had subscriptions, a new
/// one is opened soon: a caller that waits for updates may not call for a long time.
fn handle_loss(session: &Weak<CallerSession>, link: &Arc<Link>, peer: &Arc<Peer>) {
    let Some(session) = session.upgrade() else {
        return;
    };
    session.forget_upstream_session(link, peer);
    if !session.is_subscribed(link) {
        return;
    }
    let (link, login) = (Arc::clone(link), peer.login().map(Arc::clone));
    let gone = Arc::downgrade(&session);
    drop(session);
    link.tasks().clone().spawn(async move {
        // Not at once: an upstream that loses each session does not set the pace.
        tokio::time::sleep(REOPENED_AFTER).await;
        let Some(session) = gone.upgrade() else {
            return;
        };
        let reopened = session.upstream_session(&link, login.as_ref(), link.open_deadline());
        if let Err(error) = reopened.await {
            tracing::debug!(upstream = %link.id(), %error, "a caller's subscriptions are lost until its next call");
        }
    });
}

/// Passes on a message that the upstream sent outside of calls.
fn receive(session: &Weak<CallerSession>, link: &Arc<Link>, peer: &Arc<Peer>, bytes: &Bytes) {
    let Some(session) = session.upgrade() else {
        return;
    };
    match std::str::from_utf8(bytes).map(Message::parse) {
        // Not relayed: callers are notified when weir's own catalog has changed.
        Ok(Ok(Message::Notification(notification)))
            if matches!(
                notification.method.as_ref(),
                method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED
            ) =>
        {
            link.rounds.announce_change();
        }
        Ok(Ok(Message::Request(_) | Message::Notification(_))) => {
            session.deliver(UnaskedMessage {
                link: Arc::clone(link),
                peer: Arc::clone(peer),
                bytes: bytes.clone(),
                kept: None,
            });
        }
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => {
            tracing::debug!(upstream = %link.id(), "ignored a message outside of calls that is neither request nor notification");
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if self.lost.load(Ordering::Relaxed) {
            return;
        }
        let place = self.place.leave();
        leave_session(&self.link, Arc::clone(&self.peer), None, place);
    }
}
