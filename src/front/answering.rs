//! Answers that are still being made.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header;
use http_body_util::BodyExt as _;

use crate::front::answer;
use crate::front::state::Front;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::Id;
use crate::protocol::sse;
use crate::protocol::trace::Trace;
use crate::relay::Payload;

/// The future of an answer. With an owner, it goes on in the background when it is dropped: in
/// legacy a disconnect cancels nothing, so a call goes on without its caller.
pub struct Answering<T: Send + 'static> {
    inner: Option<BoxFuture<'static, T>>,
    owner: Option<Arc<Front>>,
}

impl<T: Send + 'static> Answering<T> {
    pub(super) fn new(
        answer: impl Future<Output = T> + Send + 'static,
        owner: Option<Arc<Front>>,
    ) -> Self {
        Self {
            inner: Some(answer.boxed()),
            owner,
        }
    }

    /// Gives the answer up, whoever owns it.
    pub(super) fn cancel(&mut self) {
        self.inner = None;
    }
}

impl<T: Send + 'static> Future for Answering<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(inner) = &mut self.inner else {
            return Poll::Pending;
        };
        let polled = inner.as_mut().poll(context);
        if polled.is_ready() {
            self.inner = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Answering<T> {
    fn drop(&mut self) {
        if let (Some(inner), Some(owner)) = (self.inner.take(), self.owner.take()) {
            let given_up = owner.given_up.clone();
            owner.tasks.spawn(async move {
                tokio::select! {
                    _ = inner => {}
                    () = given_up.cancelled() => {}
                }
            });
        }
    }
}

/// The rest of an event stream that was begun before its answer was known.
enum Rest {
    /// A comment, then the answer once it is made.
    Comment(Answering<(Response, Trace)>),
    Answering(Answering<(Response, Trace)>),
    /// The events of the answer.
    Events(Body),
    End,
}

/// Begins the event stream of an answer that takes long to be made. While a call waits for a place,
/// a session, a connection or the head of the upstream's answer, its caller gets comments. The
/// answer follows as events, whatever it is. `id` is that of the request.
pub(super) fn stream_early(
    front: &Arc<Front>,
    answering: Answering<(Response, Trace)>,
    id: Option<Id>,
) -> Response {
    let start = (Rest::Comment(answering), Arc::clone(front), id);
    let events = futures::stream::unfold(start, |(rest, front, id)| async move {
        let (bytes, rest) = next_events(rest, &front, id.as_ref()).await?;
        Some((Ok::<_, Infallible>(bytes), (rest, front, id)))
    });
    answer::events(Body::from_stream(events))
}

async fn next_events(rest: Rest, front: &Front, id: Option<&Id>) -> Option<(Bytes, Rest)> {
    let mut answering = match rest {
        Rest::Comment(answering) => return Some((sse::KEEP_ALIVE, Rest::Answering(answering))),
        Rest::Answering(answering) => answering,
        Rest::Events(events) => return next_chunk(events).await,
        Rest::End => return None,
    };
    let response = tokio::select! {
        biased;
        (response, _) = &mut answering => response,
        () = front.given_up.cancelled() => {
            answering.cancel();
            let fault = Payload::fault(id, &Fault::ShuttingDown, Era::Legacy);
            return Some((sse::event(&fault.concat()), Rest::End));
        }
        () = tokio::time::sleep(front.keep_alive) => {
            return Some((sse::KEEP_ALIVE, Rest::Answering(answering)));
        }
    };
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_events = kind == Some(&answer::EVENTS);
    let body = response.into_body();
    if is_events {
        return next_chunk(body).await;
    }
    // It is in memory, and ready.
    let message = body.collect().await.ok()?.to_bytes();
    // A caller that cancelled its request gets no response.
    (!message.is_empty()).then(|| (sse::event(&message), Rest::End))
}

/// Takes the next chunk of an answer that is events already.
async fn next_chunk(mut events: Body) -> Option<(Bytes, Rest)> {
    loop {
        let frame = events.frame().await?.ok()?;
        if let Ok(bytes) = frame.into_data() {
            return Some((bytes, Rest::Events(events)));
        }
    }
}
