//! `subscriptions/listen` (2026-07-28 `basic/patterns/subscriptions.mdx`): a modern caller
//! subscribes to changes of lists, resources and tasks.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures::future::join_all;
use indexmap::IndexSet;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::json::{self, Object};
use crate::policy::Permit;
use crate::protocol::bounds::{self, EXPOSED_URI_BYTES, TASK_ID_BYTES};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::{meta, method};
use crate::relay::back::{Changes, ListKinds};
use crate::relay::{Scope, guard};
use crate::upstream::subscriptions::{Subscription, Topic, Update};

/// At most this many updates wait for a slow reader; more are dropped.
const UPDATES: usize = 256;
/// At most this many topics have one stream.
const TOPICS: usize = 1_000;
/// How long the acknowledgement waits for upstreams to confirm topics.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// The params of a `subscriptions/listen`.
struct Wanted {
    lists: ListKinds,
    resources: Vec<Arc<str>>,
    tasks: Vec<Arc<str>>,
}

/// An acknowledged `subscriptions/listen`: the part of it that upstreams honour. Dropping it ends
/// the subscriptions at upstreams.
#[derive(Debug)]
pub struct Listening {
    /// `_meta` of its messages, as JSON text.
    own: String,
    id: message::Id,
    lists: ListKinds,
    resources: Vec<Arc<str>>,
    tasks: Vec<Arc<str>>,
    held: Vec<Subscription>,
}

/// Subscribes a caller until `end`. Returns the subscription, and the stream of its changes.
///
/// # Errors
/// -32602 without `params.notifications`, and for too many topics.
pub async fn listen(
    scope: &Scope<'_>,
    request: &Request<'_>,
    end: CancellationToken,
) -> Result<(Listening, Changes), Fault> {
    let wanted = wanted(request)?;
    // Watching begins before the acknowledgement is sent: the caller may list as soon as it has
    // that, and a change after its list must not be missed.
    let changes = Changes::new(
        scope.live,
        scope.caller.clone(),
        scope.era(),
        wanted.lists,
        end,
    );
    let (listening, updates) = subscribe(scope, request, wanted).await?;
    Ok((listening, changes.with_updates(updates)))
}

/// Reads the params.
fn wanted(request: &Request<'_>) -> Result<Wanted, Fault> {
    let wanted = request.params.get("notifications");
    let wanted = wanted.and_then(|text| Object::parse(text).ok());
    let wanted = wanted.ok_or_else(|| Fault::Params("`notifications` must be an object".into()))?;
    let yes = |key| wanted.get(key) == Some("true");
    let resources = topics(&wanted, "resourceSubscriptions", EXPOSED_URI_BYTES)?;
    let tasks = topics(&wanted, "taskIds", TASK_ID_BYTES)?;
    if resources.len() + tasks.len() > TOPICS {
        return Err(too_many());
    }
    Ok(Wanted {
        lists: ListKinds {
            tools: yes("toolsListChanged"),
            prompts: yes("promptsListChanged"),
            resources: yes("resourcesListChanged"),
        },
        resources,
        tasks,
    })
}

/// Reads the topics of a kind, each once. They are counted before they are looked at.
fn topics(wanted: &Object<'_>, key: &str, most: usize) -> Result<Vec<Arc<str>>, Fault> {
    let items = wanted
        .get(key)
        .map(|text| json::array_up_to(text, TOPICS + 1));
    let items = items.and_then(Result::ok).unwrap_or_default();
    if items.len() > TOPICS {
        return Err(too_many());
    }
    let mut topics = IndexSet::with_hasher(RandomState::default());
    for topic in items.into_iter().filter_map(json::string) {
        bounds::check(key, &topic, most)?;
        topics.insert(Arc::from(topic));
    }
    Ok(topics.into_iter().collect())
}

fn too_many() -> Fault {
    Fault::Params(format!("more than {TOPICS} subscriptions in one stream"))
}

/// A topic that a caller may subscribe to.
struct PermittedTopic {
    exposed: Arc<str>,
    permit: Permit,
    topic: Topic,
}

/// Returns the topics that exist and that the caller may use. Others are left out of the
/// acknowledgement; they are no error.
fn permitted(
    scope: &Scope<'_>,
    resources: Vec<Arc<str>>,
    tasks: Vec<Arc<str>>,
) -> Result<Vec<PermittedTopic>, Fault> {
    let mut permitted = Vec::new();
    for exposed in resources {
        let Some(route) = scope.resource(&exposed) else {
            continue;
        };
        if let Ok(permit) = scope.permit_resource(&route, &exposed, None) {
            permitted.push(PermittedTopic {
                exposed,
                permit,
                topic: Topic::Resource(route.uri),
            });
        }
    }
    for exposed in tasks {
        if let Some((upstream, original)) = scope.task(&exposed) {
            let topic = Topic::Task(original.into());
            permitted.push(PermittedTopic {
                permit: scope.permit(upstream)?,
                topic,
                exposed,
            });
        }
    }
    Ok(permitted)
}

/// Subscribes at the upstreams, and waits until they confirm or refuse. Returns no receiver if they
/// honour nothing.
async fn subscribe(
    scope: &Scope<'_>,
    request: &Request<'_>,
    wanted: Wanted,
) -> Result<(Listening, Option<mpsc::Receiver<Box<Update>>>), Fault> {
    let (sender, updates) = mpsc::channel(UPDATES);
    let mut subscribed = Vec::new();
    for one in permitted(scope, wanted.resources, wanted.tasks)? {
        let link = scope.link(&one.permit)?;
        // The subscriptions of modern callers are weir's own: there are none on behalf of a caller.
        if !matches!(link.delegation(scope.caller()), Ok(None)) {
            continue;
        }
        let PermittedTopic { exposed, topic, .. } = one;
        if let Topic::Resource(uri) = &topic
            && guard::check_uri(scope, one.permit.upstream(), uri)
                .await
                .is_err()
        {
            continue;
        }
        let all = &link.subscriptions;
        if let Some(held) = all.subscribe(
            topic.clone(),
            Arc::clone(&exposed),
            sender.clone(),
            scope.share(),
        ) {
            subscribed.push((exposed, link, topic, held));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let honoured = subscribed.iter().map(|(_, link, topic, _)| async move {
        let topic = std::slice::from_ref(topic);
        link.subscriptions
            .wait_until_accepted(topic, deadline)
            .await
            == [true]
    });
    let honoured = join_all(honoured).await;
    let mut listening = Listening::new(request, wanted.lists);
    for ((exposed, _, topic, held), honoured) in subscribed.into_iter().zip(honoured) {
        if honoured {
            listening.held.push(held);
            match topic {
                Topic::Resource(_) => listening.resources.push(exposed),
                Topic::Task(_) => listening.tasks.push(exposed),
            }
        }
    }
    // Most streams are for lists only. There are thousands of those, and a channel would be a fifth
    // of the memory of each.
    let updates = (!listening.held.is_empty()).then_some(updates);
    Ok((listening, updates))
}

impl Listening {
    fn new(request: &Request<'_>, lists: ListKinds) -> Self {
        let own = format!("{{\"{}\":{}}}", meta::SUBSCRIPTION_ID, request.id.as_json());
        Self {
            own,
            id: request.id.clone(),
            lists,
            resources: Vec::new(),
            tasks: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Returns the first message: the acknowledgement.
    #[must_use]
    pub fn acknowledged(&self) -> Bytes {
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

    /// Returns a notification of this subscription.
    #[must_use]
    pub fn changed(&self, method: &str, params: Option<&str>) -> Bytes {
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

    /// Returns the last message.
    #[must_use]
    pub fn ended(&self) -> Bytes {
        let result = format!("{{\"resultType\":\"complete\",\"_meta\":{}}}", self.own);
        message::result(&self.id, &result)
    }
}
