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

/// Makes the body of a stream: `first`, then each change as `render` writes it (method, params),
/// then the ending if there is one, with a comment after each `keep_alive` of silence. It ends with the
/// credential of its caller. `held` is dropped with the body.
pub(super) fn body(
    first: Bytes,
    keep_alive: Duration,
    changes: Changes,
    render: impl Fn(&'static str, Option<&str>) -> Bytes + Send + 'static,
    ending: Option<Box<ListenEnd>>,
    held: (Standing, impl Send + 'static),
) -> Body {
    let state = (Some(first), Some(changes), ending, render, held);
    let stream = futures::stream::unfold(
        state,
        move |(first, changes, ending, render, held)| async move {
            let ok = Ok::<_, Infallible>;
            if let Some(first) = first {
                return Some((ok(first), (None, changes, ending, render, held)));
            }
            let mut changes = changes?;
            let (standing, _) = &held;
            let event = changes.next(standing.silence(keep_alive)).await;
            let event = match standing.holds() {
                true => event,
                false => ChangeEvent::End,
            };
            let bytes = match event {
                ChangeEvent::Changed(method) => render(method, None),
                ChangeEvent::Updated(method, params) => render(method, Some(&params)),
                ChangeEvent::Message(message) => sse::event(&message),
                ChangeEvent::Silence => sse::KEEP_ALIVE,
                ChangeEvent::End => {
                    let ListenEnd { last, mut record } = *ending?;
                    record.succeed();
                    return Some((ok(last), (None, None, None, render, held)));
                }
            };
            Some((ok(bytes), (None, Some(changes), ending, render, held)))
        },
    );
    Body::from_stream(stream)
}
