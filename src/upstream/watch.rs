//! Hears an upstream say that its lists changed: the legacy GET stream, the modern listen stream, or
//! what a child says unasked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::oneshot;

use crate::json::{self, Object};
use crate::protocol::era::Era;
use crate::protocol::message::{self, Id, Message};
use crate::protocol::{meta, method};
use crate::upstream::ask::ask;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::{Exchange, ResumePoint};
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::{Connection, Peer};
use crate::upstream::probe::{self, UnsolicitedMessages};
use crate::upstream::request::OutboundRequest;
use crate::upstream::subscriptions::{Topic, WantedTopics};

/// Pause before a stream that ended is opened again; doubles up to the second figure.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Watches until the peer is gone: asks for a resync at every change, for a reconnect at the end, and
/// passes on news of what callers subscribed to. Tells `heeding` once nothing that happens from then on is
/// missed (or drops it, where nothing can be heard).
pub async fn watch(
    link: Arc<Link>,
    peer: Arc<Peer>,
    unasked: Option<UnsolicitedMessages>,
    heeding: oneshot::Sender<()>,
) {
    let told = async {
        match (peer.era(), &peer.connection) {
            (Era::Modern, _) => modern(&link, &peer, heeding).await,
            (Era::Legacy, Connection::Http(_)) => {
                tokio::select! {
                    () = legacy(&link, &peer, heeding) => {}
                    () = subscribe(&link, &peer) => {}
                }
            }
            (Era::Legacy, Connection::Child(_)) => {
                let _ = heeding.send(());
                subscribe(&link, &peer).await;
            }
        }
    };
    let Some(mut unasked) = unasked else {
        return told.await;
    };
    let heard = async {
        while let Some(message) = unasked.recv().await {
            heard(&link, &peer, &message);
        }
    };
    tokio::select! {
        () = heard => {}
        () = async { told.await; std::future::pending().await } => {}
    }
    link.forget_peer(&peer);
    link.request_reconnect();
}

/// What a legacy HTTP upstream says unasked, on its GET stream.
async fn legacy(link: &Arc<Link>, peer: &Arc<Peer>, heeding: oneshot::Sender<()>) {
    let mut heeding = Some(heeding);
    let opened = || {
        // What changed while nobody listened is found by listing.
        let awaited = heeding
            .take()
            .is_some_and(|heeding| heeding.send(()).is_ok());
        if !awaited {
            link.rounds.request_resync();
        }
    };
    match follow_stream(link, peer, opened, |message| heard(link, peer, message)).await {
        StreamEnd::NoStream => std::future::pending().await,
        StreamEnd::SessionLost => {
            link.forget_peer(peer);
            link.request_reconnect();
        }
    }
}

/// Why nothing more is heard on a session's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The upstream has no such stream.
    NoStream,
    /// The session is gone.
    SessionLost,
}

/// Reads the GET stream of a legacy session, and opens it again where it ended, for as long as the session lives.
pub async fn follow_stream(
    link: &Link,
    peer: &Peer,
    mut opened: impl FnMut(),
    mut heard: impl FnMut(&Bytes),
) -> StreamEnd {
    let (mut pause, mut position) = (REOPEN.0, None::<ResumePoint>);
    let (Wire::Http(wire), Connection::Http(session)) = (&link.wire, &peer.connection) else {
        return StreamEnd::NoStream;
    };
    loop {
        let after = position.as_ref().and_then(|position| position.last.clone());
        match wire.listen(session, after.as_deref()).await {
            Ok(Some(stream)) => {
                let mut stream = stream.continue_from(position.take().unwrap_or_default());
                opened();
                while let Ok(Some(message)) = stream.next().await {
                    pause = REOPEN.0;
                    heard(&message);
                }
                position = stream.resume_point();
            }
            // It may be only the event that it does not know.
            Ok(None) if position.take().is_some() => {}
            Ok(None) => return StreamEnd::NoStream,
            Err(LinkError::SessionLost) => return StreamEnd::SessionLost,
            Err(error) => {
                tracing::debug!(upstream = %link.id(), %error, "no stream of changes");
                position = None;
            }
        }
        let asked = position.as_ref().and_then(|position| position.retry);
        tokio::time::sleep(asked.unwrap_or_default().clamp(pause, REOPEN.1)).await;
        pause = (pause * 2).min(REOPEN.1);
    }
}

/// Keeps the subscriptions of a legacy upstream's shared session as callers want them. Never ends.
async fn subscribe(link: &Arc<Link>, peer: &Arc<Peer>) {
    let mut subscribed = BTreeSet::new();
    loop {
        let wanted = link.subscriptions.wanted();
        for topic in subscribed.difference(&wanted.topics) {
            let _ = tell(link, peer, method::UNSUBSCRIBE, topic).await;
        }
        subscribed.retain(|topic| wanted.topics.contains(topic));
        for topic in &wanted.topics {
            if !subscribed.contains(topic) && tell(link, peer, method::SUBSCRIBE, topic).await {
                subscribed.insert(topic.clone());
            }
        }
        link.subscriptions
            .set_accepted(wanted.version, subscribed.clone());
        link.subscriptions.wait_for_change(wanted.version).await;
    }
}

/// Subscribes to a topic or unsubscribes from it; whether that worked.
async fn tell(link: &Arc<Link>, peer: &Arc<Peer>, method: &'static str, topic: &Topic) -> bool {
    let Topic::Resource(uri) = topic else {
        return false;
    };
    let params = format!("{{\"uri\":{}}}", json::quote(uri));
    let deadline = link.list_deadline();
    peer.capabilities.subscribe
        && matches!(ask(link, peer, method, params, deadline).await, Ok(Ok(_)))
}

/// An open `subscriptions/listen`.
struct Listening {
    exchange: Exchange,
    id: u64,
    wanted: WantedTopics,
}

/// What a modern upstream says on its listen stream. Where callers come to want something else, a second stream is opened and
/// takes the place of the first once it is acknowledged, so that nothing is missed. Ends only with its session.
async fn modern(link: &Arc<Link>, peer: &Arc<Peer>, heeding: oneshot::Sender<()>) {
    let (mut pause, mut heeding) = (REOPEN.0, Some(heeding));
    let (mut current, mut next) = (None::<Listening>, None::<Listening>);
    loop {
        let wanted = link.subscriptions.wanted();
        let version = wanted.version;
        // Nothing to hear, or nobody to hear it from, until something else is wanted.
        let mut quiet = !peer.capabilities.list_changed && wanted.topics.is_empty();
        if quiet {
            link.subscriptions.set_accepted(version, BTreeSet::new());
            drop(heeding.take());
            dismiss(link, peer, current.take());
        } else {
            match listen(link, peer, wanted).await {
                Ok(Some(opened)) => {
                    let awaited = heeding.take().is_some_and(|told| told.send(()).is_ok());
                    if !awaited && current.is_none() {
                        link.rounds.request_resync();
                    }
                    next = Some(opened);
                }
                Ok(None) => {
                    link.subscriptions.set_accepted(version, BTreeSet::new());
                    drop(heeding.take());
                    quiet = true;
                }
                Err(error) => {
                    tracing::debug!(upstream = %link.id(), %error, "no stream of changes");
                    rest(&mut pause).await;
                    continue;
                }
            }
        }
        loop {
            tokio::select! {
                message = heard_on(&mut current) => match message {
                    Some(message) => heard(link, peer, &message),
                    None => current = None,
                },
                message = heard_on(&mut next) => match message {
                    Some(message) => {
                        pause = REOPEN.0;
                        heard(link, peer, &message);
                        // Its first message is the acknowledgement.
                        if let Some(opened) = next.take() {
                            link.subscriptions.set_accepted(version, acknowledged(&message, &opened.wanted));
                            let former = current.replace(opened);
                            dismiss(link, peer, former);
                        }
                    }
                    None => next = None,
                },
                () = link.subscriptions.wait_for_change(version), if next.is_none() => break,
            }
            if current.is_none() && next.is_none() && !quiet {
                rest(&mut pause).await;
                break;
            }
        }
    }
}

/// Waits, longer each time.
async fn rest(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(REOPEN.1);
}

async fn heard_on(stream: &mut Option<Listening>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.exchange.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Closes a listen stream; a child has to be told.
fn dismiss(link: &Arc<Link>, peer: &Arc<Peer>, former: Option<Listening>) {
    if let Some(Listening { id, exchange, .. }) = former {
        link.cancel(peer, id, "listening anew", exchange);
    }
}

/// The topics that an acknowledgement names, of those asked for.
fn acknowledged(message: &Bytes, wanted: &WantedTopics) -> BTreeSet<Topic> {
    let Ok(Ok(Message::Notification(notification))) =
        std::str::from_utf8(message).map(Message::parse)
    else {
        return BTreeSet::new();
    };
    let params = notification.envelope.get("params");
    let params = params.and_then(|text| Object::parse(text).ok());
    let named = params
        .as_ref()
        .and_then(|params| params.get("notifications"));
    let named = named.and_then(|text| Object::parse(text).ok());
    let list = |key| named.as_ref().and_then(|named| named.get(key));
    let resources = json::strings(list("resourceSubscriptions"));
    let tasks = json::strings(list("taskIds"));
    let is_named = |topic: &&Topic| match topic {
        Topic::Resource(uri) => resources.iter().any(|named| **named == **uri),
        Topic::Task(id) => tasks.iter().any(|named| **named == **id),
    };
    wanted.topics.iter().filter(is_named).cloned().collect()
}

async fn listen(
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    wanted: WantedTopics,
) -> Result<Option<Listening>, LinkError> {
    let (id, params) = (link.next_id(), listen_params(peer, &wanted));
    let exchange = match (&link.wire, &peer.connection) {
        (Wire::Http(wire), Connection::Http(session)) => {
            let body = message::request(&Id::from(id), method::LISTEN, &params);
            wire.subscribe(session, method::LISTEN, body, link.list_deadline())
                .await?
        }
        _ => {
            let outbound = OutboundRequest {
                id,
                method: method::LISTEN,
                params,
                headers: HeaderMap::new(),
            };
            peer.set_listen_id(id);
            Some(link.send(peer, outbound, link.list_deadline()).await?)
        }
    };
    Ok(exchange.map(|exchange| Listening {
        exchange,
        id,
        wanted,
    }))
}

fn listen_params(peer: &Peer, wanted: &WantedTopics) -> String {
    let (mut resources, mut tasks) = (Vec::new(), Vec::new());
    for topic in &wanted.topics {
        match topic {
            Topic::Resource(uri) => resources.push(json::quote(uri)),
            Topic::Task(id) => tasks.push(json::quote(id)),
        }
    }
    let mut filter = vec![
        "\"toolsListChanged\":true,\"promptsListChanged\":true,\"resourcesListChanged\":true"
            .to_owned(),
    ];
    if !resources.is_empty() {
        filter.push(format!(
            "\"resourceSubscriptions\":[{}]",
            resources.join(",")
        ));
    }
    // An upstream without the extension need not understand the member.
    let has_tasks = Object::parse(&peer.extensions).is_ok_and(|all| all.contains(meta::TASKS));
    if !tasks.is_empty() && has_tasks {
        filter.push(format!("\"taskIds\":[{}]", tasks.join(",")));
    }
    let capabilities =
        has_tasks.then(|| format!("{{\"extensions\":{{\"{}\":{{}}}}}}", meta::TASKS));
    format!(
        "{{\"notifications\":{{{}}},\"_meta\":{}}}",
        filter.join(","),
        probe::request_meta(capabilities.as_deref(), None)
    )
}

/// What an upstream said outside any call.
fn heard(link: &Arc<Link>, peer: &Arc<Peer>, message: &Bytes) {
    match std::str::from_utf8(message).map(Message::parse) {
        Ok(Ok(Message::Notification(notification))) => match notification.method.as_ref() {
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                link.rounds.request_resync()
            }
            method::RESOURCE_UPDATED => publish_update(link, &notification.envelope, "uri"),
            method::TASK_STATUS => publish_update(link, &notification.envelope, "taskId"),
            method::LOG_MESSAGE => log(link, &notification.envelope),
            other => tracing::debug!(upstream = %link.id(), method = other, "unasked notification"),
        },
        Ok(Ok(Message::Request(request))) => {
            answer_request(link, peer, &request.id, &request.method)
        }
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => {
            tracing::debug!(upstream = %link.id(), "something that is no message outside any call");
        }
    }
}

/// News of something that callers may have subscribed to; `member` of the params names it.
pub fn publish_update(link: &Link, envelope: &Object<'_>, member: &str) {
    let Some(text) = envelope.get("params") else {
        return;
    };
    let named = Object::parse(text).ok();
    let named = named.as_ref().and_then(|params| params.string(member));
    if let Some(named) = named {
        let topic = match member {
            "uri" => Topic::Resource(named.as_ref().into()),
            _ => Topic::Task(named.as_ref().into()),
        };
        link.subscriptions.publish(&topic, text);
    }
}

fn log(link: &Link, envelope: &Object<'_>) {
    let params = envelope
        .get("params")
        .and_then(|text| Object::parse(text).ok());
    let data = params
        .as_ref()
        .and_then(|params| params.get("data"))
        .unwrap_or_default();
    let data: String = data.chars().filter(|c| !c.is_control()).take(500).collect();
    tracing::debug!(target: "upstream", upstream = %link.id(), "{data}");
}

/// Answers an upstream's own request: `ping` gets its pong, everything else -32601, because what weir
/// did not declare it cannot do. Does not wait.
pub fn answer_request(link: &Arc<Link>, peer: &Arc<Peer>, id: &Id, asked: &str) {
    let body = if asked == method::PING {
        message::result(id, "{}")
    } else {
        tracing::debug!(upstream = %link.id(), method = asked, "the upstream asks for what weir did not offer");
        let text = json::quote(&format!(
            "method not found: {}",
            asked.chars().take(100).collect::<String>()
        ));
        message::error(Some(id), &format!("{{\"code\":-32601,\"message\":{text}}}"))
    };
    let (link, peer) = (Arc::clone(link), Arc::clone(peer));
    link.tasks().clone().spawn(async move {
        if let Err(error) = link.post(&peer, body).await {
            tracing::debug!(upstream = %link.id(), %error, "answer to the upstream not delivered");
        }
    });
}

/// The token of a progress notification's params, if it is one of weir's.
#[must_use]
pub fn parse_progress_token(params: &Object<'_>) -> Option<u64> {
    params
        .get(meta::PROGRESS_TOKEN)
        .and_then(|token| token.parse().ok())
}
