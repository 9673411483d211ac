//! Hears an upstream say that its lists changed: the legacy GET stream, the modern listen stream, or
//! what a child says unasked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::oneshot;

use crate::json::{self, Object};
use crate::protocol::era::Era;
use crate::protocol::message::{self, Id, Message};
use crate::protocol::{meta, method};
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::link::{Link, Outbound, Wire};
use crate::upstream::peer::{Peer, Via};
use crate::upstream::probe::{self, Unasked};

/// Pause before a stream that ended is opened again; doubles up to the second figure.
const REOPEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Watches until the peer is gone: asks for a resync at every change, for a reconnect at the end. Tells
/// `heeding` once nothing that happens from then on is missed (or drops it, where nothing can be heard).
pub async fn watch(
    link: Arc<Link>,
    peer: Arc<Peer>,
    unasked: Option<Unasked>,
    heeding: oneshot::Sender<()>,
) {
    match (&peer.via, unasked) {
        (Via::Child(_), Some(unasked)) => child(&link, &peer, unasked, heeding).await,
        (Via::Child(_), None) => {}
        (Via::Http(_), _) => http(&link, &peer, heeding).await,
    }
}

async fn child(
    link: &Arc<Link>,
    peer: &Arc<Peer>,
    mut unasked: Unasked,
    heeding: oneshot::Sender<()>,
) {
    // Modern servers speak of changes only when asked to; what they say comes as replies to the request.
    let mut listening = if peer.era() == Era::Modern && peer.offers.list_changed {
        let (id, params) = listen_request(link);
        let outbound = Outbound {
            id,
            method: method::LISTEN,
            params,
            headers: HeaderMap::new(),
        };
        link.send(peer, outbound, link.list_deadline()).await.ok()
    } else {
        None
    };
    let _ = heeding.send(());
    loop {
        let told = async {
            match &mut listening {
                Some(stream) => stream.next().await.ok().flatten(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = unasked.recv() => match message {
                Some(message) => heard(link, peer, &message),
                None => break,
            },
            message = told => match message {
                Some(message) => heard(link, peer, &message),
                None => listening = None,
            },
        }
    }
    link.forget(peer);
    link.reconnect.notify_one();
}

async fn http(link: &Arc<Link>, peer: &Arc<Peer>, heeding: oneshot::Sender<()>) {
    if peer.era() == Era::Modern && !peer.offers.list_changed {
        return;
    }
    let (mut pause, mut heeding) = (REOPEN.0, Some(heeding));
    loop {
        match open(link, peer).await {
            Ok(Some(mut stream)) => {
                // What changed while nobody listened is found by listing.
                let awaited = heeding
                    .take()
                    .is_some_and(|heeding| heeding.send(()).is_ok());
                if !awaited {
                    link.resync.notify_one();
                }
                while let Ok(Some(message)) = stream.next().await {
                    pause = REOPEN.0;
                    heard(link, peer, &message);
                }
            }
            Ok(None) => return,
            Err(LinkError::SessionLost) => {
                link.forget(peer);
                link.reconnect.notify_one();
                return;
            }
            Err(error) => tracing::debug!(upstream = %link.id(), %error, "no stream of changes"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REOPEN.1);
    }
}

async fn open(link: &Arc<Link>, peer: &Arc<Peer>) -> Result<Option<Exchange>, LinkError> {
    let (Wire::Http(wire), Via::Http(session)) = (&link.wire, &peer.via) else {
        return Ok(None);
    };
    match peer.era() {
        Era::Legacy => wire.listen(session).await,
        Era::Modern => {
            let (id, params) = listen_request(link);
            let body = message::request(&Id::from(id), method::LISTEN, &params);
            wire.subscribe(session, method::LISTEN, body, link.list_deadline())
                .await
        }
    }
}

fn listen_request(link: &Link) -> (u64, String) {
    let wanted =
        "{\"toolsListChanged\":true,\"promptsListChanged\":true,\"resourcesListChanged\":true}";
    let params = format!(
        "{{\"notifications\":{wanted},\"_meta\":{}}}",
        probe::own_meta(None, None)
    );
    (link.next_id(), params)
}

/// What an upstream said outside any call.
fn heard(link: &Arc<Link>, peer: &Arc<Peer>, message: &Bytes) {
    match std::str::from_utf8(message).map(Message::parse) {
        Ok(Ok(Message::Notification(notification))) => match notification.method.as_ref() {
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                link.resync.notify_one()
            }
            method::LOG_MESSAGE => log(link, &notification.envelope),
            other => tracing::debug!(upstream = %link.id(), method = other, "unasked notification"),
        },
        Ok(Ok(Message::Request(request))) => answer(link, peer, &request.id, &request.method),
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => {
            tracing::debug!(upstream = %link.id(), "something that is no message outside any call");
        }
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
pub fn answer(link: &Arc<Link>, peer: &Arc<Peer>, id: &Id, asked: &str) {
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
pub fn progress_token(params: &Object<'_>) -> Option<u64> {
    params
        .get(meta::PROGRESS_TOKEN)
        .and_then(|token| token.parse().ok())
}
