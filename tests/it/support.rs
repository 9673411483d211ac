//! The other sides of the tests: real MCP servers that can be scripted, and clients that show
//! bytes.

pub mod agentcore;
pub mod asking;
pub mod aws;
pub mod balancer;
pub mod client;
pub mod hook;
pub mod issuer;
pub mod lens;
pub mod otlp;
pub mod principals;
pub mod prowler;
pub mod ran;
pub mod runtime;
pub mod saas;
#[path = "../../src/authentication/jwt/tests/signing.rs"]
pub mod signing;
pub mod socket;
pub mod store;
pub mod swallower;
pub mod tls;
pub mod token_server;
pub mod upstream;
pub mod weir;

use std::collections::BTreeSet;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::{Mutex, Once};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::value::RawValue;

/// A port that stays free between being let go and being bound again. It is below the range that the
/// system gives to outgoing connections and to port 0, and no test of this process gets it again.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        // A fresh `RandomState` is the standard library's source of random numbers.
        let random = std::hash::RandomState::new().hash_one(());
        let port = PORTS.start + (random % PORTS.len() as u64) as u16;
        let is_new = GIVEN.lock().unwrap().insert(port);
        if is_new && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The longest any wait in a test takes before the test fails. Shorter than what weir waits for by default.
pub const BOUND: Duration = Duration::from_secs(30);

/// The members of a JSON object, in order, values as the bytes that arrived.
pub type Fields = IndexMap<String, Box<RawValue>>;

/// Reads one JSON object; numbers are not looked at, so `1e400` passes.
pub fn fields(text: &str) -> Option<Fields> {
    serde_json::from_str(text).ok()
}

/// Writes members back.
pub fn object(fields: &Fields) -> String {
    let members: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{}:{}", quote(key), value.get()))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// JSON text of a string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of a JSON string; `None` if the JSON is something else.
pub fn unquote(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// JSON text as a raw value.
pub fn raw(text: impl Into<String>) -> Box<RawValue> {
    let text = text.into();
    RawValue::from_string(text.clone()).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

/// A member of an object inside objects, as it was written.
pub fn at(text: &str, path: &[&str]) -> Option<String> {
    let mut here = text.to_owned();
    for key in path {
        here = fields(&here)?.get(*key)?.get().to_owned();
    }
    Some(here)
}

/// Waits for what must happen; fails the test with `what` if it does not.
pub async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {BOUND:?} for {what}"),
    }
}

/// Has something done that must take less than `limit`, and no wait of its own can show that. A machine that halts for
/// a moment makes it late once; weir would make it late each time.
pub async fn prompt(limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < 4 {
        let last = attempt().await;
        if last < limit {
            return;
        }
        took.push(last);
    }
    panic!("never within {limit:?}: {took:?}");
}

/// Installs the TLS provider, once for the whole binary: reqwest is built without one.
pub fn tls() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
