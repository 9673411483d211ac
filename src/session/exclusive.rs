//! Sessions at legacy upstreams that one call of a modern caller has to itself. What a legacy server
//! asks of its client names no call, so a call that may be asked something needs a session in which
//! nothing else happens: all that comes there is about it.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::caller::{Occupant, PrincipalKey, Rest, ShareKey};
use crate::protocol::era::Version;
use crate::protocol::message::Message;
use crate::protocol::method;
use crate::upstream::caller_login::{CallerLogin, LoginKey};
use crate::upstream::probe::{self, SessionProfile, UnsolicitedMessages};
use crate::upstream::sessions::{SessionOwner, SessionPlace};
use crate::upstream::watch::{self, StreamEnd};
use crate::upstream::{Link, LinkError, Peer, leave_session};

/// The most messages that wait outside of the call's own stream. More are dropped, and requests
/// refused.
const WAITING: usize = 64;
/// How long a new session waits until its GET stream is open. Many servers send their questions there,
/// and drop them if there is none.
const STREAM_OPENS: Duration = Duration::from_millis(500);

/// The sessions that can take each other's place: those of one principal at one upstream, opened alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSort {
    /// The link that it is opened over.
    pub link_id: u64,
    /// The principal that it is for.
    pub principal: PrincipalKey,
    /// The version to ask for.
    pub version: Version,
    /// The capabilities to declare: exactly those of the caller.
    pub capabilities: Arc<str>,
    /// The key of the caller's login, where the upstream is called on behalf of its callers.
    pub login: Option<LoginKey>,
}

/// A session that a call has to itself. Dropped, it is ended at the upstream.
pub struct ExclusiveSession {
    /// The link that it was opened over.
    pub link: Arc<Link>,
    /// The server at its other end.
    pub peer: Arc<Peer>,
    /// The level of log messages that was set in it, as JSON text.
    pub log_level: Option<Box<str>>,
    pub(super) sort: SessionSort,
    pub(super) number: u64,
    pub(super) usage: Arc<ExclusiveUsage>,
    /// The messages that come outside of the stream of its call.
    outside: mpsc::Receiver<OutsideMessage>,
    _reader: AbortOnDropHandle<()>,
    place: SessionPlace,
    /// Finds it while it is idle, if another session needs its place.
    _owner: Arc<dyn SessionOwner>,
    /// Whether nothing can come outside of the stream of its call.
    is_silent: bool,
    /// Whether the upstream asked something outside of it, where that may come late. A late question of one
    /// call must not reach the next.
    has_asked: bool,
    is_lost: bool,
    /// The messages that are still to be posted before it ends.
    last: Vec<Bytes>,
    /// The connection of its call, which stays open until then.
    carrier: Option<Box<dyn Send>>,
}

/// A message outside of the stream of a call.
enum OutsideMessage {
    Message(Bytes),
    /// The upstream forgot the session, or its process has ended.
    Lost,
}

/// The use of a session, for what shares out places.
#[derive(Debug, Default)]
pub(super) struct ExclusiveUsage(Mutex<Option<Instant>>);

impl ExclusiveUsage {
    /// Notes whether it is idle.
    pub(super) fn set_idle(&self, is_idle: bool) {
        *self.0.lock() = is_idle.then(Instant::now);
    }
}

impl Occupant for ExclusiveUsage {
    fn rest(&self) -> Rest {
        match *self.0.lock() {
            Some(since) => Rest::Idle(since),
            None => Rest::Busy(Instant::now()),
        }
    }
}

/// All that is needed to open a session.
pub(super) struct SessionOpening {
    pub(super) link: Arc<Link>,
    pub(super) sort: SessionSort,
    pub(super) share: ShareKey,
    pub(super) login: Option<Arc<CallerLogin>>,
    pub(super) owner: Arc<dyn SessionOwner>,
    pub(super) number: u64,
}

impl SessionOpening {
    /// Opens the session, its GET stream before its first call.
    ///
    /// # Errors
    /// There is no place for it, or the upstream cannot be reached or refuses.
    pub(super) async fn open(self) -> Result<ExclusiveSession, LinkError> {
        let Self {
            link,
            sort,
            share,
            login,
            owner,
            number,
        } = self;
        let usage = Arc::new(ExclusiveUsage::default());
        let weak: Weak<dyn SessionOwner> = Arc::downgrade(&owner);
        let occupant: Arc<dyn Occupant + Send + Sync> = usage.clone();
        let place = link.sessions.acquire(link.link_id, share, weak, occupant);
        let place = place.await?;
        let profile = SessionProfile {
            version: sort.version,
            capabilities: Cow::Owned(sort.capabilities.to_string()),
            key: crate::seal::random().ok(),
        };
        let (peer, unasked) = probe::open_session(&link, &profile, login.as_ref()).await?;
        let peer = Arc::new(peer);
        let (sender, outside) = mpsc::channel(WAITING);
        let (told, stream_is_open) = oneshot::channel();
        let reader = read(Arc::clone(&link), Arc::clone(&peer), unasked, sender, told);
        let reader = AbortOnDropHandle::new(link.tasks().spawn(reader));
        tracing::debug!(upstream = %link.id(), version = %peer.version, "opened a session for calls of a modern caller");
        let session = ExclusiveSession {
            link,
            peer,
            log_level: None,
            sort,
            number,
            usage,
            outside,
            _reader: reader,
            place,
            _owner: owner,
            is_silent: false,
            has_asked: false,
            is_lost: false,
            last: Vec::new(),
            carrier: None,
        };
        let _ = timeout_at(Instant::now() + STREAM_OPENS, stream_is_open).await;
        Ok(session)
    }
}

impl std::fmt::Debug for ExclusiveSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExclusiveSession")
            .field("upstream", self.link.id())
            .finish_non_exhaustive()
    }
}

impl ExclusiveSession {
    /// Returns the next message outside of the stream of its call; `None` once the session is lost. It
    /// may be dropped and made again at any time.
    pub async fn next(&mut self) -> Option<Bytes> {
        while !self.is_silent {
            match self.outside.recv().await {
                Some(OutsideMessage::Message(message)) => return Some(message),
                Some(OutsideMessage::Lost) => {
                    self.is_silent = true;
                    self.is_lost = true;
                    return None;
                }
                None => self.is_silent = true,
            }
        }
        std::future::pending().await
    }

    /// Notes that the upstream asked something outside of the stream of its call.
    pub fn note_asked(&mut self) {
        self.has_asked = true;
    }

    /// Notes that the upstream does not know it any more.
    pub fn note_lost(&mut self) {
        self.is_lost = true;
    }

    /// Ends it at the upstream, after these messages. `carrier`, the connection of its call, stays open
    /// until then: some servers take a closed one for a cancellation.
    pub fn end_after(mut self, last: Vec<Bytes>, carrier: impl Send + 'static) {
        self.last = last;
        self.carrier = Some(Box::new(carrier));
    }

    /// Returns whether another call can have it.
    pub(super) fn is_reusable(&mut self) -> bool {
        while let Ok(outside) = self.outside.try_recv() {
            match outside {
                OutsideMessage::Message(bytes) => self.has_asked |= is_request(&bytes),
                OutsideMessage::Lost => self.is_lost = true,
            }
        }
        !self.has_asked && !self.is_lost && self.peer.is_open() && !self.link.is_retired()
    }
}

impl Drop for ExclusiveSession {
    fn drop(&mut self) {
        let place = self.place.leave();
        if !self.is_lost {
            let (peer, last) = (Arc::clone(&self.peer), std::mem::take(&mut self.last));
            let held = (place, self.carrier.take());
            leave_session(&self.link, peer, Some(last), held);
        }
    }
}

/// Reads what comes outside of the streams of calls, until nothing more can come. `opened` is used when
/// the GET stream is open, or dropped where there is none.
async fn read(
    link: Arc<Link>,
    peer: Arc<Peer>,
    unasked: Option<UnsolicitedMessages>,
    to: mpsc::Sender<OutsideMessage>,
    opened: oneshot::Sender<()>,
) {
    let mut opened = Some(opened);
    let is_lost = match unasked {
        Some(mut unasked) => {
            drop(opened);
            while let Some(message) = unasked.recv().await {
                receive(&link, &peer, &to, &message);
            }
            true
        }
        None => {
            let following = watch::follow_stream(
                &link,
                &peer,
                || {
                    if let Some(opened) = opened.take() {
                        let _ = opened.send(());
                    }
                },
                |message| receive(&link, &peer, &to, message),
            );
            Box::pin(following).await == StreamEnd::SessionLost
        }
    };
    if is_lost {
        let _ = to.send(OutsideMessage::Lost).await;
    }
}

/// Passes on a message that is about the call. Pings are answered at once, so that the upstream knows
/// that somebody is there while nobody calls.
fn receive(link: &Arc<Link>, peer: &Arc<Peer>, to: &mpsc::Sender<OutsideMessage>, bytes: &Bytes) {
    let pass = || to.try_send(OutsideMessage::Message(bytes.clone())).is_ok();
    match std::str::from_utf8(bytes).map(Message::parse) {
        Ok(Ok(Message::Request(request))) => {
            if request.method == method::PING || !pass() {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
        }
        Ok(Ok(Message::Notification(notification)))
            if matches!(
                notification.method.as_ref(),
                method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED
            ) =>
        {
            link.rounds.announce_change();
        }
        Ok(Ok(Message::Notification(_))) => {
            pass();
        }
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => {}
    }
}

fn is_request(bytes: &Bytes) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| matches!(Message::parse(text), Ok(Message::Request(_))))
}
