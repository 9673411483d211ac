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
/// How often ages are shown anew, whatever else is told.
const TICK: Duration = Duration::from_secs(10);
/// The least time between two messages.
const PAUSE: Duration = Duration::from_millis(500);

/// An open stream.
struct SignStream {
    signs: watch::Receiver<Signs>,
    told: Signs,
    /// When the next tick is due.
    tick: Instant,
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
        tick: Instant::now() + TICK,
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
        if let Ok(Err(_)) = tokio::time::timeout_at(self.tick, changes).await {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
        let now = *self.signs.borrow_and_update();
        self.told = now;
        let mut names = changed(&told, &now);
        if Instant::now() >= self.tick {
            names.push("weir-tick");
            self.tick = Instant::now() + TICK;
        }
        Some(message(&names))
    }
}

/// Returns the names of what has changed: all of them since the signs of another weir, whose numbers
/// may be the same.
fn changed(before: &Signs, now: &Signs) -> Vec<&'static str> {
    let is_other = before.weir != now.weir;
    let pairs = [
        ("weir-state", before.states != now.states),
        ("weir-catalog", before.generation != now.generation),
        ("weir-events", before.events != now.events),
        ("weir-calls", before.records != now.records),
    ];
    let changed = pairs.into_iter().filter(|(_, has)| is_other || *has);
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
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn signs_are_read_as_they_are_written() {
        let signs = Signs {
            weir: 5,
            generation: 1,
            states: 2,
            events: u64::MAX,
            records: 4,
        };
        assert_eq!(Signs::parse(&signs.to_string()), Some(signs));
        for wrong in ["", "5.1.2.3", "5.1.2.3.4.5", "5.1.2.3.x", "-5.1.2.3.4"] {
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

    #[test]
    fn all_has_changed_since_the_same_signs_of_another_weir() {
        let now = Signs {
            weir: 1,
            generation: 1,
            ..Signs::default()
        };
        let before = Signs { weir: 2, ..now };
        let names = changed(&before, &now);
        assert_eq!(
            names,
            ["weir-state", "weir-catalog", "weir-events", "weir-calls"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_shown_anew_while_something_else_changes_all_the_time() {
        let signs = watch::Sender::new(Signs::default());
        let places = Arc::new(Semaphore::new(1));
        let mut open = SignStream {
            signs: signs.subscribe(),
            told: Signs::default(),
            tick: Instant::now() + TICK,
            ends: Instant::now() + LIFE,
            _place: places.try_acquire_owned().unwrap(),
        };
        let begun = Instant::now();
        let (mut told, mut ticks) = (0, 0);
        while begun.elapsed() < TICK * 2 + PAUSE * 4 {
            signs.send_modify(|signs| signs.records += 1);
            let message = open.next().await.unwrap();
            told += usize::from(message.starts_with(b"event: weir-calls\n"));
            ticks += usize::from(message.ends_with(b"event: weir-tick\ndata:\n\n"));
        }
        assert_eq!(ticks, 2);
        assert!(told >= 40, "{told}");
    }
}
