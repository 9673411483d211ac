//! One legacy caller: what its session has at the upstreams, what they asked of it, what it is told unasked.

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foldhash::HashMap;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::name::UpstreamId;
use crate::protocol::era::Version;
use crate::protocol::message::Id;
use crate::relay::asked::Asked;
use crate::relay::own::Own;
use crate::upstream::probe::SessionProfile;
use crate::upstream::subscriptions::{Subscription, Topic, Update};
use crate::upstream::{Link, LinkError, Peer};

/// Messages that wait on a caller's own stream. One more is dropped.
const TOLD: usize = 64;

/// Most resources one caller may subscribe to.
const SUBSCRIPTIONS: usize = 1_000;

/// The state of one legacy session of a caller, in memory for as long as it is of use.
pub struct Caller {
    /// What its sessions at upstreams are opened with.
    pub(super) profile: SessionProfile,
    pub(super) kept: Mutex<Kept>,
    /// Whether there is a stream for what is said unasked.
    listens: watch::Sender<bool>,
    /// Numbers for what upstreams ask, and for streams.
    numbers: AtomicU64,
    started: Instant,
    /// Milliseconds after `started`.
    used: AtomicU64,
}

/// What is behind the lock; nothing waits while holding it.
#[derive(Default)]
pub(super) struct Kept {
    /// By the number of the link.
    pub(super) sessions: HashMap<u64, Arc<Own>>,
    pub(super) asked: HashMap<u64, Asked>,
    /// The level of log messages it wants, as JSON text.
    pub(super) level: Option<Box<str>>,
    /// The progress tokens of calls that became tasks, and go on.
    pub(super) tokens: VecDeque<Token>,
    /// By exposed URI.
    pub(super) subscribed: HashMap<Arc<str>, Subscribed>,
    calls: HashMap<Id, CancellationToken>,
    stream: Option<Stream>,
}

/// A progress token that outlives its call.
pub(super) struct Token {
    pub(super) upstream: UpstreamId,
    /// The token of the hop.
    pub(super) number: u64,
    /// The caller's, as JSON text.
    pub(super) token: Box<str>,
}

/// A subscription of this caller.
pub(super) struct Subscribed {
    pub(super) upstream: UpstreamId,
    /// What the upstream calls it.
    pub(super) uri: Arc<str>,
    /// Where it is kept for all callers together; `None` where the caller's own session has it.
    pub(super) shared: Option<Subscription>,
}

struct Stream {
    number: u64,
    tell: mpsc::Sender<Bytes>,
    news: mpsc::Sender<Box<Update>>,
    end: CancellationToken,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// A caller that has done nothing yet.
    #[must_use]
    pub fn new(profile: SessionProfile) -> Arc<Self> {
        let seed = crate::seal::random::<4>().map_or(0, u32::from_le_bytes);
        Arc::new(Self {
            profile,
            kept: Mutex::default(),
            listens: watch::Sender::new(false),
            // Not from 1 on: after a restart, an answer to an earlier request must find nothing.
            numbers: AtomicU64::new(u64::from(seed) << 16),
            started: Instant::now(),
            used: AtomicU64::new(0),
        })
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }

    /// Whether it knows streams that pause: events without data, retry times (since 2025-11-25).
    #[must_use]
    pub fn polls(&self) -> bool {
        self.profile.version >= Version::V2025_11_25
    }

    /// The version agreed on.
    #[must_use]
    pub fn version(&self) -> Version {
        self.profile.version
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Registers a call, so that [`Caller::cancel`] finds it.
    #[must_use]
    pub fn call(self: &Arc<Self>, id: &Id) -> Call {
        self.touch();
        let token = CancellationToken::new();
        self.kept().calls.insert(id.clone(), token.clone());
        Call {
            caller: Arc::clone(self),
            id: id.clone(),
            token,
        }
    }

    /// Cancels a call, if it is under way.
    pub fn cancel(&self, id: &Id) {
        let found = self.kept().calls.get(id).cloned();
        if let Some(token) = found {
            token.cancel();
        }
    }

    /// Opens the stream for what is said unasked, until `end`. There is one: an earlier one ends.
    #[must_use]
    pub fn listen(self: &Arc<Self>, end: CancellationToken) -> Listening {
        let (tell, told) = mpsc::channel(TOLD);
        let (news, updates) = mpsc::channel(TOLD);
        let number = self.number();
        let stream = Stream {
            number,
            tell,
            news,
            end: end.clone(),
        };
        let earlier = self.kept().stream.replace(stream);
        if let Some(earlier) = earlier {
            earlier.end.cancel();
        }
        self.subscribe_anew();
        self.listens.send_replace(true);
        Listening {
            caller: Arc::clone(self),
            number,
            told,
            updates,
            end,
        }
    }

    /// Says something on the caller's own stream; false where there is none, or no room on it.
    pub(super) fn tell(&self, message: Bytes) -> bool {
        let tell = self
            .kept()
            .stream
            .as_ref()
            .map(|stream| stream.tell.clone());
        tell.is_some_and(|tell| tell.try_send(message).is_ok())
    }

    pub(super) fn listens(&self) -> watch::Receiver<bool> {
        self.listens.subscribe()
    }

    /// Where news of shared subscriptions go, while there is a stream.
    pub(super) fn news(&self) -> Option<mpsc::Sender<Box<Update>>> {
        self.kept()
            .stream
            .as_ref()
            .map(|stream| stream.news.clone())
    }

    /// Notes a subscription.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn subscribed(
        &self,
        exposed: Arc<str>,
        subscribed: Subscribed,
    ) -> Result<(), LinkError> {
        let mut kept = self.kept();
        if kept.subscribed.len() >= SUBSCRIPTIONS && !kept.subscribed.contains_key(&exposed) {
            return Err(LinkError::Busy);
        }
        kept.subscribed.insert(exposed, subscribed);
        drop(kept);
        // The stream of the moment may be another than when the upstream was asked.
        self.subscribe_anew();
        Ok(())
    }

    /// Forgets a subscription.
    pub(super) fn unsubscribed(&self, exposed: &str) -> Option<Subscribed> {
        self.kept().subscribed.remove(exposed)
    }

    /// Shared subscriptions tell the stream of the moment.
    fn subscribe_anew(&self) {
        let mut kept = self.kept();
        let news = kept.stream.as_ref().map(|stream| stream.news.clone());
        for (exposed, subscribed) in &mut kept.subscribed {
            if let (Some(shared), Some(news)) = (&mut subscribed.shared, &news) {
                shared.redirect(Arc::clone(exposed), news.clone());
            }
        }
    }

    /// The session it has of its own at an upstream, opened if there is none.
    ///
    /// # Errors
    /// The session cannot be opened until `deadline`.
    pub(super) async fn session(
        self: &Arc<Self>,
        link: &Arc<Link>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        let own = Arc::clone(self.kept().sessions.entry(link.link_id).or_default());
        own.peer(self, link, deadline).await
    }

    /// Those of its sessions that are open.
    pub(super) fn open_sessions(&self) -> Vec<(Arc<Link>, Arc<Peer>)> {
        let sessions: Vec<_> = self.kept().sessions.values().cloned().collect();
        sessions.iter().filter_map(|own| own.open()).collect()
    }

    /// Forgets a session that the upstream does not know any more.
    pub(super) fn lost(&self, link: &Link, peer: &Arc<Peer>) {
        let mut kept = self.kept();
        let is_it = kept
            .sessions
            .get(&link.link_id)
            .is_some_and(|own| own.is_lost(peer));
        let gone = is_it.then(|| kept.sessions.remove(&link.link_id));
        // Nobody is left to answer to.
        kept.asked.retain(|_, asked| !asked.is_of(peer));
        drop(kept);
        drop(gone);
    }

    /// Leaves the sessions at upstreams that no config has any more.
    pub fn leave_retired(&self) {
        let retired = |own: &Own| own.open().is_some_and(|(link, _)| link.is_retired());
        let mut kept = self.kept();
        let left: Vec<_> = kept.sessions.extract_if(|_, own| retired(own)).collect();
        drop(kept);
        drop(left);
    }

    /// Whether its own session at an upstream has subscriptions, and there is a stream to tell of them.
    pub(super) fn is_subscribed(&self, link: &Link) -> bool {
        let kept = self.kept();
        let mut all = kept.subscribed.values();
        kept.stream.is_some() && all.any(|one| one.upstream == *link.id() && one.shared.is_none())
    }

    /// Notes that it is there.
    pub fn touch(&self) {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(since, Ordering::Relaxed);
    }

    /// Whether it has done nothing for so long, and has nothing under way.
    #[must_use]
    pub fn is_idle_for(&self, idle: std::time::Duration) -> bool {
        let used = std::time::Duration::from_millis(self.used.load(Ordering::Relaxed));
        let kept = self.kept();
        kept.calls.is_empty()
            && kept.stream.is_none()
            && self.started.elapsed().saturating_sub(used) >= idle
    }

    /// Ends it: its stream closes, its sessions at upstreams are left.
    pub fn end(&self) {
        let (stream, sessions) = {
            let mut kept = self.kept();
            kept.subscribed.clear();
            (kept.stream.take(), std::mem::take(&mut kept.sessions))
        };
        if let Some(stream) = stream {
            stream.end.cancel();
        }
        drop(sessions);
    }
}

/// A caller's own stream; dropping it takes it off the books.
#[derive(Debug)]
pub struct Listening {
    caller: Arc<Caller>,
    number: u64,
    /// What is to be said on it.
    pub told: mpsc::Receiver<Bytes>,
    /// News of what it subscribed to.
    pub updates: mpsc::Receiver<Box<Update>>,
    /// Cancelled when the stream has to end.
    pub end: CancellationToken,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut kept = self.caller.kept();
        let is_it = kept
            .stream
            .as_ref()
            .is_some_and(|stream| stream.number == self.number);
        if is_it {
            kept.stream = None;
            self.caller.listens.send_replace(false);
            self.caller.touch();
        }
    }
}

/// A call under way; dropping it takes it off the books.
#[derive(Debug)]
pub struct Call {
    caller: Arc<Caller>,
    id: Id,
    /// Cancelled when the caller takes the request back.
    pub token: CancellationToken,
}

impl Call {
    /// Whose it is.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.caller.kept().calls.remove(&self.id);
        self.caller.touch();
    }
}

/// The topic of a resource, as its upstream calls it.
pub(super) fn resource(uri: &Arc<str>) -> Topic {
    Topic::Resource(Arc::clone(uri))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::protocol::era::Version;

    fn caller() -> Arc<Caller> {
        Caller::new(SessionProfile {
            version: Version::LATEST_LEGACY,
            capabilities: Cow::Borrowed("{}"),
            key: None,
        })
    }

    #[tokio::test]
    async fn a_second_stream_takes_the_place_of_the_first() {
        let caller = caller();
        assert!(!caller.tell(Bytes::from_static(b"nobody hears")));
        let first = caller.listen(CancellationToken::new());
        let mut second = caller.listen(CancellationToken::new());
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        drop(first);
        assert!(caller.tell(Bytes::from_static(b"heard")));
        assert_eq!(second.told.recv().await.unwrap(), "heard");
        drop(second);
        assert!(!caller.tell(Bytes::from_static(b"nobody hears")));
        assert!(caller.is_idle_for(std::time::Duration::ZERO));
    }

    #[test]
    fn a_call_is_cancelled_by_its_id_while_it_is_under_way() {
        let caller = caller();
        let (one, two) = (Id::from(1), Id::from(2));
        let call = caller.call(&one);
        assert!(!caller.is_idle_for(std::time::Duration::ZERO));
        caller.cancel(&two);
        assert!(!call.token.is_cancelled());
        caller.cancel(&one);
        assert!(call.token.is_cancelled());
        drop(call);
        assert!(caller.is_idle_for(std::time::Duration::ZERO));
    }
}
