//! Answers that are still being made.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use crate::caller::CallerConnection;
use crate::front::answer;
use crate::front::http::{finish, post};
use crate::front::patience::Patience;
use crate::front::state::Front;
use crate::protocol::era::Version;
use crate::protocol::headers;
use crate::protocol::sse;

/// The future of an answer: its headers, and with them all that is known by then. In legacy it goes
/// on in the background when it is dropped, because a disconnect cancels nothing there; but what
/// still waits for its turn, so that nothing ran, does not.
pub struct Answering {
    work: Option<BoxFuture<'static, Response>>,
    front: Arc<Front>,
    is_legacy: bool,
    patience: Patience,
}

impl Answering {
    /// Begins to answer a `POST`.
    pub(super) fn new(
        front: &Arc<Front>,
        connection: &Arc<CallerConnection>,
        request: Request,
    ) -> Self {
        let patience = Patience::default();
        let is_legacy = match &front.platform {
            None => request.headers().contains_key(headers::SESSION),
            // It puts ids on all requests.
            Some(_) => !claims_modern(request.headers()),
        };
        let work = {
            let (front, connection) = (Arc::clone(front), Arc::clone(connection));
            let patience = patience.clone();
            // Written where it stays: it has thousands of bytes.
            let place = Box::new_uninit();
            let work = async move { post(&front, connection, request, is_legacy, &patience).await };
            Box::into_pin(Box::write(place, work)) as BoxFuture<'static, Response>
        };
        Self {
            work: Some(work),
            front: Arc::clone(front),
            is_legacy,
            patience,
        }
    }

    /// Polls the work only, whether the caller has waited long or not.
    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<Response> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(response) = self.poll_work(context) {
            return Poll::Ready(Ok(response));
        }
        let Some(late) = self.patience.take() else {
            return Poll::Pending;
        };
        let rest = Self {
            work: self.work.take(),
            front: Arc::clone(&self.front),
            is_legacy: self.is_legacy,
            patience: self.patience.clone(),
        };
        let front = Arc::clone(&self.front);
        let response = finish(&front, &late.trace, late.origin, stream_early(rest));
        Poll::Ready(Ok(response))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else {
            return;
        };
        let presence = self.patience.presence();
        if self.is_legacy && !presence.is_only_waiting() {
            presence.leave_for_good();
            let given_up = self.front.given_up.clone();
            self.front.tasks.spawn(async move {
                tokio::select! {
                    _ = work => {}
                    () = presence.given_up() => {}
                    () = given_up.cancelled() => {}
                }
            });
        }
    }
}

/// Returns whether the header of the version names a modern one.
fn claims_modern(sent: &HeaderMap) -> bool {
    let version = sent.get(headers::VERSION);
    let version = version.and_then(|version| version.to_str().ok());
    version.is_some_and(|version| Version::claims_modern(version.trim()))
}

/// The rest of an event stream that was begun before its answer was known.
enum Rest {
    /// A comment, then the answer once it is made.
    Comment(Answering),
    Answering(Answering),
    /// The events of the answer.
    Events(Body),
    End,
}

/// Begins the event stream of an answer that takes long to be made. While a call waits for a place,
/// a session, a connection or the head of the upstream's answer, its caller gets comments. The
/// answer follows as events, whatever it is.
fn stream_early(answering: Answering) -> Response {
    let events = futures::stream::unfold(Rest::Comment(answering), |rest| async move {
        let (bytes, rest) = next_events(rest).await?;
        Some((Ok::<_, Infallible>(bytes), rest))
    });
    answer::events(Body::from_stream(events))
}

async fn next_events(rest: Rest) -> Option<(Bytes, Rest)> {
    let mut answering = match rest {
        Rest::Comment(answering) => return Some((sse::KEEP_ALIVE, Rest::Answering(answering))),
        Rest::Answering(answering) => answering,
        Rest::Events(events) => return next_chunk(events).await,
        Rest::End => return None,
    };
    let keep_alive = answering.front.keep_alive;
    let response = tokio::select! {
        biased;
        response = poll_fn(|context| answering.poll_work(context)) => response,
        () = tokio::time::sleep(keep_alive) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The most bytes of the future that answers a `POST`, without optimisations. Each request has one.
    const MOST_BYTES: usize = 9 << 10;

    fn size_of_future<F>(
        _: impl FnOnce(
            &'static Arc<Front>,
            Arc<CallerConnection>,
            Request,
            bool,
            &'static Patience,
        ) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_request_is_bounded() {
        let bytes = size_of_future(post);
        assert!(bytes <= MOST_BYTES, "{bytes}");
    }
}
