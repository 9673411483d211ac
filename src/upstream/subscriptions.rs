//! The subscriptions of callers at one upstream, beyond its lists: to resources
//! (`resources/subscribe`, `resourceSubscriptions`) and to tasks (`taskIds`). The upstream is asked
//! once for each topic, however many callers subscribe to it.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::memory::{MemoryShare, OverBudget, Reservation};

/// The most topics at one upstream.
const MOST_TOPICS: usize = 10_000;

/// Something that an upstream can announce updates of, as the upstream names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A resource's URI.
    Resource(Arc<str>),
    /// A task's id (SEP-2663).
    Task(Arc<str>),
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
    /// What they take of `limits.memory`, however many callers they wait for.
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
    topics: HashMap<Topic, Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
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
    /// are dropped. Returns `None` if there are too many topics already.
    #[must_use]
    pub fn subscribe(
        self: &Arc<Self>,
        topic: Topic,
        exposed: Arc<str>,
        updates: mpsc::Sender<Box<Update>>,
    ) -> Option<Subscription> {
        let mut inner = self.inner();
        let is_new = !inner.topics.contains_key(&topic);
        if is_new && inner.topics.len() >= MOST_TOPICS {
            return None;
        }
        let id = inner.next_id;
        inner.next_id += 1;
        let subscriber = Subscriber {
            id,
            exposed,
            updates,
        };
        inner
            .topics
            .entry(topic.clone())
            .or_default()
            .push(subscriber);
        if is_new {
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
            topics: inner.topics.keys().cloned().collect(),
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
        for subscriber in inner.topics.get(topic).into_iter().flatten() {
            send(subscriber, Arc::clone(&subscriber.exposed));
        }
        let Topic::Resource(uri) = topic else {
            return Ok(());
        };
        for (known, subscribers) in &inner.topics {
            if let Topic::Resource(above) = known
                && let Some(rest) = suffix_below(above, uri).filter(|rest| !rest.is_empty())
            {
                for subscriber in subscribers {
                    send(subscriber, format!("{}{rest}", subscriber.exposed).into());
                }
            }
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
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
        let subscribers = inner.topics.get_mut(&self.topic);
        for subscriber in subscribers.into_iter().flatten() {
            if subscriber.id == self.id {
                subscriber.exposed = Arc::clone(&exposed);
                subscriber.updates = updates.clone();
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.all.inner();
        let Some(subscribers) = inner.topics.get_mut(&self.topic) else {
            return;
        };
        subscribers.retain(|subscriber| subscriber.id != self.id);
        if subscribers.is_empty() {
            inner.topics.remove(&self.topic);
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
            all.subscribe(resource("a"), "x+a".into(), tell.clone())
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
            all.subscribe(resource(uri), exposed, tell.clone())
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

    #[tokio::test]
    async fn what_the_upstream_does_not_honour_is_known_once_it_was_asked() {
        let all = Arc::new(Subscriptions::default());
        let (tell, _told) = mpsc::channel(1);
        let _kept = ["a", "b"].map(|uri| all.subscribe(resource(uri), uri.into(), tell.clone()));
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        let asked = [resource("a"), resource("b")];
        let (accepted, ()) = tokio::join!(all.wait_until_accepted(&asked, soon), async {
            all.set_accepted(2, BTreeSet::from([resource("b")]));
        });
        assert_eq!(accepted, [false, true]);
    }
}
