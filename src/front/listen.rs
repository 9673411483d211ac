//! `subscriptions/listen` (2026-07-28 `basic/patterns/subscriptions.mdx`): lists that change, resources and tasks that are
//! followed.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::front::answer;
use crate::front::changes::{self, Changes, Wanted};
use crate::front::http::Front;
use crate::json::{self, Object};
use crate::live::{Live, Snapshot};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::{meta, method, sse};
use crate::relay::tasks;
use crate::upstream::Link;
use crate::upstream::subscriptions::{Subscription, Topic, Update};

/// News that wait for a slow reader; what comes beyond is dropped.
const UPDATES: usize = 256;
/// Most topics of one stream.
const TOPICS: usize = 1_000;
/// How long the acknowledgement waits for upstreams to say what they honour.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What a `subscriptions/listen` asks for.
pub(super) struct Asked {
    pub(super) lists: Wanted,
    resources: Vec<Arc<str>>,
    tasks: Vec<Arc<str>>,
}

/// A subscription that is acknowledged.
pub(super) struct Followed {
    own: String,
    id: message::Id,
    lists: Wanted,
    resources: Vec<Arc<str>>,
    tasks: Vec<Arc<str>>,
    kept: Vec<Subscription>,
}

/// Reads what is asked for.
///
/// # Errors
/// -32602 without `params.notifications`, and for too many topics.
pub(super) fn asked(request: &Request<'_>) -> Result<Asked, Fault> {
    let asked = request.params.get("notifications");
    let asked = asked.and_then(|text| Object::parse(text).ok());
    let asked = asked.ok_or_else(|| Fault::Params("`notifications` must be an object".into()))?;
    let yes = |key| asked.get(key) == Some("true");
    let names = |key| -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in json::strings(asked.get(key)) {
            if !names.iter().any(|known| **known == *name) {
                names.push(name.as_ref().into());
            }
        }
        names
    };
    let (resources, tasks) = (names("resourceSubscriptions"), names("taskIds"));
    if resources.len() + tasks.len() > TOPICS {
        return Err(Fault::Params("too many subscriptions in one stream".into()));
    }
    Ok(Asked {
        lists: Wanted {
            tools: yes("toolsListChanged"),
            prompts: yes("promptsListChanged"),
            resources: yes("resourcesListChanged"),
        },
        resources,
        tasks,
    })
}

/// Subscribes at the upstreams, and finds out what they honour. There is no news where nothing is subscribed to.
pub(super) async fn follow(
    live: &Live,
    request: &Request<'_>,
    asked: Asked,
) -> (Followed, Option<mpsc::Receiver<Box<Update>>>) {
    let (tell, updates) = mpsc::channel(UPDATES);
    let snapshot = live.load_full();
    let resources = asked.resources.into_iter().filter_map(|exposed| {
        let (link, topic) = resource(&snapshot, &exposed)?;
        Some((exposed, link, topic))
    });
    let tasks = asked.tasks.into_iter().filter_map(|exposed| {
        let (_, link, id) = tasks::find(&snapshot, &exposed)?;
        let topic = Topic::Task(id.into());
        Some((Arc::clone(&exposed), link, topic))
    });
    let subscribed = resources.chain(tasks).filter_map(|(exposed, link, topic)| {
        let all = &link.subscriptions;
        let kept = all.subscribe(topic.clone(), Arc::clone(&exposed), tell.clone())?;
        Some((exposed, link, topic, kept))
    });
    let subscribed: Vec<_> = subscribed.collect();
    let deadline = Instant::now() + PATIENCE;
    let honoured = subscribed.iter().map(|(_, link, topic, _)| async move {
        let honoured = link
            .subscriptions
            .wait_until_accepted(std::slice::from_ref(topic), deadline)
            .await;
        honoured == [true]
    });
    let honoured = join_all(honoured).await;
    let mut followed = Followed::new(request, asked.lists);
    for ((exposed, _, topic, kept), honoured) in subscribed.into_iter().zip(honoured) {
        if honoured {
            followed.kept.push(kept);
            match topic {
                Topic::Resource(_) => followed.resources.push(exposed),
                Topic::Task(_) => followed.tasks.push(exposed),
            }
        }
    }
    // Most streams follow lists only: thousands of them, for which a channel would be a fifth of their memory.
    let updates = (!followed.kept.is_empty()).then_some(updates);
    (followed, updates)
}

fn resource<'s>(snapshot: &'s Snapshot, exposed: &str) -> Option<(&'s Arc<Link>, Topic)> {
    let route = snapshot.catalog.resource(exposed)?;
    let link = snapshot.links.get(route.upstream_index.get())?;
    Some((link, Topic::Resource(route.uri)))
}

impl Followed {
    fn new(request: &Request<'_>, lists: Wanted) -> Self {
        let own = format!("{{\"{}\":{}}}", meta::SUBSCRIPTION_ID, request.id.as_json());
        Self {
            own,
            id: request.id.clone(),
            lists,
            resources: Vec::new(),
            tasks: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The first message: what is honoured.
    pub(super) fn acknowledged(&self) -> Bytes {
        let lists = [
            (self.lists.tools, "\"toolsListChanged\":true"),
            (self.lists.prompts, "\"promptsListChanged\":true"),
            (self.lists.resources, "\"resourcesListChanged\":true"),
        ];
        let lists = lists.into_iter().filter(|(wanted, _)| *wanted);
        let mut honoured: Vec<String> = lists.map(|(_, text)| text.to_owned()).collect();
        for (key, names) in [
            ("resourceSubscriptions", &self.resources),
            ("taskIds", &self.tasks),
        ] {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().map(|name| json::quote(name)).collect();
                honoured.push(format!("\"{key}\":[{}]", names.join(",")));
            }
        }
        let params = format!(
            "{{\"notifications\":{{{}}},\"_meta\":{}}}",
            honoured.join(","),
            self.own
        );
        message::notification(method::LISTEN_ACKNOWLEDGED, Some(&params))
    }

    /// Something changed.
    pub(super) fn changed(&self, method: &str, params: Option<&str>) -> Bytes {
        let mut params = params
            .and_then(|params| Object::parse(params).ok())
            .unwrap_or_default();
        let own = params.borrowed("_meta").map(Object::parse);
        let own = match own {
            Some(Ok(mut own)) => {
                own.set(meta::SUBSCRIPTION_ID, self.id.as_json());
                own.to_text()
            }
            Some(Err(_)) | None => self.own.clone(),
        };
        params.set("_meta", own);
        message::notification(method, Some(&params.to_text()))
    }

    /// The last message.
    pub(super) fn ended(&self) -> Bytes {
        let result = format!("{{\"resultType\":\"complete\",\"_meta\":{}}}", self.own);
        message::result(&self.id, &result)
    }
}

/// The HTTP answer: a stream for as long as the caller keeps it open.
pub(super) async fn listen(front: &Arc<Front>, request: &Request<'_>) -> Result<Response, Fault> {
    let asked = asked(request)?;
    // Watching begins before the acknowledgement, or a change in between would be lost.
    let changes = Changes::new(&front.live, asked.lists, front.shutdown.child_token());
    let (followed, updates) = follow(&front.live, request, asked).await;
    let changes = changes.with_updates(updates);
    let counted = front.metrics.listen_streams.hold();
    let first = sse::event(&followed.acknowledged());
    let last = sse::event(&followed.ended());
    let render = move |method: &'static str, params: Option<&str>| {
        sse::event(&followed.changed(method, params))
    };
    let body = changes::body(first, changes, render, Some(last), counted);
    Ok(answer::events(body))
}
