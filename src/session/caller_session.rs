//! The state of one legacy session: its sessions at upstreams, the requests of upstreams that the
//! caller has to answer, its calls under way, and its stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::caller::ShareKey;
use crate::catalog::NamedResources;
use crate::memory::{MemoryShare, Reservation};
use crate::name::UpstreamId;
use crate::protocol::era::Version;
use crate::protocol::message::{Id, find_alike};
use crate::replicas::ReplicaTag;
use crate::session::server_requests::PendingServerRequest;
use crate::session::stream::{SessionStream, UnaskedMessage};
use crate::session::upstream_session::UpstreamSession;
use crate::session::usage::SessionUsage;
use crate::upstream::LinkError;
use crate::upstream::probe::SessionProfile;
use crate::upstream::subscriptions::{Subscription, Update, suffix_below};

/// At most this many messages wait on a session's stream. More are refused.
const WAITING: usize = 64;

/// At most this many resources can be subscribed to in one session.
const SUBSCRIPTIONS: usize = 1_000;

/// At most this many tasks of one session have their progress relayed. For more, the oldest is
/// dropped.
const TASK_TOKENS: usize = 64;

/// The bytes that the state of a session takes without the things kept in it.
const EACH: usize = 2048;

/// The state of one legacy session of a caller. It is in memory only, and can be made anew.
pub struct CallerSession {
    /// The version and capabilities that its sessions at upstreams are opened with.
    pub(super) profile: SessionProfile,
    inner: Mutex<Inner>,
    named_resources: Arc<NamedResources>,
    /// The bytes that are kept for it, and those for the session itself among them.
    memory: MemoryShare,
    _kept: Reservation,
    has_stream: watch::Sender<bool>,
    /// Numbers for requests of upstreams, and for streams.
    numbers: AtomicU64,
    /// The caller that opened it, or used it first since weir has its state.
    share: ShareKey,
    usage: Arc<SessionUsage>,
}

/// The part behind the lock, which is never held while waiting.
#[derive(Default)]
pub(super) struct Inner {
    /// By the number of the link.
    pub(super) upstream_sessions: HashMap<u64, Arc<UpstreamSession>>,
    /// Whether the session has ended, so that no more of those are opened.
    pub(super) is_over: bool,
    /// By weir's number for the request, which is its id and its progress token towards the caller.
    pub(super) pending: HashMap<u64, PendingServerRequest>,
    /// The level of log messages that the caller set, as JSON text.
    log_level: Option<Box<str>>,
    /// The progress tokens of calls that became tasks.
    task_tokens: VecDeque<TaskToken>,
    /// By exposed URI.
    pub(super) subscriptions: HashMap<Arc<str>, ResourceSubscription>,
    calls: HashMap<Id, CancellationToken>,
    pub(super) stream: Option<StreamSender>,
}

/// A progress token that outlives its call.
struct TaskToken {
    upstream: UpstreamId,
    /// Weir's token towards the upstream: the number of the request on its link.
    number: u64,
    /// The caller's token, as JSON text.
    token: Box<str>,
}

/// A subscription of a session to a resource (`resources/subscribe`).
pub struct ResourceSubscription {
    /// The upstream that has the resource.
    pub upstream: UpstreamId,
    /// Its URI at the upstream.
    pub uri: Arc<str>,
    /// The subscription that callers share; `None` if it is in the caller's own session at the
    /// upstream.
    pub shared: Option<Subscription>,
    /// The part of `limits.memory` that it takes.
    pub kept: Reservation,
}

/// A session's stream, at the end that is written to.
pub(super) struct StreamSender {
    number: u64,
    messages: mpsc::Sender<Box<UnaskedMessage>>,
    updates: mpsc::Sender<Box<Update>>,
    end: CancellationToken,
}

impl std::fmt::Debug for CallerSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerSession")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl CallerSession {
    /// Makes the state of a session that has done nothing yet.
    #[must_use]
    pub fn new(profile: SessionProfile, share: ShareKey, memory: MemoryShare) -> Arc<Self> {
        let seed = crate::seal::random::<4>().map_or(0, u32::from_le_bytes);
        Arc::new(Self {
            inner: Mutex::default(),
            named_resources: Arc::new(NamedResources::of_session(&memory)),
            _kept: memory.count(EACH + profile.capabilities.len()),
            memory,
            has_stream: watch::Sender::new(false),
            // Not from 1 on: after a restart, an answer to an earlier request must find nothing.
            numbers: AtomicU64::new(u64::from(seed) << 16),
            share,
            usage: Arc::new(SessionUsage::new()),
            profile,
        })
    }

    /// Returns the caller that it counts for.
    pub(super) fn share(&self) -> ShareKey {
        self.share
    }

    /// Returns its use.
    pub(super) fn usage(&self) -> &Arc<SessionUsage> {
        &self.usage
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Returns the share that pays for what is kept for this session.
    #[must_use]
    pub fn memory(&self) -> &MemoryShare {
        &self.memory
    }

    /// Returns the resources that results named in this session.
    #[must_use]
    pub fn named_resources(&self) -> &Arc<NamedResources> {
        &self.named_resources
    }

    /// Returns whether the caller knows streams that pause: events without data, retry times (since
    /// 2025-11-25).
    #[must_use]
    pub fn knows_polling(&self) -> bool {
        self.profile.version >= Version::V2025_11_25
    }

    /// Returns the version agreed on.
    #[must_use]
    pub fn version(&self) -> Version {
        self.profile.version
    }

    /// Returns the client's capabilities as JSON text.
    #[must_use]
    pub fn capabilities(&self) -> &str {
        &self.profile.capabilities
    }

    /// Returns the level of log messages that the caller set, as JSON text.
    #[must_use]
    pub fn log_level(&self) -> Option<Box<str>> {
        self.lock().log_level.clone()
    }

    /// Gives numbers from now on that tell which replica has the session's state.
    pub(super) fn name_replica(&self, tag: ReplicaTag) {
        let seed = crate::seal::random::<2>().map_or(0, u16::from_le_bytes);
        let first = tag.number(u32::from(seed) << 14);
        self.numbers.store(first, Ordering::Relaxed);
    }

    /// Returns a number that was not used in this session before.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Registers a call, so that [`CallerSession::cancel`] finds it.
    #[must_use]
    pub fn call(self: &Arc<Self>, id: &Id) -> RunningCall {
        self.usage.begin_call();
        let token = CancellationToken::new();
        self.lock().calls.insert(id.clone(), token.clone());
        RunningCall {
            session: Arc::clone(self),
            id: id.clone(),
            token,
        }
    }

    /// Cancels a call. Returns false if it is not under way here.
    pub fn cancel(&self, id: &Id) -> bool {
        let found = find_alike(&self.lock().calls, id).map(|(_, token)| token.clone());
        match found {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }

    /// Opens the session's stream, until `end`. There is one: an earlier one ends.
    #[must_use]
    pub fn listen(self: &Arc<Self>, end: CancellationToken) -> SessionStream {
        let (message_sender, messages) = mpsc::channel(WAITING);
        let (update_sender, updates) = mpsc::channel(WAITING);
        let number = self.next_number();
        let sender = StreamSender {
            number,
            messages: message_sender,
            updates: update_sender,
            end: end.clone(),
        };
        let earlier = self.lock().stream.replace(sender);
        if let Some(earlier) = earlier {
            earlier.end.cancel();
        }
        self.redirect_updates();
        self.has_stream.send_replace(true);
        self.usage.set_stream(true);
        SessionStream {
            session: Arc::clone(self),
            number,
            messages,
            updates,
            end,
        }
    }

    /// Forgets the stream with this number, unless another has taken its place.
    pub(super) fn close_stream(&self, number: u64) {
        let mut inner = self.lock();
        let is_it = inner
            .stream
            .as_ref()
            .is_some_and(|stream| stream.number == number);
        if is_it {
            inner.stream = None;
            self.has_stream.send_replace(false);
            self.usage.set_stream(false);
        }
    }

    /// Puts a message of an upstream on the session's stream. It is refused if there is no stream,
    /// too many messages wait on it, or there is no memory left for it.
    pub(super) fn deliver(&self, mut message: UnaskedMessage) {
        let Ok(kept) = self.memory.reserve(message.bytes.len()) else {
            return self.refuse(&message);
        };
        message.kept = Some(kept);
        let stream = self
            .lock()
            .stream
            .as_ref()
            .map(|stream| stream.messages.clone());
        let refused = match stream {
            Some(stream) => stream
                .try_send(Box::new(message))
                .map_err(|error| *error.into_inner()),
            None => Err(message),
        };
        if let Err(message) = refused {
            self.refuse(&message);
        }
    }

    /// Watches whether the session has a stream.
    pub(super) fn has_stream(&self) -> watch::Receiver<bool> {
        self.has_stream.subscribe()
    }

    /// Returns the sender for updates of shared subscriptions, if there is a stream.
    #[must_use]
    pub fn updates(&self) -> Option<mpsc::Sender<Box<Update>>> {
        self.lock()
            .stream
            .as_ref()
            .map(|stream| stream.updates.clone())
    }

    /// Keeps a subscription, under the exposed URI of its resource.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_subscription(
        &self,
        exposed: Arc<str>,
        subscription: ResourceSubscription,
    ) -> Result<(), LinkError> {
        let mut inner = self.lock();
        let is_new = !inner.subscriptions.contains_key(&exposed);
        if is_new && inner.subscriptions.len() >= SUBSCRIPTIONS {
            return Err(LinkError::Busy);
        }
        // While the upstream was asked, another stream may have been opened.
        if let (Some(shared), Some(stream)) = (&subscription.shared, &inner.stream) {
            shared.redirect(Arc::clone(&exposed), stream.updates.clone());
        }
        let former = inner.subscriptions.insert(exposed, subscription);
        drop(inner);
        drop(former);
        Ok(())
    }

    /// Forgets a subscription, and returns it.
    pub fn remove_subscription(&self, exposed: &str) -> Option<ResourceSubscription> {
        self.lock().subscriptions.remove(exposed)
    }

    /// Sends the updates of shared subscriptions to the stream that is open now.
    fn redirect_updates(&self) {
        let mut inner = self.lock();
        let updates = inner.stream.as_ref().map(|stream| stream.updates.clone());
        for (exposed, subscription) in &mut inner.subscriptions {
            if let (Some(shared), Some(updates)) = (&mut subscription.shared, &updates) {
                shared.redirect(Arc::clone(exposed), updates.clone());
            }
        }
    }

    /// Returns the exposed URI of a resource at an upstream, if the session subscribed to it or to
    /// one above it. The closest one decides.
    #[must_use]
    pub fn exposed_uri(&self, upstream: &UpstreamId, uri: &str) -> Option<String> {
        let inner = self.lock();
        let here = inner.subscriptions.iter();
        let here = here.filter(|(_, subscription)| subscription.upstream == *upstream);
        let fitting = here.filter_map(|(exposed, subscription)| {
            let rest = suffix_below(&subscription.uri, uri)?;
            Some((rest.len(), format!("{exposed}{rest}")))
        });
        fitting.min().map(|(_, exposed)| exposed)
    }

    /// Keeps the level of log messages that the caller wants, as JSON text, for sessions that are
    /// opened at upstreams later.
    pub fn set_log_level(&self, level: &str) {
        self.lock().log_level = Some(level.into());
    }

    /// Returns the settings of the caller's own session at an upstream: the level of log messages,
    /// as JSON text, and the upstream's URIs of the resources it subscribed to.
    pub(super) fn own_settings(&self, upstream: &UpstreamId) -> (Option<Box<str>>, Vec<Arc<str>>) {
        let inner = self.lock();
        let here = inner
            .subscriptions
            .values()
            .filter(|one| one.upstream == *upstream && one.shared.is_none());
        let uris = here.map(|one| Arc::clone(&one.uri)).collect();
        (inner.log_level.clone(), uris)
    }

    /// Keeps the token of a call that became a task (2025-11-25 `basic/utilities/tasks.mdx`):
    /// `number` is weir's towards the upstream, `token` the caller's as JSON text.
    pub fn add_task_token(&self, upstream: &UpstreamId, number: u64, token: &str) {
        let mut inner = self.lock();
        if inner.task_tokens.len() >= TASK_TOKENS {
            inner.task_tokens.pop_front();
        }
        inner.task_tokens.push_back(TaskToken {
            upstream: upstream.clone(),
            number,
            token: token.into(),
        });
    }

    /// Returns the caller's progress token of a task, as JSON text.
    #[must_use]
    pub fn task_token(&self, upstream: &UpstreamId, number: u64) -> Option<String> {
        let inner = self.lock();
        let mut known = inner.task_tokens.iter();
        let is_it = |one: &&TaskToken| one.number == number && one.upstream == *upstream;
        known.find(is_it).map(|one| one.token.to_string())
    }

    /// Notes that the session is used now.
    pub fn touch(&self) {
        self.usage.touch();
    }

    /// Returns whether the session has done nothing for `idle` and has nothing under way.
    #[must_use]
    pub fn is_idle_for(&self, idle: Duration) -> bool {
        self.usage.is_idle_for(idle)
    }

    /// Ends the session: its stream, and its sessions at upstreams.
    pub fn end(&self) {
        let (stream, sessions) = {
            let mut inner = self.lock();
            inner.is_over = true;
            inner.subscriptions.clear();
            (
                inner.stream.take(),
                std::mem::take(&mut inner.upstream_sessions),
            )
        };
        if let Some(stream) = stream {
            stream.end.cancel();
            self.usage.set_stream(false);
        }
        // A call that waits for one holds it, and would have it opened all the same.
        for session in sessions.values() {
            session.cancel();
        }
        drop(sessions);
    }
}

/// A call under way in a session. Dropping it takes it out of the session.
#[derive(Debug)]
pub struct RunningCall {
    session: Arc<CallerSession>,
    id: Id,
    /// Cancelled when the caller cancels the request.
    pub token: CancellationToken,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.session.lock().calls.remove(&self.id);
        self.session.usage.end_call();
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn session() -> Arc<CallerSession> {
        let profile = SessionProfile {
            version: Version::LATEST_LEGACY,
            capabilities: Cow::Borrowed("{}"),
            key: None,
        };
        CallerSession::new(profile, ShareKey::Local, MemoryShare::unlimited())
    }

    #[tokio::test]
    async fn a_second_stream_takes_the_place_of_the_first() {
        let session = session();
        assert!(session.updates().is_none());
        let first = session.listen(CancellationToken::new());
        let second = session.listen(CancellationToken::new());
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        drop(first);
        assert!(
            session
                .updates()
                .is_some_and(|updates| !updates.is_closed())
        );
        assert!(*session.has_stream().borrow());
        drop(second);
        assert!(session.updates().is_none());
        assert!(session.is_idle_for(Duration::ZERO));
    }

    #[test]
    fn a_call_is_cancelled_by_its_id_while_it_is_under_way() {
        let session = session();
        let (one, two) = (Id::from(1), Id::from(2));
        let call = session.call(&one);
        assert!(!session.is_idle_for(Duration::ZERO));
        session.cancel(&two);
        assert!(!call.token.is_cancelled());
        session.cancel(&one);
        assert!(call.token.is_cancelled());
        drop(call);
        assert!(session.is_idle_for(Duration::ZERO));
    }
}
