//! The proof that what is planted does not pass: generated messages of every kind, with values at every place
//! that carries text, in every spelling of JSON, over upstreams of every kind and over chains. Nobody sees one
//! who is not cleared for it: no upstream, record, log, metric or file. Who is cleared gets it byte for byte.
//!
//! `WEIR_PROOF=10000 cargo test --test it guard::proof` is the whole of it.

mod back;
mod chain;
mod generated;
mod kinds;
mod lane;
mod random;
mod seen;
mod tree;
mod values;
mod wire;

use futures::StreamExt as _;
use serde_json::Value;

use crate::audit;
use crate::support::client::{Client, pool};
use crate::support::upstream::Upstream;
use crate::support::weir::{ADMIN_TOKEN, Builder, Weir};

use seen::{assert_no_file, assert_none};
use tree::Fate;
use values::Planted;

/// The number of messages that each of the three parts sends.
#[allow(
    clippy::disallowed_methods,
    reason = "how many is not a matter of the weir"
)]
fn messages() -> usize {
    let whole = std::env::var("WEIR_PROOF").ok();
    whole.map_or(300, |whole| whole.parse().unwrap()) / 3
}

/// The number of messages on their way at once: most of the time of one is waiting.
const SIDE_BY_SIDE: usize = 16;

/// Does something with the number of each message, for many at once.
async fn for_each_message<F: Future<Output = ()>>(act: impl Fn(usize) -> F) {
    let numbers = futures::stream::iter(0..messages());
    numbers.for_each_concurrent(SIDE_BY_SIDE, act).await;
}

/// The params of the request with this id, as an upstream got it.
fn params_of(upstream: &Upstream, method: &str, id: &str) -> Value {
    let seen = upstream.log().seen();
    let is_it = |request: &&crate::support::upstream::Recorded| {
        request.method == method && request.header("x-request-id") == Some(id)
    };
    let found = seen.requests.iter().rev().find(is_it);
    found.expect("it arrived").value["params"].clone()
}

/// The fate of a value on its way to an upstream that is not cleared.
fn towards_upstream(value: &Planted) -> Fate {
    match value.class {
        "CREDIT_DEBIT_CARD_NUMBER" => Fate::Mask,
        _ => Fate::Pseudonym,
    }
}

/// The value that the caller gets back: cards are not led back.
fn round_trip(value: &Planted) -> Fate {
    match value.class {
        "CREDIT_DEBIT_CARD_NUMBER" => Fate::Mask,
        _ => Fate::Stays,
    }
}

/// A weir with a record file that has arguments and results in it, and all of the log.
fn watched(builder: Builder) -> Builder {
    builder
        .state()
        .top("audit: { file: audit/weir.jsonl, arguments: redacted, results: redacted, rotate: { bytes: 1MiB } }")
        .env([("WEIR_LOG", "trace".to_owned())])
}

/// Looks for planted values in all that a weir writes and shows. Stops it.
async fn assert_clean(weir: Weir) {
    let http = pool();
    for page in ["/metrics", "/records", "/upstreams", "/catalog", "/"] {
        let asked = http.get(weir.admin_url(page)).bearer_auth(ADMIN_TOKEN);
        let bytes = asked.send().await.unwrap().bytes().await.unwrap();
        assert_none(&bytes, page);
    }
    weir.signal(rustix::process::Signal::TERM);
    let log = weir.home.path().join("audit/weir.jsonl");
    audit::wait_stopped(&log).await;
    assert_none(weir.stderr().as_bytes(), "the log");
    assert_no_file(weir.home.path());
    weir.ended().await;
}

/// Callers of both eras, and of the version before the last.
async fn callers(weir: &Weir) -> [Client; 3] {
    [
        Client::Modern(weir.modern()),
        Client::Legacy(weir.legacy("2025-11-25").await),
        Client::Legacy(weir.legacy("2025-06-18").await),
    ]
}
