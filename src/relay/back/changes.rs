//! Messages for a caller that belong to no call: changed lists, news of what it subscribed to, and in a legacy session what
//! its upstream sessions send. They go on the legacy GET stream or on a modern `subscriptions/listen`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::caller::Caller;
use crate::catalog::Digest;
use crate::json::{self, Object};
use crate::live::Live;
use crate::protocol::{meta, method};
use crate::relay::back::{KEEP_ALIVE, unasked};
use crate::session::SessionStream;
use crate::upstream::subscriptions::{Topic, Update};

/// The kinds of list whose changes a caller is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListKinds {
    /// Tools.
    pub tools: bool,
    /// Prompts.
    pub prompts: bool,
    /// Resources and resource templates.
    pub resources: bool,
}

impl ListKinds {
    /// All of them: a legacy session is told of all.
    pub const ALL: Self = Self {
        tools: true,
        prompts: true,
        resources: true,
    };
}

/// The messages for a caller that belong to no call, one after the other.
#[derive(Debug)]
pub struct Changes {
    live: Arc<Live>,
    caller: Caller,
    generations: watch::Receiver<u64>,
    told: [Digest; 4],
    wanted: ListKinds,
    due: VecDeque<&'static str>,
    end: CancellationToken,
    /// Legacy: the session's stream.
    session: Option<SessionStream>,
    /// Modern: news of what it subscribed to.
    updates: Option<mpsc::Receiver<Box<Update>>>,
}

/// The next thing to happen for a caller outside of its calls.
#[derive(Debug)]
pub enum ChangeEvent {
    /// A list changed: the notification's method.
    Changed(&'static str),
    /// A message of an upstream, ready to be sent.
    Message(Bytes),
    /// News of something subscribed to: method and params.
    Updated(&'static str, String),
    /// Nothing for a while: the connection has to be kept alive.
    Silence,
    /// The stream is over.
    End,
}

impl Changes {
    /// Watches for a caller from now on, until `end`.
    #[must_use]
    pub fn new(
        live: &Arc<Live>,
        caller: Caller,
        wanted: ListKinds,
        end: CancellationToken,
    ) -> Self {
        let generations = live.watch();
        let told = live.load().view(&caller).digests();
        Self {
            live: Arc::clone(live),
            caller,
            generations,
            told,
            wanted,
            due: VecDeque::new(),
            end,
            session: None,
            updates: None,
        }
    }

    /// Watches for a legacy session until its stream ends, and reads what else comes on that stream.
    #[must_use]
    pub fn of_session(live: &Arc<Live>, caller: Caller, session: SessionStream) -> Self {
        let end = session.end.clone();
        Self {
            session: Some(session),
            ..Self::new(live, caller, ListKinds::ALL, end)
        }
    }

    /// The same with news of subscriptions, if there are any.
    #[must_use]
    pub fn with_updates(mut self, updates: Option<mpsc::Receiver<Box<Update>>>) -> Self {
        self.updates = updates;
        self
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> ChangeEvent {
        loop {
            if let Some(method) = self.due.pop_front() {
                return ChangeEvent::Changed(method);
            }
            let (messages, updates) = match &mut self.session {
                Some(session) => (Some(&mut session.messages), Some(&mut session.updates)),
                None => (None, self.updates.as_mut()),
            };
            let message = tokio::select! {
                () = self.end.cancelled() => return ChangeEvent::End,
                Some(message) = receive(messages) => message,
                Some(update) = receive(updates) => {
                    let (method, params) = render_update(&update);
                    return ChangeEvent::Updated(method, params);
                }
                changed = self.generations.changed() => {
                    if changed.is_err() {
                        return ChangeEvent::End;
                    }
                    self.compare();
                    continue;
                }
                () = tokio::time::sleep(KEEP_ALIVE) => return ChangeEvent::Silence,
            };
            if let Some(session) = &self.session
                && let Some(message) = unasked::render(session.session(), &message).await
            {
                return ChangeEvent::Message(message);
            }
        }
    }

    fn compare(&mut self) {
        let now = self.live.load().view(&self.caller).digests();
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

/// Waits for the next thing on a channel; for ever where there is none.
async fn receive<T>(from: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => match from.recv().await {
            Some(heard) => Some(heard),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Returns the notification of an update: its method, and its params with the name that the caller knows.
fn render_update(update: &Update) -> (&'static str, String) {
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
