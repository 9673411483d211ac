//! The bug zoo: upstreams that misbehave in every way known, each a real server beside a healthy one.
//!
//! Whatever the animal does, the healthy one's calls succeed and take as long as before, weir's memory
//! stays bounded, operators read what is wrong, and calls of the animal end within their budget. A stopped
//! process and a killed one are in `isolation`.

mod answers;
mod budgets;
mod children;
mod circuit;
mod doors;
mod lists;
mod retries;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Client, Reply};
use crate::support::upstream::{Builder, Upstream};
use crate::support::weir::Weir;
use crate::upstreams::failed;

/// What the animal may take: nothing of the default budgets, so that the zoo is quick.
const BUDGETS: &str = "    timeouts: { connect: 400ms, list: 600ms, call: 500ms, idle: 250ms }\n    limits: { response_bytes: 1MiB }\n    resync: 1s\n";

/// The longest a call of the animal takes, whatever it does: its budget, and time for a busy machine.
const WITHIN: Duration = Duration::from_secs(3);

/// Calls of each healthy caller in a quiet time, to compare with.
const CALM: usize = 30;

/// How much more memory an animal may cost.
const MEMORY: u64 = 48 << 20;

const QUERY: &str = r#"{"q":1}"#;

/// A weir over a healthy upstream, `well`, and an animal, `beast`.
struct Zoo {
    weir: Weir,
    _well: Upstream,
}

/// How long calls took.
struct Times(Vec<Duration>);

impl Times {
    /// The time that so many percent of the calls stayed below.
    fn at(&self, percent: usize) -> Duration {
        let last = self.0.len() - 1;
        self.0[(self.0.len() * percent / 100).min(last)]
    }

    /// Generous, but not as generous as a budget of the animal: who waits for it is found out.
    fn are_like(&self, calm: &Self, slack: Duration) {
        for (percent, factor) in [(50, 8), (99, 15)] {
            let (now, before) = (self.at(percent), calm.at(percent));
            let most = before * factor + slack;
            assert!(now < most, "p{percent}: {now:?}, calm {before:?}");
        }
    }
}

/// An upstream to be made an animal of, that lists and answers `search`.
fn beast() -> Builder {
    Upstream::named("beast").tools(["search"])
}

/// YAML of an animal at this URL, with the budgets of the zoo.
fn at(url: &str) -> String {
    format!("  beast:\n    url: \"{url}\"\n{BUDGETS}")
}

/// Weir over a healthy upstream and this animal (YAML). `misbehave` is what happens while the healthy
/// one is called all the time.
async fn beside(animal: &str, misbehave: impl AsyncFnOnce(&Zoo)) {
    beside_with(animal, Duration::from_millis(100), MEMORY, misbehave).await;
}

/// The same, with this much slack for the healthy calls, and this much more memory.
async fn beside_with(
    animal: &str,
    slack: Duration,
    memory: u64,
    misbehave: impl AsyncFnOnce(&Zoo),
) {
    let well = Upstream::named("well").tools(["search"]).start().await;
    let well_yaml = format!("  well:\n    url: \"{}\"\n", well.url());
    let weir = Weir::with(&format!("{well_yaml}{animal}")).start().await;
    let zoo = Zoo { weir, _well: well };
    let callers = Client::both(&zoo.weir).await;
    let calm = zoo.call_well(&callers, |calls| calls >= CALM).await;
    let before = zoo.weir.peak_memory();
    let over = AtomicBool::new(false);
    let script = async {
        misbehave(&zoo).await;
        over.store(true, Ordering::Relaxed);
    };
    let meanwhile = zoo.call_well(&callers, |calls| {
        calls >= CALM && over.load(Ordering::Relaxed)
    });
    let ((), times) = tokio::join!(script, meanwhile);
    times.are_like(&calm, slack);
    let grown = zoo.weir.peak_memory() - before;
    assert!(grown < memory, "{} KiB more", grown >> 10);
}

impl Zoo {
    /// Calls the healthy upstream from both eras until `over`, which is told how many calls a caller made.
    async fn call_well(&self, callers: &[Client], over: impl Fn(usize) -> bool) -> Times {
        let call = async |caller: &Client| {
            let mut times = Vec::new();
            while !over(times.len()) {
                let begun = Instant::now();
                let reply = caller.call("well__search", QUERY).await;
                times.push(begun.elapsed());
                assert_eq!(reply.text(), r#"well.search {"q":1}"#);
                // A caller that thinks a little: the zoo is no load test.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            times
        };
        let times = futures::future::join_all(callers.iter().map(call)).await;
        let mut times = times.concat();
        times.sort_unstable();
        Times(times)
    }

    async fn call(&self, tool: &str) -> Reply {
        let begun = Instant::now();
        let tool = format!("beast__{tool}");
        let reply = self.weir.modern().call(&tool, QUERY).await;
        let took = begun.elapsed();
        assert!(took < WITHIN, "{took:?}: {reply:?}");
        reply
    }

    /// A call of the animal works.
    async fn works(&self) {
        let reply = self.call("search").await;
        assert_eq!(reply.text(), r#"beast.search {"q":1}"#);
    }

    /// Waits until the animal is listed.
    async fn listed(&self) -> Value {
        self.weir.wait_told("beast", "state", "up").await
    }

    /// A call of the animal fails for this reason, in public words, and operators read more of it.
    async fn fails(&self, public: &str, operators: &str) {
        let reply = self.call("search").await;
        failed(&reply, "beast");
        assert_eq!(reply.error()["data"]["reason"], public, "{reply:?}");
        let told = self.weir.told("beast").await;
        let reason = told["last_failed_call"]["reason"].as_str();
        assert!(reason.unwrap_or_default().contains(operators), "{told:#}");
        // The upstream itself is as it was.
        assert_eq!(told["calls"]["in_flight"], 0, "{told:#}");
    }

    /// Waits until the animal is failing, and operators read this.
    async fn is_out(&self, operators: &str) -> Value {
        let told = self.weir.wait_told("beast", "reason", operators).await;
        assert_eq!(told["state"], "failing", "{told:#}");
        assert!(told["since_seconds"].is_u64() && told["failing_for_seconds"].is_u64());
        told
    }
}
