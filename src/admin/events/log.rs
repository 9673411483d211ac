//! The last events, and what tells that there is something new.

use std::collections::VecDeque;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// The most events that are kept.
const MOST: usize = 500;
/// The longest text of an event, in characters.
const LONGEST: usize = 500;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct WeirEvent {
    /// Its number: one more than that of the one before.
    pub number: u64,
    /// When it was seen: RFC 3339, in UTC.
    pub time: String,
    /// Its kind: `publication`, `reload`, `state`, `circuit`, `credentials`, `list`, `quarantine`,
    /// `drift`, `on_publish`.
    pub kind: &'static str,
    /// The upstream that it is about.
    pub upstream: Option<String>,
    /// Whether somebody should look at it.
    pub is_bad: bool,
    /// A sentence that says it.
    pub text: String,
}

/// Numbers of which one grows when something of its kind has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The weir whose numbers these are: when it started, in microseconds.
    pub weir: u64,
    /// The snapshot.
    pub generation: u64,
    /// The states of the upstreams, and reloads.
    pub states: u64,
    /// The last event.
    pub events: u64,
    /// The lines of the record file.
    pub records: u64,
}

impl Signs {
    /// Reads what `Display` writes; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(5, '.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            weir: next()?,
            generation: next()?,
            states: next()?,
            events: next()?,
            records: next()?,
        })
    }
}

impl std::fmt::Display for Signs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            weir,
            generation,
            states,
            events,
            records,
        } = self;
        write!(f, "{weir}.{generation}.{states}.{events}.{records}")
    }
}

/// The last events, and a notification of changes.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<VecDeque<WeirEvent>>,
    signs: watch::Sender<Signs>,
}

impl Default for EventLog {
    fn default() -> Self {
        let started = DateTime::<Utc>::from(SystemTime::now());
        let signs = Signs {
            weir: started.timestamp_micros().unsigned_abs(),
            ..Signs::default()
        };
        Self {
            kept: Mutex::default(),
            signs: watch::Sender::new(signs),
        }
    }
}

impl EventLog {
    /// Returns the events after one with this number, the oldest first.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<WeirEvent> {
        let kept = self.kept.lock();
        kept.iter()
            .filter(|event| event.number > number)
            .cloned()
            .collect()
    }

    /// Returns a receiver of what has changed.
    #[must_use]
    pub fn signs(&self) -> watch::Receiver<Signs> {
        self.signs.subscribe()
    }

    /// Changes the signs. `change` returns whether there is something to tell.
    pub(super) fn notify(&self, change: impl FnOnce(&mut Signs) -> bool) {
        self.signs.send_if_modified(change);
    }

    /// Adds events, and forgets the oldest. Returns the number of the last one.
    pub(super) fn add(&self, found: Vec<FoundEvent>) -> u64 {
        let mut kept = self.kept.lock();
        let mut last = kept.back().map_or(0, |event| event.number);
        let now = DateTime::<Utc>::from(SystemTime::now());
        let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        for event in found {
            last += 1;
            kept.push_back(WeirEvent {
                number: last,
                time: time.clone(),
                kind: event.kind,
                upstream: event.upstream,
                is_bad: event.is_bad,
                text: event.text.chars().take(LONGEST).collect(),
            });
            if kept.len() > MOST {
                kept.pop_front();
            }
        }
        last
    }
}

/// An event that has no number yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundEvent {
    pub(super) kind: &'static str,
    pub(super) upstream: Option<String>,
    pub(super) is_bad: bool,
    pub(super) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> FoundEvent {
        FoundEvent {
            kind: "state",
            upstream: None,
            is_bad: false,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_last_events_are_kept_under_their_numbers() {
        let log = EventLog::default();
        let many = (0..MOST + 5).map(|number| event(&number.to_string()));
        assert_eq!(log.add(many.collect()), MOST as u64 + 5);
        let kept = log.after(0);
        assert_eq!(kept.len(), MOST);
        assert_eq!((kept[0].number, &*kept[0].text), (6, "5"));
        assert_eq!(log.after(MOST as u64 + 4).len(), 1);
        log.add(vec![event(&"x".repeat(LONGEST + 9))]);
        assert_eq!(log.after(MOST as u64 + 5)[0].text.len(), LONGEST);
    }
}
