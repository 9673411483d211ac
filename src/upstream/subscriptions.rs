//! What callers want to be told of at one upstream beyond its lists: resources (`resources/subscribe`,
//! `resourceSubscriptions`) and tasks (`taskIds`). Counted, so that the upstream is asked once for
//! however many callers.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Most topics at one upstream.
const TOPICS: usize = 10_000;

/// Something an upstream can be asked to tell of, as the upstream names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A resource's URI.
    Resource(Arc<str>),
    /// A task's id (SEP-2663).
    Task(Arc<str>),
}

/// News of a topic. Sent in a box: a channel takes the room for 32 of what it carries, and thousands of idle streams
/// have one each.
#[derive(Clone, Debug)]
pub struct Update {
    /// What the caller who is told calls it.
    pub exposed: Arc<str>,
    /// Which kind of news.
    pub topic: Topic,
    /// The notification's params as JSON text, as the upstream wrote them.
    pub params: Arc<str>,
}

/// All subscriptions at one upstream.
#[derive(Debug)]
pub struct Subscriptions {
    inner: Mutex<Inner>,
    /// Goes up when the set of topics changes.
    version: watch::Sender<u64>,
    /// What the upstream has taken in.
    accepted: watch::Sender<AcceptedTopics>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    topics: HashMap<Topic, Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    number: u64,
    exposed: Arc<str>,
    tell: mpsc::Sender<Box<Update>>,
}

/// The topics of one moment.
#[derive(Clone, Debug, Default)]
pub struct WantedTopics {
    /// Grows with every change.
    pub version: u64,
    /// In order.
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
    /// Subscribes until the guard is dropped. News that the receiver has no room for is dropped.
    /// `None` where there are too many topics already.
    #[must_use]
    pub fn subscribe(
        self: &Arc<Self>,
        topic: Topic,
        exposed: Arc<str>,
        tell: mpsc::Sender<Box<Update>>,
    ) -> Option<Subscription> {
        let mut inner = self.inner();
        let is_new = !inner.topics.contains_key(&topic);
        if is_new && inner.topics.len() >= TOPICS {
            return None;
        }
        let number = inner.next;
        inner.next += 1;
        let subscriber = Subscriber {
            number,
            exposed,
            tell,
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
            of: Arc::clone(self),
            topic,
            number,
        })
    }

    /// What has to be asked of the upstream now.
    #[must_use]
    pub fn wanted(&self) -> WantedTopics {
        let inner = self.inner();
        WantedTopics {
            version: *self.version.borrow(),
            topics: inner.topics.keys().cloned().collect(),
        }
    }

    /// Waits until something else is wanted than in this version.
    pub async fn wait_for_change(&self, version: u64) {
        let mut versions = self.version.subscribe();
        let _ = versions.wait_for(|now| *now > version).await;
    }

    /// For whoever asks the upstream: what it said yes to.
    pub fn set_accepted(&self, version: u64, topics: BTreeSet<Topic>) {
        self.accepted.send_replace(AcceptedTopics {
            version,
            topics: Arc::new(topics),
        });
    }

    /// Whether the upstream tells of each of these topics; waits until it has been asked, at most until
    /// `deadline`.
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

    /// Tells whoever wants to know.
    pub fn publish(&self, topic: &Topic, params: &str) {
        let params: Arc<str> = params.into();
        let tell = |subscriber: &Subscriber, exposed| {
            // Full: its caller does not read; news of the same resource are waiting there already.
            let _ = subscriber.tell.try_send(Box::new(Update {
                exposed,
                topic: topic.clone(),
                params: Arc::clone(&params),
            }));
        };
        let inner = self.inner();
        for subscriber in inner.topics.get(topic).into_iter().flatten() {
            tell(subscriber, Arc::clone(&subscriber.exposed));
        }
        let Topic::Resource(uri) = topic else {
            return;
        };
        for (known, subscribers) in &inner.topics {
            if let Topic::Resource(above) = known
                && let Some(rest) = suffix_below(above, uri).filter(|rest| !rest.is_empty())
            {
                for subscriber in subscribers {
                    tell(subscriber, format!("{}{rest}", subscriber.exposed).into());
                }
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// What comes after a URI in one that is the same or below it: news of that is news of the one above
/// (`server/resources.mdx#subscriptions`). Wrapping puts something before URIs, so the rest fits exposed ones too.
#[must_use]
pub fn suffix_below<'u>(above: &str, uri: &'u str) -> Option<&'u str> {
    let rest = uri.strip_prefix(above)?;
    let is_below = rest.is_empty() || above.ends_with('/') || rest.starts_with(['/', '?', '#']);
    is_below.then_some(rest)
}

/// One subscriber's interest in one topic; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    of: Arc<Subscriptions>,
    topic: Topic,
    number: u64,
}

impl Subscription {
    /// Tells another receiver from now on.
    pub fn redirect(&self, exposed: Arc<str>, tell: mpsc::Sender<Box<Update>>) {
        let mut inner = self.of.inner();
        let subscribers = inner.topics.get_mut(&self.topic);
        for subscriber in subscribers.into_iter().flatten() {
            if subscriber.number == self.number {
                subscriber.exposed = Arc::clone(&exposed);
                subscriber.tell = tell.clone();
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.of.inner();
        let Some(subscribers) = inner.topics.get_mut(&self.topic) else {
            return;
        };
        subscribers.retain(|subscriber| subscriber.number != self.number);
        if subscribers.is_empty() {
            inner.topics.remove(&self.topic);
            self.of.version.send_modify(|version| *version += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(uri: &str) -> Topic {
        Topic::Resource(uri.into())
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
        all.publish(&resource("a"), "{}");
        all.publish(&resource("b"), "{}");
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
        all.publish(&resource("file:///dirt"), "{}");
        assert!(told.try_recv().is_err());
        all.publish(&resource("file:///dir/x"), "{}");
        for _ in &inner {
            assert_eq!(&*told.try_recv().unwrap().exposed, "b+file:///dir/x");
        }
        all.publish(&resource("file:///dir?q"), "{}");
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
