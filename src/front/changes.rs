//! Streams that tell callers when lists change: the legacy GET stream and modern `subscriptions/listen`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Digest, Kind};
use crate::json::{self, Object};
use crate::live::Live;
use crate::protocol::{meta, method, sse};
use crate::relay::Listening;
use crate::upstream::subscriptions::{Topic, Update};

/// The three kinds of change a caller can be told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    pub(super) resources: bool,
}

impl Wanted {
    /// All of them: what a legacy session is told.
    pub(super) const ALL: Self = Self {
        tools: true,
        prompts: true,
        resources: true,
    };
}

/// Which lists differ from what this caller was last told.
pub(super) struct Changes {
    live: Arc<Live>,
    generations: watch::Receiver<u64>,
    told: [Digest; 4],
    wanted: Wanted,
    due: VecDeque<&'static str>,
    end: CancellationToken,
    /// Legacy: what else the caller is told.
    listening: Option<Listening>,
    /// Modern: news of what it subscribed to.
    updates: Option<mpsc::Receiver<Box<Update>>>,
}

/// What happens next on a stream of changes.
pub(super) enum Next {
    /// A list changed: the notification's method.
    Changed(&'static str),
    /// A message as it is.
    Told(Bytes),
    /// News of something subscribed to: method and params.
    Updated(&'static str, String),
    /// Nothing for a while: keep the connection alive.
    Silence,
    /// The stream is over.
    End,
}

impl Changes {
    /// Watches from now on, until `end`.
    pub(super) fn new(live: &Arc<Live>, wanted: Wanted, end: CancellationToken) -> Self {
        let generations = live.watch();
        let told = digests(live);
        Self {
            live: Arc::clone(live),
            generations,
            told,
            wanted,
            due: VecDeque::new(),
            end,
            listening: None,
            updates: None,
        }
    }

    /// The same for a legacy session, with whatever else there is to tell.
    pub(super) fn of_session(live: &Arc<Live>, listening: Listening) -> Self {
        Self {
            listening: Some(listening),
            ..Self::new(live, Wanted::ALL, CancellationToken::new())
        }
    }

    /// With news of subscriptions, if there are any.
    pub(super) fn with_updates(mut self, updates: Option<mpsc::Receiver<Box<Update>>>) -> Self {
        self.updates = updates;
        self
    }

    pub(super) async fn next(&mut self) -> Next {
        loop {
            if let Some(method) = self.due.pop_front() {
                return Next::Changed(method);
            }
            let listening = self.listening.as_ref();
            let end = listening.map_or_else(|| self.end.clone(), |own| own.end.clone());
            let (told, updates) = match &mut self.listening {
                Some(listening) => (Some(&mut listening.told), Some(&mut listening.updates)),
                None => (None, self.updates.as_mut()),
            };
            tokio::select! {
                () = end.cancelled() => return Next::End,
                Some(message) = heard(told) => return Next::Told(message),
                Some(update) = heard(updates) => {
                    let (method, params) = in_words_of_caller(&update);
                    return Next::Updated(method, params);
                }
                changed = self.generations.changed() => {
                    if changed.is_err() {
                        return Next::End;
                    }
                    self.compare();
                }
                () = tokio::time::sleep(super::answer::KEEP_ALIVE) => return Next::Silence,
            }
        }
    }

    fn compare(&mut self) {
        let now = digests(&self.live);
        let [tools, prompts, resources, templates] =
            std::array::from_fn(|at| now.get(at) != self.told.get(at));
        self.told = now;
        if tools && self.wanted.tools {
            self.due.push_back(method::TOOLS_CHANGED);
        }
        if prompts && self.wanted.prompts {
            self.due.push_back(method::PROMPTS_CHANGED);
        }
        if (resources || templates) && self.wanted.resources {
            self.due.push_back(method::RESOURCES_CHANGED);
        }
    }
}

async fn heard<T>(from: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => match from.recv().await {
            Some(heard) => Some(heard),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The notification that tells of an update: its method, and its params with the name that the caller knows.
fn in_words_of_caller(update: &Update) -> (&'static str, String) {
    let (method, member) = match update.topic {
        Topic::Resource(_) => (method::RESOURCE_UPDATED, "uri"),
        Topic::Task(_) => (method::TASK_STATUS, "taskId"),
    };
    let mut params = Object::parse(&update.params).unwrap_or_default();
    params.set(member, json::quote(&update.exposed));
    let own = params.borrowed("_meta").map(Object::parse);
    if let Some(Ok(mut own)) = own
        && own.remove(meta::SUBSCRIPTION_ID)
    {
        // It names weir's own stream at the upstream.
        if own.is_empty() {
            params.remove("_meta");
        } else {
            params.set("_meta", own.to_text());
        }
    }
    (method, params.to_text())
}

fn digests(live: &Live) -> [Digest; 4] {
    let snapshot = live.load();
    Kind::ALL.map(|kind| snapshot.catalog.digest_of(kind))
}

/// The bytes of a stream of changes: what begins it, each change as `render` writes it (method, params), what ends it.
pub(super) fn body(
    first: Bytes,
    changes: Changes,
    render: impl Fn(&'static str, Option<&str>) -> Bytes + Send + 'static,
    last: Option<Bytes>,
    kept: impl Send + 'static,
) -> axum::body::Body {
    let state = (Some(first), Some(changes), last, render, kept);
    let stream =
        futures::stream::unfold(state, |(first, changes, last, render, kept)| async move {
            let ok = Ok::<_, std::convert::Infallible>;
            if let Some(first) = first {
                return Some((ok(first), (None, changes, last, render, kept)));
            }
            let mut changes = changes?;
            let bytes = match changes.next().await {
                Next::Changed(method) => render(method, None),
                Next::Updated(method, params) => render(method, Some(&params)),
                Next::Told(message) => sse::event(&message),
                Next::Silence => sse::KEEP_ALIVE,
                Next::End => {
                    return last.map(|last| (ok(last), (None, None, None, render, kept)));
                }
            };
            Some((ok(bytes), (None, Some(changes), last, render, kept)))
        });
    axum::body::Body::from_stream(stream)
}
