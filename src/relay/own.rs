//! The session that a caller has of its own at an upstream: opened when first needed, watched while
//! there is somebody to tell, left when the caller ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::json;
use crate::protocol::message::{self, Message};
use crate::protocol::method;
use crate::relay::caller::Caller;
use crate::relay::{asked, tasks};
use crate::upstream::ask::ask;
use crate::upstream::probe::{self, UnsolicitedMessages};
use crate::upstream::subscriptions::suffix_below;
use crate::upstream::watch::{self, StreamEnd};
use crate::upstream::{Connection, Link, LinkError, Peer, Wire};

/// How long the first request of a session waits for its stream of what is said unasked.
const HEEDING: Duration = Duration::from_millis(500);
/// Time to say goodbye in.
const GOODBYE: Duration = Duration::from_secs(2);

/// A session of a caller's own, or the place for one.
#[derive(Default)]
pub(super) struct Own {
    seat: OnceCell<Seat>,
}

struct Seat {
    link: Arc<Link>,
    peer: Arc<Peer>,
    /// The upstream forgot it: there is nobody to say goodbye to.
    lost: AtomicBool,
    _watch: AbortOnDropHandle<()>,
    _place: OwnedSemaphorePermit,
}

impl Own {
    /// Who is there; whoever comes first opens the session, others wait for it.
    pub(super) async fn peer(
        &self,
        caller: &Arc<Caller>,
        link: &Arc<Link>,
        deadline: Instant,
    ) -> Result<Arc<Peer>, LinkError> {
        let seat = self.seat.get_or_try_init(|| open(caller, link, deadline));
        seat.await.map(|seat| Arc::clone(&seat.peer))
    }

    pub(super) fn open(&self) -> Option<(Arc<Link>, Arc<Peer>)> {
        let seat = self.seat.get()?;
        Some((Arc::clone(&seat.link), Arc::clone(&seat.peer)))
    }

    /// Whether this is the session with that peer; if so, it is known to be lost from now on.
    pub(super) fn is_lost(&self, peer: &Arc<Peer>) -> bool {
        self.seat.get().is_some_and(|seat| {
            let is_it = Arc::ptr_eq(&seat.peer, peer);
            seat.lost.fetch_or(is_it, Ordering::Relaxed);
            is_it
        })
    }
}

async fn open(
    caller: &Arc<Caller>,
    link: &Arc<Link>,
    deadline: Instant,
) -> Result<Seat, LinkError> {
    let place = link.sessions.acquire()?;
    let deadline = deadline.min(link.connect_deadline());
    let (peer, unasked) = probe::open_session(link, &caller.profile, deadline).await?;
    let peer = Arc::new(peer);
    tracing::debug!(upstream = %link.id(), version = %peer.version, "session of a caller's own opened");
    restore(caller, link, &peer, deadline).await;
    let (heeding, heeded) = oneshot::channel();
    let watch = attend(
        Arc::downgrade(caller),
        Arc::clone(link),
        Arc::clone(&peer),
        unasked,
        heeding,
    );
    let watch = AbortOnDropHandle::new(link.tasks().spawn(watch));
    if *caller.listens().borrow() {
        // Some servers ask on this stream what they need for the very first call, and ask nobody if it is not there yet.
        let _ = tokio::time::timeout_at(deadline.min(Instant::now() + HEEDING), heeded).await;
    }
    Ok(Seat {
        link: Arc::clone(link),
        peer,
        lost: AtomicBool::new(false),
        _watch: watch,
        _place: place,
    })
}

/// Says again what the caller had said to an earlier session. What is refused now is no reason to fail.
async fn restore(caller: &Caller, link: &Link, peer: &Peer, deadline: Instant) {
    let (level, uris) = {
        let kept = caller.kept();
        let here = kept
            .subscribed
            .values()
            .filter(|subscribed| subscribed.upstream == *link.id() && subscribed.shared.is_none());
        let uris: Vec<_> = here.map(|subscribed| Arc::clone(&subscribed.uri)).collect();
        (kept.level.clone(), uris)
    };
    if let Some(level) = level.filter(|_| peer.capabilities.logging) {
        let params = format!("{{\"level\":{level}}}");
        let _ = ask(link, peer, method::SET_LEVEL, params, deadline).await;
    }
    for uri in uris {
        let params = format!("{{\"uri\":{}}}", json::quote(&uri));
        let _ = ask(link, peer, method::SUBSCRIBE, params, deadline).await;
    }
}

/// Hears what the upstream says outside of calls, for as long as the caller has a stream to hear it on.
async fn attend(
    caller: Weak<Caller>,
    link: Arc<Link>,
    peer: Arc<Peer>,
    unasked: Option<UnsolicitedMessages>,
    heeding: oneshot::Sender<()>,
) {
    let mut heeding = Some(heeding);
    if let Some(mut unasked) = unasked {
        drop(heeding.take());
        while let Some(message) = unasked.recv().await {
            heard(&caller, &link, &peer, &message);
        }
        lost(&caller, &link, &peer);
        return;
    }
    loop {
        let Some(mut listens) = caller.upgrade().map(|caller| caller.listens()) else {
            return;
        };
        if listens.wait_for(|listens| *listens).await.is_err() {
            return;
        }
        let follow = watch::follow_stream(
            &link,
            &peer,
            || {
                if let Some(heeding) = heeding.take() {
                    let _ = heeding.send(());
                }
            },
            |message| heard(&caller, &link, &peer, message),
        );
        tokio::select! {
            unheard = follow => match unheard {
                StreamEnd::NoStream => return,
                StreamEnd::SessionLost => return lost(&caller, &link, &peer),
            },
            ended = listens.wait_for(|listens| !*listens) => if ended.is_err() {
                return;
            },
        }
    }
}

/// The session is gone. Whoever waits for news of resources may call nothing for long: a new one is opened now.
fn lost(caller: &Weak<Caller>, link: &Arc<Link>, peer: &Arc<Peer>) {
    let Some(caller) = caller.upgrade() else {
        return;
    };
    caller.lost(link, peer);
    if !caller.is_subscribed(link) {
        return;
    }
    let link = Arc::clone(link);
    link.tasks().clone().spawn(async move {
        if let Err(error) = caller.session(&link, link.connect_deadline()).await {
            tracing::debug!(upstream = %link.id(), %error, "a caller's subscriptions are lost until it calls");
        }
    });
}

fn heard(caller: &Weak<Caller>, link: &Arc<Link>, peer: &Arc<Peer>, bytes: &Bytes) {
    let Some(caller) = caller.upgrade() else {
        return;
    };
    match std::str::from_utf8(bytes).map(Message::parse) {
        Ok(Ok(Message::Request(request))) => {
            let told = asked::ask(&caller, link, peer, &request)
                .is_some_and(|(number, message)| caller.tell(message) || caller.unask(number));
            if !told {
                watch::answer_request(link, peer, &request.id, &request.method);
            }
        }
        Ok(Ok(Message::Notification(mut notification))) => match notification.method.as_ref() {
            // The catalog's own changes are what the caller is told of, once it is in them.
            method::TOOLS_CHANGED | method::PROMPTS_CHANGED | method::RESOURCES_CHANGED => {
                link.rounds.request_resync();
            }
            method::CANCELLED => {
                if let Some(message) = caller.taken_back(link, notification) {
                    caller.tell(message);
                }
            }
            method::RESOURCE_UPDATED => {
                if let Some(message) = caller.updated(link.id(), notification) {
                    caller.tell(message);
                }
            }
            // Tokens belong to calls, which have streams of their own, and to tasks.
            method::PROGRESS => {
                if let Some(message) = caller.progress(link, notification) {
                    caller.tell(message);
                }
            }
            _ => {
                tasks::wrap_params(&mut notification.envelope, link.id());
                let mut out = Vec::new();
                notification.envelope.write(&mut out);
                caller.tell(out.into());
            }
        },
        Ok(Ok(Message::Response(_)) | Err(_)) | Err(_) => {
            tracing::debug!(upstream = %link.id(), "something that is no message outside any call");
        }
    }
}

impl Caller {
    /// An upstream's news of a resource in the words of the caller, if it subscribed to that.
    pub(super) fn updated(
        &self,
        upstream: &crate::name::UpstreamId,
        mut notification: message::Notification<'_>,
    ) -> Option<Bytes> {
        let mut params = json::Object::parse(notification.envelope.borrowed("params")?).ok()?;
        let uri = params.string("uri")?.into_owned();
        let exposed = {
            let kept = self.kept();
            let here = kept.subscribed.iter();
            let here = here.filter(|(_, subscribed)| subscribed.upstream == *upstream);
            let fitting = here.filter_map(|(exposed, subscribed)| {
                let rest = suffix_below(&subscribed.uri, &uri)?;
                Some((rest.len(), format!("{exposed}{rest}")))
            });
            fitting.min().map(|(_, exposed)| exposed)
        };
        if let Some(exposed) = exposed.filter(|exposed| *exposed != uri) {
            params.set("uri", json::quote(&exposed));
            notification.envelope.set("params", params.to_text());
        }
        let mut out = Vec::new();
        notification.envelope.write(&mut out);
        Some(out.into())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.lost.load(Ordering::Relaxed) {
            return;
        }
        let (link, peer) = (Arc::clone(&self.link), Arc::clone(&self.peer));
        let leave = async move {
            match (&peer.connection, &link.wire) {
                (Connection::Http(session), Wire::Http(wire)) => {
                    wire.end_session(session, Instant::now() + GOODBYE).await;
                }
                (Connection::Child(child), _) => child.stop().await,
                (Connection::Http(_), Wire::Child(_)) => {}
            }
        };
        self.link.tasks().clone().spawn(leave);
    }
}
