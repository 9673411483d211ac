//! Messages for a caller that belong to no call: changes of lists, updates of what it subscribed
//! to, and in a legacy session what upstreams send outside of calls. They go on the legacy GET
//! stream or on a modern `subscriptions/listen`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caller::Caller;
use crate::catalog::{Digest, NamedResources};
use crate::guard::{Findings, RequestGuard, coverage};
use crate::json::{self, Object};
use crate::live::Live;
use crate::protocol::era::Era;
use crate::protocol::{meta, method};
use crate::relay::back::{guarded, unasked};
use crate::session::{SessionStream, UnaskedMessage};
use crate::upstream::subscriptions::{Topic, Update};

/// The least time between two looks at what has changed. The first change is told at once; what
/// follows soon is told together.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The kinds of list whose changes a caller wants to know.
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
    /// All of them: a legacy session cannot choose.
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
    era: Era,
    generations: watch::Receiver<u64>,
    /// The digests of the lists that the caller was last notified of.
    seen: [Digest; 4],
    wanted: ListKinds,
    /// When lists are compared next, at the earliest.
    next_look: Option<Instant>,
    /// The notifications that are to be sent next, by method.
    due: VecDeque<&'static str>,
    end: CancellationToken,
    /// Legacy: the session's stream.
    session: Option<SessionStream>,
    /// Modern: updates of what the caller subscribed to.
    updates: Option<mpsc::Receiver<Box<Update>>>,
    /// The message that was received and is not rendered yet.
    unrendered: Option<Unrendered>,
}

/// A message that was received and is not rendered yet.
#[derive(Debug)]
enum Unrendered {
    Message(Box<UnaskedMessage>),
    Update(Box<Update>),
}

/// The next event on a stream of changes.
#[derive(Debug)]
pub enum ChangeEvent {
    /// A list changed: the notification's method.
    Changed(&'static str),
    /// A message of an upstream, ready to be sent.
    Message(Bytes),
    /// An update of what the caller subscribed to: method and params.
    Updated(&'static str, String),
    /// Nothing for a while: the connection has to be kept alive.
    Silence,
    /// The stream is over.
    End,
}

impl Changes {
    /// Watches for a caller of an era from now on, until `end`.
    #[must_use]
    pub fn new(
        live: &Arc<Live>,
        caller: Caller,
        era: Era,
        wanted: ListKinds,
        end: CancellationToken,
    ) -> Self {
        // In this order: then every snapshot that is stored after `load` is noticed.
        let generations = live.watch();
        let seen = live.load().view(&caller).digests(era);
        Self {
            live: Arc::clone(live),
            caller,
            era,
            generations,
            seen,
            wanted,
            next_look: None,
            due: VecDeque::new(),
            end,
            session: None,
            updates: None,
            unrendered: None,
        }
    }

    /// Watches for a legacy session until its stream ends, and reads what else comes on that
    /// stream.
    #[must_use]
    pub fn of_session(live: &Arc<Live>, caller: Caller, session: SessionStream) -> Self {
        let end = session.end.clone();
        Self {
            session: Some(session),
            ..Self::new(live, caller, Era::Legacy, ListKinds::ALL, end)
        }
    }

    /// Adds updates of subscriptions, if there are any.
    #[must_use]
    pub fn with_updates(mut self, updates: Option<mpsc::Receiver<Box<Update>>>) -> Self {
        self.updates = updates;
        self
    }

    /// Waits for the next message, or for this much silence.
    pub async fn next(&mut self, silence: Duration) -> ChangeEvent {
        // Without an end if `silence` is for ever.
        let quiet_until = Instant::now().checked_add(silence);
        loop {
            if let Some(method) = self.due.pop_front() {
                return ChangeEvent::Changed(method);
            }
            if self.unrendered.is_some() {
                // In a box: thousands of idle streams would hold the room for it otherwise.
                if let Some(event) = Box::pin(self.render()).await {
                    return event;
                }
            }
            let (messages, updates) = match &mut self.session {
                Some(session) => (Some(&mut session.messages), Some(&mut session.updates)),
                None => (None, self.updates.as_mut()),
            };
            let now = Instant::now();
            let rests = self.next_look.filter(|next| *next > now);
            let alarm = quiet_until.into_iter().chain(rests).min();
            tokio::select! {
                () = self.end.cancelled() => return ChangeEvent::End,
                Some(message) = receive(messages) => {
                    self.unrendered = Some(Unrendered::Message(message));
                }
                Some(update) = receive(updates) => {
                    if self.may_hear_of(&update) {
                        self.unrendered = Some(Unrendered::Update(update));
                    }
                }
                changed = self.generations.changed(), if rests.is_none() => {
                    if changed.is_err() {
                        return ChangeEvent::End;
                    }
                    self.next_look = Some(Instant::now() + BETWEEN_LOOKS);
                    self.compare();
                }
                () = wait_until(alarm) => if alarm == quiet_until {
                    return ChangeEvent::Silence;
                },
            }
        }
    }

    /// Renders what was received; `None` if it is not for the caller. It stays in place until then,
    /// because [`Self::next`] may be dropped before.
    async fn render(&mut self) -> Option<ChangeEvent> {
        let event = match (self.unrendered.as_ref()?, &self.session) {
            (Unrendered::Message(message), Some(session)) => {
                let (live, caller) = (&self.live, &self.caller);
                let rendered = unasked::render(live, session.session(), caller, message).await;
                rendered.map(ChangeEvent::Message)
            }
            (Unrendered::Message(_), None) => None,
            (Unrendered::Update(update), _) => {
                let (method, params) = render_update(update);
                let params = self.guard_update(update, method, params).await;
                params.map(|params| ChangeEvent::Updated(method, params))
            }
        };
        self.unrendered = None;
        event
    }

    /// Applies the rules for data to an update; `None` if it may not pass, or nobody knows whose it
    /// is.
    async fn guard_update(&self, update: &Update, method: &str, params: String) -> Option<String> {
        let snapshot = self.live.load_full();
        let Some(guard) = &snapshot.guard else {
            return Some(params);
        };
        let view = snapshot.view(&self.caller);
        let upstream = match update.topic {
            Topic::Task(_) => view.task(&update.exposed, self.era)?.0,
            Topic::Resource(_) => {
                let named = || self.named_resources().find(&update.exposed, Instant::now());
                view.resource(&update.exposed, self.era, named)?
                    .upstream_index
            }
        };
        let upstream = view.upstream_id(upstream)?;
        let Some(guard) = RequestGuard::of(guard, upstream, None, &self.caller) else {
            return Some(params);
        };
        let shape = coverage::notification(method);
        let mut findings = Findings::default();
        let changed = guarded::towards_caller(&guard, shape, &params, &mut findings).await;
        let changed = changed.ok()?;
        Some(changed.map_or(params, |changed| changed.text))
    }

    /// Returns the resources that results named to the caller.
    fn named_resources(&self) -> Arc<NamedResources> {
        match &self.session {
            Some(session) => Arc::clone(session.session().named_resources()),
            None => self.live.named_resources(&self.caller),
        }
    }

    /// Returns whether the caller may still use what an update is about.
    fn may_hear_of(&self, update: &Update) -> bool {
        let uri = match update.topic {
            Topic::Resource(_) => &*update.exposed,
            Topic::Task(_) => return true,
        };
        let named = || self.named_resources().find(uri, Instant::now());
        let snapshot = self.live.load();
        snapshot.view(&self.caller).may_read(uri, self.era, named)
    }

    /// Compares the lists with those that the caller was last notified of.
    fn compare(&mut self) {
        let now = self.live.load().view(&self.caller).digests(self.era);
        let [tools, prompts, resources, templates] =
            std::array::from_fn(|at| now.get(at) != self.seen.get(at));
        self.seen = now;
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

/// Waits until a moment; for ever if there is none.
async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next item on a channel; for ever if there is no channel or no sender.
async fn receive<T>(from: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => match from.recv().await {
            Some(heard) => Some(heard),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Returns the notification of an update: its method, and its params with the name that the caller
/// knows.
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
