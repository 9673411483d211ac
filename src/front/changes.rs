//! Bodies of HTTP answers that stream changes: messages that belong to no call.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;

use crate::front::standing::Standing;
use crate::protocol::sse;
use crate::record::Record;
use crate::relay::{ChangeEvent, Changes};

/// The end of a stream that answers a request.
pub(super) struct ListenEnd {
    /// The last event.
    pub(super) last: Bytes,
    /// The record of the request.
    pub(super) record: Record,
}

/// A stream of changes, and what is held until it ends. Its future holds a pointer to it: many streams
/// are idle at once.
struct ChangeStream<R, H> {
    first: Option<Bytes>,
    changes: Option<Changes>,
    ending: Option<Box<ListenEnd>>,
    keep_alive: Duration,
    render: R,
    standing: Standing,
    _held: H,
}

/// Makes the body of a stream: `first`, then each change as `render` writes it (method, params),
/// then the ending if there is one, with a comment after each `keep_alive` of silence. It ends with the
/// credential of its caller. `held` is dropped with the body.
pub(super) fn body<R, H>(
    first: Bytes,
    keep_alive: Duration,
    changes: Changes,
    render: R,
    ending: Option<Box<ListenEnd>>,
    (standing, held): (Standing, H),
) -> Body
where
    R: Fn(&'static str, Option<&str>) -> Bytes + Send + 'static,
    H: Send + 'static,
{
    let stream = Box::new(ChangeStream {
        first: Some(first),
        changes: Some(changes),
        ending,
        keep_alive,
        render,
        standing,
        _held: held,
    });
    let events = futures::stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Body::from_stream(events)
}

impl<R: Fn(&'static str, Option<&str>) -> Bytes, H> ChangeStream<R, H> {
    /// Returns the bytes of the next event; `None` after the last one.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let silence = self.standing.silence(self.keep_alive);
        let event = self.changes.as_mut()?.next(silence).await;
        let event = match self.standing.holds() {
            true => event,
            false => ChangeEvent::End,
        };
        Some(match event {
            ChangeEvent::Changed(method) => (self.render)(method, None),
            ChangeEvent::Updated(method, params) => (self.render)(method, Some(&params)),
            ChangeEvent::Message(message) => sse::event(&message),
            ChangeEvent::Silence => sse::KEEP_ALIVE,
            ChangeEvent::End => {
                self.changes = None;
                let ListenEnd { last, mut record } = *self.ending.take()?;
                record.succeed();
                last
            }
        })
    }
}
