//! The stream of a page: names of what has changed. The page then fetches the part again, so that
//! nothing is drawn for a page that nobody looks at, and nothing waits for a slow reader.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::admin::events::Signs;
use crate::page::state::PageState;

/// The most streams at once.
pub(super) const MOST: usize = 32;
/// How long a stream lasts. The page opens the next one, and then has to be let in again.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// The silence after which ages are shown anew.
const TICK: Duration = Duration::from_secs(10);
/// The least time between two messages.
const PAUSE: Duration = Duration::from_millis(500);

/// An open stream.
struct SignStream {
    signs: watch::Receiver<Signs>,
    told: Signs,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

/// Answers `GET /page/stream`: an event stream of at most two messages a second. The first message names
/// what has changed since the signs in `seen`, which the page was drawn from. 503 beyond [`MOST`] streams.
pub(super) async fn stream(
    State(page): State<Arc<PageState>>,
    RawQuery(query): RawQuery,
) -> Response {
    let Ok(place) = Arc::clone(&page.streams).try_acquire_owned() else {
        let later = (header::RETRY_AFTER, HeaderValue::from_static("30"));
        return (StatusCode::SERVICE_UNAVAILABLE, [later]).into_response();
    };
    let signs = page.operators.events.signs();
    let seen = query
        .as_deref()
        .and_then(|query| query.strip_prefix("seen="));
    let told = seen.and_then(Signs::parse).unwrap_or(*signs.borrow());
    let open = SignStream {
        signs,
        told,
        ends: Instant::now() + LIFE,
        _place: place,
    };
    let begin = futures::stream::once(async { Ok(Bytes::from_static(b": open\n\n")) });
    let rest = futures::stream::unfold(open, |mut open| async move {
        let message = open.next().await?;
        Some((Ok::<_, Infallible>(message), open))
    });
    let body = Body::from_stream(futures::StreamExt::chain(begin, rest));
    let events = HeaderValue::from_static("text/event-stream");
    ([(header::CONTENT_TYPE, events)], body).into_response()
}

impl SignStream {
    /// Waits for the next message; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if Instant::now() >= self.ends {
            return None;
        }
        let told = self.told;
        let changes = self.signs.wait_for(|now| *now != told);
        match tokio::time::timeout(TICK, changes).await {
            Err(_) => return Some(message(&["weir-tick"])),
            Ok(Err(_)) => return None,
            Ok(Ok(_)) => {}
        }
        tokio::time::sleep(PAUSE).await;
        let now = *self.signs.borrow_and_update();
        self.told = now;
        Some(message(&changed(&told, &now)))
    }
}

/// Returns the names of what has changed.
fn changed(before: &Signs, now: &Signs) -> Vec<&'static str> {
    let pairs = [
        ("weir-state", before.states != now.states),
        ("weir-catalog", before.generation != now.generation),
        ("weir-events", before.events != now.events),
        ("weir-calls", before.records != now.records),
    ];
    let changed = pairs.into_iter().filter(|(_, has)| *has);
    changed.map(|(name, _)| name).collect()
}

/// Writes events that have a name only.
fn message(names: &[&str]) -> Bytes {
    let mut text = String::new();
    for name in names {
        text.push_str("event: ");
        text.push_str(name);
        text.push_str("\ndata:\n\n");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_as_they_are_written() {
        let signs = Signs {
            generation: 1,
            states: 2,
            events: u64::MAX,
            records: 4,
        };
        assert_eq!(Signs::parse(&signs.to_string()), Some(signs));
        for wrong in ["", "1.2.3", "1.2.3.4.5", "1.2.3.x", "-1.2.3.4"] {
            assert_eq!(Signs::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_message_names_what_has_changed() {
        let before = Signs::default();
        let now = Signs {
            generation: 1,
            records: 2,
            ..before
        };
        let names = changed(&before, &now);
        assert_eq!(names, ["weir-catalog", "weir-calls"]);
        let text = message(&names);
        assert!(text.starts_with(b"event: weir-catalog\ndata:\n\nevent: weir-calls\n"));
    }
}
