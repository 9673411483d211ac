//! A reply becomes an HTTP response: JSON where the response is all there is, an event stream where
//! something comes before it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::front::body::Pieces;
use crate::front::http::Front;
use crate::front::session::Call;
use crate::protocol::error::Fault;
use crate::protocol::sse;
use crate::relay::{Outgoing, Payload, Reply};

/// A stream says something at least this often.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// What a caller takes, from its `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// JSON only: notifications are left out.
    Json,
    /// Event streams too.
    Events,
    /// Neither.
    Nothing,
}

impl Accepts {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut accepts = Self::Nothing;
        let mut any = false;
        for value in headers.get_all(header::ACCEPT) {
            for item in value.to_str().unwrap_or_default().split(',') {
                any = true;
                match item.split(';').next().unwrap_or_default().trim() {
                    "text/event-stream" | "text/*" | "*/*" => return Self::Events,
                    "application/json" | "application/*" => accepts = Self::Json,
                    _ => {}
                }
            }
        }
        if any { accepts } else { Self::Events }
    }
}

/// What keeps a call going when its caller's connection breaks: in legacy, a disconnect is no
/// cancellation (2025-11-25 `basic/transports.mdx`), so the rest is drained in the background.
pub(super) struct Running {
    reply: Option<Reply>,
    front: Arc<Front>,
    /// Legacy: where `notifications/cancelled` finds this call.
    call: Option<Call>,
}

impl Running {
    pub(super) fn modern(reply: Reply, front: Arc<Front>) -> Self {
        Self {
            reply: Some(reply),
            front,
            call: None,
        }
    }

    pub(super) fn legacy(reply: Reply, call: Call, front: Arc<Front>) -> Self {
        Self {
            reply: Some(reply),
            front,
            call: Some(call),
        }
    }

    /// The time is up: the last message, if there was none.
    fn give_up(&mut self) -> Option<Outgoing> {
        self.reply.take()?.abandon(&Fault::ShuttingDown)
    }

    /// The next message; `None` at the end, or when the caller took its request back.
    async fn next(&mut self) -> Option<Outgoing> {
        let reply = self.reply.as_mut()?;
        let outgoing = match &self.call {
            None => reply.next().await,
            Some(call) => tokio::select! {
                biased;
                outgoing = reply.next() => outgoing,
                () = call.token.cancelled() => None,
            },
        };
        if outgoing.is_none() {
            // Dropping an unfinished reply is what cancels it upstream.
            self.reply = None;
        }
        outgoing
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pending = self.reply.take().filter(Reply::is_pending);
        if let (Some(mut reply), Some(call)) = (pending, self.call.take()) {
            let given_up = self.front.given_up.clone();
            self.front.tasks.spawn(async move {
                tokio::select! {
                    () = async { while reply.next().await.is_some() {} } => {}
                    () = call.token.cancelled() => {}
                    () = given_up.cancelled() => {}
                }
            });
        }
    }
}

/// The HTTP answer of a reply.
pub(super) async fn respond(mut running: Running, accepts: Accepts) -> Response {
    loop {
        let first = tokio::select! {
            biased;
            first = running.next() => first,
            () = tokio::time::sleep(KEEP_ALIVE), if accepts == Accepts::Events => {
                return stream(Some(sse::KEEP_ALIVE), running);
            }
        };
        match first {
            Some(Outgoing::Response(payload)) => return json(payload),
            Some(Outgoing::Notification(message)) if accepts == Accepts::Events => {
                return stream(Some(sse::event(&message)), running);
            }
            Some(Outgoing::Notification(_)) => {}
            // The caller took its request back and is owed nothing.
            None => return stream(None, running),
        }
    }
}

fn stream(first: Option<Bytes>, running: Running) -> Response {
    let rest = futures::stream::unfold((first, running), |(first, mut running)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(first), (None, running)));
        }
        let front = Arc::clone(&running.front);
        let outgoing = tokio::select! {
            biased;
            outgoing = running.next() => outgoing,
            () = front.given_up.cancelled() => running.give_up(),
            () = tokio::time::sleep(KEEP_ALIVE) => {
                return Some((Ok(sse::KEEP_ALIVE), (None, running)));
            }
        };
        let bytes = match outgoing? {
            Outgoing::Notification(message) => sse::event(&message),
            Outgoing::Response(payload) => sse::event(&payload.concat()),
        };
        Some((Ok(bytes), (None, running)))
    });
    events(Body::from_stream(rest))
}

/// An event stream with the headers that keep proxies from holding it back.
pub(super) fn events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A JSON answer.
pub(super) fn json(payload: Payload) -> Response {
    let status = payload.status;
    let body = match <[Bytes; 1]>::try_from(payload.chunks) {
        Ok([only]) => Body::from(only),
        Err(chunks) => Body::new(Pieces::new(chunks)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// An answer without a body.
pub(super) fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
