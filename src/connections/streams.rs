//! Streams of HTTP/2: each has the time to be read that a connection of HTTP/1.1 has.
//!
//! hyper gives every stream a task, which waits while the client takes no bytes. A client that opens
//! its windows not at all, or a little, would hold an answer for as long as it likes, and the
//! connection is alive meanwhile. So the task is watched: a stream of which nothing is taken for
//! [`STALL`] is reset, and the others of its connection go on. Answers go out in pieces, because
//! hyper asks for the next one only when the client has taken those before it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use super::activity::{RequestUnderWay, STALL};

/// Most bytes of an answer that are handed to hyper at once, over HTTP/2: a frame's default size
/// (RFC 9113 §6.5.2).
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// The progress of the stream whose task is being polled.
    static STREAM: Arc<StreamProgress>;
}

/// Since when the client of a stream has not taken what was sent; `None` while weir has nothing for
/// it.
#[derive(Debug, Default)]
struct StreamProgress(Mutex<Option<Instant>>);

/// Executor that puts hyper's tasks (HTTP/2 streams) under a tracker, and ends those that stall.
#[derive(Clone)]
pub(super) struct TrackedExecutor(pub(super) TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(end_when_stalled(task));
    }
}

/// Polls a stream's task until it is over, or its client has taken nothing for too long. Dropped
/// early, it resets the stream.
async fn end_when_stalled(task: impl Future) {
    let progress = Arc::new(StreamProgress::default());
    let mut task = pin!(task);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let poll = || task.as_mut().poll(cx).map(drop);
        if STREAM.sync_scope(Arc::clone(&progress), poll).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *progress.0.lock() else {
            return Poll::Pending;
        };
        let due = since + STALL;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("a stream was reset: its client does not read");
        Poll::Ready(())
    })
    .await;
}

/// Body of an answer, with the guard of its request.
pub(super) struct TrackedBody {
    body: Body,
    _under_way: RequestUnderWay,
    /// Over HTTP/2. In a box: over HTTP/1.1 an idle stream of changes should take no more for it.
    pieces: Option<Box<StreamPieces>>,
}

/// An answer over HTTP/2, which is sent in pieces.
struct StreamPieces {
    progress: Arc<StreamProgress>,
    /// The part of a large frame that is still to be sent.
    rest: Bytes,
    /// Whether there was one: then the end is sent by itself, once the last piece is taken.
    is_large: bool,
}

impl TrackedBody {
    /// Wraps the body of an answer in the task that sends it.
    pub(super) fn new(body: Body, under_way: RequestUnderWay) -> Self {
        let progress = STREAM.try_with(Arc::clone).ok();
        let pieces = progress.map(|progress| {
            Box::new(StreamPieces {
                progress,
                rest: Bytes::new(),
                is_large: false,
            })
        });
        Self {
            body,
            _under_way: under_way,
            pieces,
        }
    }
}

impl StreamPieces {
    /// Returns the next frame of a body, or the next piece of a large one.
    fn poll_frame(
        &mut self,
        body: &mut Body,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Asked for more: what was sent before has been taken.
        *self.progress.0.lock() = None;
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(body).poll_frame(context));
            let data = match frame {
                Some(Ok(frame)) => frame.into_data(),
                end => return Poll::Ready(end),
            };
            match data {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
            self.is_large |= self.rest.len() > PIECE;
        }
        *self.progress.0.lock() = Some(Instant::now());
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, pieces, .. } = &mut *self;
        match pieces {
            Some(pieces) => pieces.poll_frame(body, context),
            None => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_large = |pieces: &StreamPieces| pieces.is_large;
        !self.pieces.as_deref().is_some_and(is_large) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use axum::response::Response;
    use http::{Request, Version};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Incoming;
    use hyper::client::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioIo, TokioTimer};

    use super::super::activity::Activity;
    use super::*;

    const LARGE: usize = 1 << 20;

    /// The answer to a path: `/large`, in one piece, or a small one.
    fn answer(path: &str) -> Response<TrackedBody> {
        let length = if path == "/large" { LARGE } else { 10 };
        let activity = Arc::new(Activity::new(Duration::from_secs(9)));
        let under_way = activity.begin(Version::HTTP_2, None);
        Response::new(TrackedBody::new(Body::from(vec![b'x'; length]), under_way))
    }

    /// A client whose streams have this window, and its server.
    async fn connect(window: u32, tasks: &TaskTracker) -> http2::SendRequest<Empty<Bytes>> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let executor = TrackedExecutor(tasks.clone());
        let server = hyper::server::conn::http2::Builder::new(executor);
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(answer(request.uri().path()))
        });
        tasks.spawn(server.serve_connection(TokioIo::new(far), service));
        let (client, connection) = http2::Builder::new(TrackedExecutor(TaskTracker::new()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(near))
            .await
            .unwrap();
        tasks.spawn(connection);
        client
    }

    async fn get(
        client: &mut http2::SendRequest<Empty<Bytes>>,
        path: &str,
    ) -> http::Response<Incoming> {
        let uri = format!("http://localhost{path}");
        let request = Request::get(uri).body(Empty::new()).unwrap();
        client.send_request(request).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_is_reset_and_the_others_go_on() {
        let tasks = TaskTracker::new();
        let mut client = connect(1_000, &tasks).await;
        let unread = get(&mut client, "/large").await;
        tokio::time::sleep(STALL / 2).await;
        let small = get(&mut client, "/small").await;
        assert_eq!(small.collect().await.unwrap().to_bytes().len(), 10);
        let running = tasks.len();
        tokio::time::sleep(STALL).await;
        assert_eq!(tasks.len(), running - 1, "its task has ended");
        assert!(unread.collect().await.is_err(), "reset");
        let small = get(&mut client, "/small").await;
        assert_eq!(small.collect().await.unwrap().to_bytes().len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_read_slowly_is_sent_whole() {
        let tasks = TaskTracker::new();
        let mut client = connect(64 << 10, &tasks).await;
        let mut slow = get(&mut client, "/large").await.into_body();
        let mut read = 0;
        while let Some(frame) = slow.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            tokio::time::sleep(STALL / 4).await;
        }
        assert_eq!(read, LARGE);
    }
}
