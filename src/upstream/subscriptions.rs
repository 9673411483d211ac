//! The subscriptions of callers at one upstream, beyond its lists: to resources
//! (`resources/subscribe`, `resourceSubscriptions`) and to tasks (`taskIds`). The upstream is asked
//! once for each topic, however many callers subscribe to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::caller::ShareKey;
use crate::memory::{MemoryShare, OverBudget, Reservation};

/// The most topics at one upstream. One caller may add as many as are free: half of all if it is
/// alone. So there is always room for others.
const MOST_TOPICS: usize = 20_000;
/// The most bytes of their names, shared out likewise: all of them are sent when one is added.
const TOPIC_BYTES: usize = 2 * 1024 * 1024;

/// Something that an upstream can announce updates of, as the upstream names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A resource's URI.
    Resource(Arc<str>),
    /// A task's id (SEP-2663).
    Task(Arc<str>),
}

impl Topic {
    const fn name(&self) -> &Arc<str> {
        match self {
            Self::Resource(name) | Self::Task(name) => name,
        }
    }
}

/// An update of a topic. Sent in a box: a channel allocates room for 32 values at once, and
/// thousands of idle streams have a channel each.
#[derive(Clone, Debug)]
pub struct Update {
    /// The name of the topic that the receiving caller knows.
    pub exposed: Arc<str>,
    /// The topic.
    pub topic: Topic,
    /// The notification's params.
    pub params: Arc<UpdateParams>,
}

/// The params of an update as JSON text, as the upstream wrote them.
#[derive(Debug)]
pub struct UpdateParams {
    text: Box<str>,
    /// The part of `limits.memory` that they take, however many callers they wait for.
    _kept: Reservation,
}

impl Deref for UpdateParams {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// All subscriptions at one upstream.
#[derive(Debug)]
pub struct Subscriptions {
    inner: Mutex<Inner>,
    /// Incremented when the set of topics changes.
    version: watch::Sender<u64>,
    /// The topics that the upstream accepted last.
    accepted: watch::Sender<AcceptedTopics>,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    resources: HashMap<Arc<str>, Subscribers>,
    tasks: HashMap<Arc<str>, Subscribers>,
    /// The topics that each caller added.
    added: HashMap<ShareKey, TopicCount>,
    all: TopicCount,
}

/// A number of topics, and the bytes of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TopicCount {
    topics: usize,
    bytes: usize,
}

impl TopicCount {
    fn add(&mut self, name: &str) {
        self.topics += 1;
        self.bytes += name.len();
    }

    fn remove(&mut self, name: &str) {
        self.topics = self.topics.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(name.len());
    }
}

/// The subscribers of one topic.
#[derive(Debug)]
struct Subscribers {
    /// The caller that added the topic. It counts for it as long as anybody subscribes to it.
    added_by: ShareKey,
    /// By number, in the order in which they came.
    by_id: BTreeMap<u64, Subscriber>,
}

impl Inner {
    const fn of(&mut self, topic: &Topic) -> &mut HashMap<Arc<str>, Subscribers> {
        match topic {
            Topic::Resource(_) => &mut self.resources,
            Topic::Task(_) => &mut self.tasks,
        }
    }

    /// Returns whether a caller may add a topic.
    fn has_room(&self, name: &str, share: ShareKey) -> bool {
        let own = self.added.get(&share).copied().unwrap_or_default();
        own.topics < MOST_TOPICS.saturating_sub(self.all.topics)
            && own.bytes + name.len() <= TOPIC_BYTES.saturating_sub(self.all.bytes)
    }

    fn add_topic(&mut self, name: &str, share: ShareKey) {
        self.all.add(name);
        self.added.entry(share).or_default().add(name);
    }

    fn remove_topic(&mut self, name: &str, share: ShareKey) {
        self.all.remove(name);
        if let Some(own) = self.added.get_mut(&share) {
            own.remove(name);
            if own.topics == 0 {
                self.added.remove(&share);
            }
        }
    }
}

#[derive(Debug)]
struct Subscriber {
    exposed: Arc<str>,
    updates: mpsc::Sender<Box<Update>>,
}

/// The topics of one moment.
#[derive(Clone, Debug, Default)]
pub struct WantedTopics {
    /// Grows with every change of the set.
    pub version: u64,
    /// The topics that callers want.
    pub topics: BTreeSet<Topic>,
}

#[derive(Clone, Debug, Default)]
struct AcceptedTopics {
    version: u64,
    topics: Arc<BTreeSet<Topic>>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            version: watch::Sender::new(0),
            accepted: watch::Sender::new(AcceptedTopics::default()),
        }
    }
}

impl Subscriptions {
    /// Subscribes until the returned guard is dropped. Updates that the receiver has no room for
    /// are dropped. Returns `None` if there are too many topics already, or too many of this caller,
    /// or their names are too long together.
    #[must_use]
    pub fn subscribe(
        self: &Arc<Self>,
        topic: Topic,
        exposed: Arc<str>,
        updates: mpsc::Sender<Box<Update>>,
        share: ShareKey,
    ) -> Option<Subscription> {
        let mut inner = self.inner();
        let name = topic.name();
        let is_new = !inner.of(&topic).contains_key(name);
        if is_new && !inner.has_room(name, share) {
            return None;
        }
        let id = inner.next_id;
        inner.next_id += 1;
        let subscriber = Subscriber { exposed, updates };
        let topics = inner.of(&topic).entry(Arc::clone(name));
        let subscribers = topics.or_insert_with(|| Subscribers {
            added_by: share,
            by_id: BTreeMap::new(),
        });
        subscribers.by_id.insert(id, subscriber);
        if is_new {
            inner.add_topic(name, share);
            self.version.send_modify(|version| *version += 1);
        }
        Some(Subscription {
            all: Arc::clone(self),
            topic,
            id,
        })
    }

    /// Returns the topics that the upstream has to be asked for now.
    #[must_use]
    pub fn wanted(&self) -> WantedTopics {
        let inner = self.inner();
        WantedTopics {
            version: *self.version.borrow(),
            topics: {
                let resources = inner.resources.keys().cloned().map(Topic::Resource);
                resources
                    .chain(inner.tasks.keys().cloned().map(Topic::Task))
                    .collect()
            },
        }
    }

    /// Waits until other topics are wanted than in this version.
    pub async fn wait_for_change(&self, version: u64) {
        let mut versions = self.version.subscribe();
        let _ = versions.wait_for(|now| *now > version).await;
    }

    /// Sets the topics of a version that the upstream accepted.
    pub fn set_accepted(&self, version: u64, topics: BTreeSet<Topic>) {
        self.accepted.send_replace(AcceptedTopics {
            version,
            topics: Arc::new(topics),
        });
    }

    /// Waits until the upstream has been asked for these topics, at most until `deadline`. Returns
    /// for each whether the upstream accepted it.
    pub async fn wait_until_accepted(&self, topics: &[Topic], deadline: Instant) -> Vec<bool> {
        let version = *self.version.borrow();
        let mut accepted = self.accepted.subscribe();
        let settled = accepted.wait_for(|accepted| {
            accepted.version >= version
                || topics.iter().all(|topic| accepted.topics.contains(topic))
        });
        let accepted = match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(accepted)) => Arc::clone(&accepted.topics),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        topics
            .iter()
            .map(|topic| accepted.contains(topic))
            .collect()
    }

    /// Sends an update to all subscribers of the topic, and of resources above it. `memory` pays for
    /// it while it waits for them.
    ///
    /// # Errors
    /// There is no memory left for it: it is dropped.
    pub fn publish(
        &self,
        topic: &Topic,
        params: &str,
        memory: &MemoryShare,
    ) -> Result<(), OverBudget> {
        let params = Arc::new(UpdateParams {
            _kept: memory.reserve(params.len())?,
            text: params.into(),
        });
        let send = |subscriber: &Subscriber, exposed| {
            // Full: the caller does not read, and updates wait for it already.
            let _ = subscriber.updates.try_send(Box::new(Update {
                exposed,
                topic: topic.clone(),
                params: Arc::clone(&params),
            }));
        };
        let inner = self.inner();
        let uri = match topic {
            Topic::Task(id) => {
                let subscribers = inner.tasks.get(id).into_iter();
                for subscriber in subscribers.flat_map(|all| all.by_id.values()) {
                    send(subscriber, Arc::clone(&subscriber.exposed));
                }
                return Ok(());
            }
            Topic::Resource(uri) => uri,
        };
        for end in ends_above(uri) {
            let (above, rest) = uri.split_at_checked(end).unwrap_or((uri, ""));
            for subscriber in inner
                .resources
                .get(above)
                .into_iter()
                .flat_map(|all| all.by_id.values())
            {
                let exposed = match rest {
                    "" => Arc::clone(&subscriber.exposed),
                    rest => format!("{}{rest}", subscriber.exposed).into(),
                };
                send(subscriber, exposed);
            }
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// Returns where the URIs end that a URI is the same as or [below](suffix_below): the whole one
/// first, then upwards. So an update costs what its URI weighs, however many topics there are.
fn ends_above(uri: &str) -> impl Iterator<Item = usize> {
    let parts = uri.char_indices().rev().filter_map(|(at, c)| match c {
        '/' => Some([at + 1, at]),
        '?' | '#' => Some([at, at]),
        _ => None,
    });
    let ends = parts.flatten().filter(|end| *end < uri.len());
    let mut last = uri.len();
    let ends = ends.filter(move |end| std::mem::replace(&mut last, *end) != *end);
    std::iter::once(uri.len()).chain(ends)
}

/// Returns what follows `above` in a URI that is the same or below it. An update of a resource is
/// an update of the ones above it (`server/resources.mdx#subscriptions`). Exposed URIs only have a
/// prefix, so the rest can be appended to those too.
#[must_use]
pub fn suffix_below<'u>(above: &str, uri: &'u str) -> Option<&'u str> {
    let rest = uri.strip_prefix(above)?;
    let is_below = rest.is_empty() || above.ends_with('/') || rest.starts_with(['/', '?', '#']);
    is_below.then_some(rest)
}

/// A subscription to one topic. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    all: Arc<Subscriptions>,
    topic: Topic,
    id: u64,
}

impl Subscription {
    /// Sends the updates to another receiver from now on.
    pub fn redirect(&self, exposed: Arc<str>, updates: mpsc::Sender<Box<Update>>) {
        let mut inner = self.all.inner();
        let subscribers = inner.of(&self.topic).get_mut(self.topic.name());
        if let Some(subscriber) = subscribers.and_then(|all| all.by_id.get_mut(&self.id)) {
            *subscriber = Subscriber { exposed, updates };
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.all.inner();
        let name = self.topic.name();
        let topics = inner.of(&self.topic);
        let Some(subscribers) = topics.get_mut(name) else {
            return;
        };
        subscribers.by_id.remove(&self.id);
        if subscribers.by_id.is_empty() {
            let added_by = subscribers.added_by;
            topics.remove(name);
            inner.remove_topic(name, added_by);
            self.all.version.send_modify(|version| *version += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(uri: &str) -> Topic {
        Topic::Resource(uri.into())
    }

    fn publish(all: &Subscriptions, topic: &Topic) {
        all.publish(topic, "{}", &MemoryShare::unlimited()).unwrap();
    }

    #[tokio::test]
    async fn the_upstream_is_asked_once_for_many_and_no_more_when_the_last_leaves() {
        let all = Arc::new(Subscriptions::default());
        let (tell, mut told) = mpsc::channel(4);
        let subscribe = || {
            all.subscribe(resource("a"), "x+a".into(), tell.clone(), ShareKey::Local)
                .unwrap()
        };
        let (first, second) = (subscribe(), subscribe());
        let wanted = all.wanted();
        assert_eq!((wanted.version, wanted.topics.len()), (1, 1));
        publish(&all, &resource("a"));
        publish(&all, &resource("b"));
        assert_eq!(&*told.recv().await.unwrap().exposed, "x+a");
        assert_eq!(&*told.recv().await.unwrap().exposed, "x+a");
        assert!(told.try_recv().is_err());
        drop(first);
        assert_eq!(all.wanted().version, 1);
        drop(second);
        all.wait_for_change(1).await;
        assert!(all.wanted().topics.is_empty());
    }

    #[test]
    fn news_from_below_are_news_from_above() {
        let all = Arc::new(Subscriptions::default());
        let (tell, mut told) = mpsc::channel(4);
        let inner = ["file:///dir", "file:///dir/x"].map(|uri| {
            let exposed = format!("b+{uri}").into();
            all.subscribe(resource(uri), exposed, tell.clone(), ShareKey::Local)
        });
        publish(&all, &resource("file:///dirt"));
        assert!(told.try_recv().is_err());
        publish(&all, &resource("file:///dir/x"));
        for _ in &inner {
            assert_eq!(&*told.try_recv().unwrap().exposed, "b+file:///dir/x");
        }
        publish(&all, &resource("file:///dir?q"));
        assert_eq!(&*told.try_recv().unwrap().exposed, "b+file:///dir?q");
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn an_update_is_looked_up_at_every_end_that_a_uri_above_it_can_have() {
        for uri in ["", "a", "a:/", "a://b//c/", "a:/b?c/d#e?", "?", "é/é"] {
            let mut above = uri.char_indices().map(|(at, _)| at).chain([uri.len()]);
            let mut ends: Vec<_> = ends_above(uri).collect();
            ends.sort_unstable();
            ends.dedup();
            let is_above = |end: &usize| suffix_below(&uri[..*end], uri).is_some();
            for end in above.by_ref().filter(is_above) {
                assert!(ends.contains(&end), "{uri} {end}");
            }
            assert!(ends.iter().all(is_above), "{uri} {ends:?}");
            assert_eq!(
                ends.len(),
                ends_above(uri).count(),
                "{uri}: none comes twice"
            );
        }
    }

    #[test]
    fn topics_are_bounded_by_their_bytes_and_one_caller_leaves_room_for_others() {
        let all = Arc::new(Subscriptions::default());
        let (tell, _told) = mpsc::channel(1);
        let other = ShareKey::of(Some(std::net::Ipv4Addr::LOCALHOST.into()));
        let subscribe = |number: usize, share: ShareKey| {
            let topic = resource(&format!("{number:>8192}"));
            all.subscribe(topic, "x".into(), tell.clone(), share)
        };
        let own = |number| subscribe(number, ShareKey::Local);
        let mut held: Vec<_> = (0..TOPIC_BYTES / 8192 / 2).map(own).collect();
        assert!(held.iter().all(Option::is_some) && own(1_000).is_none());
        assert!(own(0).is_some(), "it is there already");
        assert!(subscribe(1_000, other).is_some(), "of another caller");
        held.pop();
        assert!(own(1_000).is_some());
        held.clear();
        assert!(all.inner().added.is_empty());
        assert_eq!(all.inner().all, TopicCount::default());
    }

    #[tokio::test]
    async fn what_the_upstream_does_not_honour_is_known_once_it_was_asked() {
        let all = Arc::new(Subscriptions::default());
        let (tell, _told) = mpsc::channel(1);
        let _kept = ["a", "b"]
            .map(|uri| all.subscribe(resource(uri), uri.into(), tell.clone(), ShareKey::Local));
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        let asked = [resource("a"), resource("b")];
        let (accepted, ()) = tokio::join!(all.wait_until_accepted(&asked, soon), async {
            all.set_accepted(2, BTreeSet::from([resource("b")]));
        });
        assert_eq!(accepted, [false, true]);
    }
}
