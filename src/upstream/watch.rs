//! Watches an upstream for changes of its lists: on the legacy GET stream, on the modern listen
//! stream, or among the messages of a child that belong to no request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashSet;
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

/// The first pause before a stream that ended is opened again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a stream is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Watches until the peer is gone. Notes every announced change and a reconnect at the end,
/// and publishes updates of what callers subscribed to. Sends `ready` once no later change can be
/// missed, or drops it where the upstream announces no changes.
pub async fn watch(
    link: Arc<Link>,
    peer: Arc<Peer>,
    unsolicited: Option<UnsolicitedMessages>,
    ready: oneshot::Sender<()>,
) {
    let watching = async {
        match (peer.era(), &peer.connection) {
            (Era::Modern, _) => watch_modern(&link, &peer, ready).await,
            (Era::Legacy, Connection::Http(_)) => {
                tokio::select! {
                    () = watch_legacy(&link, &peer, ready) => {}
                    () = keep_subscribed(&link, &peer) => {}
                }
            }
            (Era::Legacy, Connection::Child(_)) => {
                let _ = ready.send(());
                keep_subscribed(&link, &peer).await;
            }
        }
    };
    let reading = async {
        let Some(mut unsolicited) = unsolicited else {
            return std::future::pending().await;
        };
        while let Some(message) = unsolicited.recv().await {
            handle_message(&link, &peer, &message);
        }
    };
    let is_gone = tokio::select! {
        () = reading => true,
        () = peer.outbox.wait_overflow() => false,
        () = async { watching.await; std::future::pending().await } => true,
    };
    if link.forget_peer(&peer) || is_gone {
        link.request_reconnect();
    }
}

/// Watches the GET stream of a legacy HTTP upstream.
async fn watch_legacy(link: &Arc<Link>, peer: &Arc<Peer>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let opened = || {
        // Changes while there was no stream are found by listing. The first time the keeper waits
        // for `ready`, and lists after it by itself. A stream that ends again and again proves no
        // change, and is listed for ever more seldom.
        let awaited = ready.take().is_some_and(|ready| ready.send(()).is_ok());
        if !awaited {
            link.rounds.announce_change();
        }
    };
    match follow_stream(link, peer, opened, |message| {
        handle_message(link, peer, message)
    })
    .await
    {
        StreamEnd::NoStream => std::future::pending().await,
        StreamEnd::SessionLost => {
            link.forget_peer(peer);
            link.request_reconnect();
        }
    }
}

/// Why nothing more comes on a session's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The upstream has no such stream.
    NoStream,
    /// The session is gone.
    SessionLost,
}

/// Reads the GET stream of a legacy session. Resumes it where it ended, for as long as the session
/// lives. Calls `opened` each time the stream is open, and `on_message` with each message.
pub async fn follow_stream(
    link: &Link,
    peer: &Peer,
    mut opened: impl FnMut(),
    mut on_message: impl FnMut(&Bytes),
) -> StreamEnd {
    let (mut pause, mut position) = (FIRST_PAUSE, None::<ResumePoint>);
    loop {
        let after = position.as_ref().and_then(|position| position.last.clone());
        // Boxed, for the size of what stays while the stream is open: opening takes several times as much.
        match Box::pin(link.open_get_stream(peer, after.as_deref())).await {
            Ok(Some(stream)) => {
                let mut stream = stream.continue_from(position.take().unwrap_or_default());
                opened();
                while let Ok(Some(message)) = stream.next().await {
                    pause = FIRST_PAUSE;
                    on_message(&message);
                }
                position = stream.resume_point();
            }
            // The upstream may only not know the event any more, so try without it.
            Ok(None) if position.take().is_some() => {}
            Ok(None) => return StreamEnd::NoStream,
            Err(LinkError::SessionLost) => return StreamEnd::SessionLost,
            Err(error) => {
                tracing::debug!(upstream = %link.id(), %error, "no stream of changes");
                position = None;
            }
        }
        let requested = position.as_ref().and_then(|position| position.retry);
        tokio::time::sleep(requested.unwrap_or_default().clamp(pause, LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Keeps the subscriptions of a legacy upstream's shared session as callers want them. Never
/// returns.
async fn keep_subscribed(link: &Arc<Link>, peer: &Arc<Peer>) {
    let mut subscribed = BTreeSet::new();
    loop {
        let wanted = link.subscriptions.wanted();
        for topic in subscribed.difference(&wanted.topics) {
            let _ = send_subscription(link, peer, method::UNSUBSCRIBE, topic).await;
        }
        subscribed.retain(|topic| wanted.topics.contains(topic));
        for topic in &wanted.topics {
            if !subscribed.contains(topic)
                && send_subscription(link, peer, method::SUBSCRIBE, topic).await
            {
                subscribed.insert(topic.clone());
            }
        }
        link.subscriptions
            .set_accepted(wanted.version, subscribed.clone());
        link.subscriptions.wait_for_change(wanted.version).await;
    }
}

/// Subscribes to a topic or unsubscribes from it. Returns whether that worked.
async fn send_subscription(
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    method: &'static str,
    topic: &Topic,
) -> bool {
    let Topic::Resource(uri) = topic else {
        return false;
    };
    let params = format!("{{\"uri\":{}}}", json::quote(uri));
    let deadline = link.list_deadline();
    peer.capabilities.subscribe
        && matches!(ask(link, peer, method, params, deadline).await, Ok(Ok(_)))
}

/// An open `subscriptions/listen`.
struct ListenStream {
    exchange: Exchange,
    id: u64,
    wanted: WantedTopics,
}

/// Watches the listen stream of a modern upstream. When callers want other topics, a second stream
/// is opened, and replaces the first once it is acknowledged, so that nothing is missed. Never
/// returns.
async fn watch_modern(link: &Arc<Link>, peer: &Arc<Peer>, ready: oneshot::Sender<()>) {
    let (mut pause, mut ready) = (FIRST_PAUSE, Some(ready));
    let (mut current, mut next) = (None::<ListenStream>, None::<ListenStream>);
    loop {
        let wanted = link.subscriptions.wanted();
        let version = wanted.version;
        // Whether no stream is needed, or possible, until callers want other topics.
        let mut quiet = !peer.capabilities.list_changed && wanted.topics.is_empty();
        if quiet {
            link.subscriptions.set_accepted(version, BTreeSet::new());
            drop(ready.take());
            close_stream(link, peer, current.take());
        } else {
            match open_stream(link, peer, wanted).await {
                Ok(Some(opened)) => {
                    let awaited = ready.take().is_some_and(|ready| ready.send(()).is_ok());
                    if !awaited && current.is_none() {
                        link.rounds.announce_change();
                    }
                    next = Some(opened);
                }
                Ok(None) => {
                    link.subscriptions.set_accepted(version, BTreeSet::new());
                    drop(ready.take());
                    quiet = true;
                }
                Err(error) => {
                    tracing::debug!(upstream = %link.id(), %error, "no stream of changes");
                    wait_longer(&mut pause).await;
                    continue;
                }
            }
        }
        loop {
            tokio::select! {
                message = next_message(&mut current) => match message {
                    Some(message) => handle_message(link, peer, &message),
                    None => current = None,
                },
                message = next_message(&mut next) => match message {
                    Some(message) => {
                        pause = FIRST_PAUSE;
                        handle_message(link, peer, &message);
                        // Its first message is the acknowledgement.
                        if let Some(opened) = next.take() {
                            link.subscriptions.set_accepted(version, read_acknowledged(&message, &opened.wanted));
                            let former = current.replace(opened);
                            close_stream(link, peer, former);
                        }
                    }
                    None => next = None,
                },
                () = link.subscriptions.wait_for_change(version), if next.is_none() => break,
            }
            if current.is_none() && next.is_none() && !quiet {
                wait_longer(&mut pause).await;
                break;
            }
        }
    }
}

/// Waits for the pause, and doubles it.
async fn wait_longer(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

async fn next_message(stream: &mut Option<ListenStream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.exchange.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Closes a listen stream. Over stdio the child is sent a cancellation.
fn close_stream(link: &Arc<Link>, peer: &Arc<Peer>, former: Option<ListenStream>) {
    if let Some(ListenStream { id, exchange, .. }) = former {
        link.cancel(peer, id, "listening anew", exchange);
    }
}

/// Reads which of the wanted topics an acknowledgement names.
fn read_acknowledged(message: &Bytes, wanted: &WantedTopics) -> BTreeSet<Topic> {
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
    let set = |key| -> HashSet<_> { json::strings(list(key)).into_iter().collect() };
    let (resources, tasks) = (set("resourceSubscriptions"), set("taskIds"));
    let is_named = |topic: &&Topic| match topic {
        Topic::Resource(uri) => resources.contains(&**uri),
        Topic::Task(id) => tasks.contains(&**id),
    };
    wanted.topics.iter().filter(is_named).cloned().collect()
}

async fn open_stream(
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    wanted: WantedTopics,
) -> Result<Option<ListenStream>, LinkError> {
    let (id, params) = (link.next_id(), listen_params(peer, &wanted));
    let exchange = match (&link.wire, &peer.connection) {
        (Wire::Http(wire), Connection::Http(session)) => {
            let body = message::request(&Id::from(id), method::LISTEN, &params);
            wire.open_listen_stream(session, method::LISTEN, body, link.list_deadline())
                .await?
        }
        _ => {
            let outbound = OutboundRequest {
                id,
                method: method::LISTEN,
                params,
                headers: HeaderMap::new(),
                memory: link.memory.clone(),
            };
            peer.set_listen_id(id);
            Some(link.send(peer, outbound, link.list_deadline()).await?)
        }
    };
    Ok(exchange.map(|exchange| ListenStream {
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
    // An upstream without the tasks extension need not understand `taskIds`.
    let has_tasks = peer.has_tasks_extension();
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

/// Handles a message of an upstream that belongs to no call.
fn handle_message(link: &Arc<Link>, peer: &Arc<Peer>, message: &Bytes) {
    match std::str::from_utf8(message).map(Message::parse) {
        Ok(Ok(Message::Notification(notification))) => match notification.method.as_ref() {
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                link.rounds.announce_change()
            }
            method::RESOURCE_UPDATED => publish_update(link, &notification.envelope, "uri"),
            method::TASK_STATUS => publish_update(link, &notification.envelope, "taskId"),
            method::LOG_MESSAGE => log_message(link, &notification.envelope),
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

/// Publishes an update to the callers that subscribed to it. The member `member` of the params
/// (`uri` or `taskId`) names the topic.
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
        let published = link.subscriptions.publish(&topic, text, &link.memory);
        if let Err(error) = published {
            tracing::warn!(upstream = %link.id(), %error, "an update is dropped");
        }
    }
}

fn log_message(link: &Link, envelope: &Object<'_>) {
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

/// Answers an upstream's own request: `ping` with an empty result, everything else with -32601,
/// because weir declared no capability for it. Does not wait. A modern upstream gets no answer: its
/// clients must not write responses (2026-07-28 `basic/transports/stdio.mdx`), and it should not ask.
pub fn answer_request(link: &Arc<Link>, peer: &Arc<Peer>, id: &Id, asked_method: &str) {
    if peer.era() == Era::Modern {
        tracing::debug!(upstream = %link.id(), method = asked_method, "a modern upstream sends a request: it gets no answer");
        return;
    }
    let body = if asked_method == method::PING {
        message::result(id, "{}")
    } else {
        tracing::debug!(upstream = %link.id(), method = asked_method, "the upstream asks for what weir did not offer");
        let text = json::quote(&format!(
            "method not found: {}",
            asked_method.chars().take(100).collect::<String>()
        ));
        message::error(Some(id), &format!("{{\"code\":-32601,\"message\":{text}}}"))
    };
    link.post_later(peer, body, "weir's answer", None);
}

/// Reads the progress token of a notification's params, if it is one of weir's.
#[must_use]
pub fn parse_progress_token(params: &Object<'_>) -> Option<u64> {
    params
        .get(meta::PROGRESS_TOKEN)
        .and_then(message::read_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comparing each topic with each name would take minutes.
    #[test]
    fn an_acknowledgement_of_many_names_is_read_at_once() {
        let topic = |number: usize| Topic::Resource(format!("u:{number}").into());
        let wanted = WantedTopics {
            version: 1,
            topics: (0..10_000).map(topic).collect(),
        };
        let names: Vec<_> = (5_000..400_000)
            .map(|number| format!("\"u:{number}\""))
            .collect();
        let message = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"{}\",\"params\":{{\"notifications\":{{\"resourceSubscriptions\":[{}]}}}}}}",
            method::LISTEN_ACKNOWLEDGED,
            names.join(",")
        );
        let honoured = read_acknowledged(&message.into(), &wanted);
        assert_eq!(honoured, (5_000..10_000).map(topic).collect());
    }
}
