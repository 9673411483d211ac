//! The requests that reached a scripted upstream, and a way to wait for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

use crate::support::{BOUND, at};

/// One HTTP request as it arrived.
#[derive(Clone)]
pub struct Recorded {
    /// The HTTP method.
    pub http: Method,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The JSON-RPC method; empty for a response, a batch, or no body.
    pub method: String,
    /// The body as a value; null where serde_json cannot hold it (`1e400`).
    pub value: Value,
}

impl Recorded {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A member inside the body, as it was written: `raw(&["params", "arguments"])`.
    pub fn raw(&self, path: &[&str]) -> Option<String> {
        at(std::str::from_utf8(&self.body).ok()?, path)
    }
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let session = self.header("mcp-session-id").unwrap_or("-");
        let version = self.header("mcp-protocol-version").unwrap_or("-");
        write!(
            f,
            "{} session={session} version={version} {body}",
            self.http
        )
    }
}

/// A call that was given up by the other side.
#[derive(Clone, Debug, PartialEq)]
pub enum Cancelled {
    /// `notifications/cancelled` arrived while the call was running.
    Notified {
        /// The tool.
        tool: String,
    },
    /// The connection was closed while a modern call was running. To a legacy call that means nothing.
    Closed {
        /// The tool.
        tool: String,
    },
    /// `notifications/cancelled` named a request that is not running.
    Stray,
}

/// Everything seen so far.
#[derive(Default, Debug)]
pub struct Seen {
    /// Every request, in order of arrival.
    pub requests: Vec<Recorded>,
    /// Every call given up.
    pub cancelled: Vec<Cancelled>,
    /// The number of calls that are running, by tool.
    pub running: HashMap<String, usize>,
    /// The number of open legacy GET streams and modern listen streams.
    pub listeners: usize,
    /// The most calls that ran at once.
    pub most_running: usize,
}

impl Seen {
    /// The requests with this JSON-RPC method.
    pub fn of(&self, method: &str) -> impl Iterator<Item = &Recorded> {
        let method = method.to_owned();
        self.requests
            .iter()
            .filter(move |request| request.method == method)
    }

    /// Counts the requests that had this JSON-RPC method.
    pub fn count(&self, method: &str) -> usize {
        self.of(method).count()
    }
}

/// The record, shared by the server and the test.
pub struct Log {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Log {
    /// A look at the record.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panics inside the record")
    }

    /// Changes the record and wakes whoever waits.
    pub fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.send_replace(());
    }

    /// Waits until the record satisfies `condition`; fails with the whole record.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !condition(&self.seen()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            panic!("waited {BOUND:?} for {what}; seen: {:#?}", self.seen());
        }
    }
}
