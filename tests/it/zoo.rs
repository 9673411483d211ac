//! The bug zoo: upstreams that misbehave in every way known, each a real server beside a healthy one.
//!
//! With each of them, the healthy one's calls succeed and take no longer than those of a second
//! weir, which has the healthy one alone and is called at the same moments; weir's memory stays bounded,
//! operators read what is wrong, and calls of the animal end within their budget. A stopped process and a
//! killed one are in `isolation`.

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

/// The budgets of the animal: none of the default ones, so that the zoo is quick.
const BUDGETS: &str = "    timeouts: { connect: 400ms, list: 800ms, call: 800ms, idle: 500ms }\n    limits: { response_bytes: 1MiB }\n    resync: 1s\n";

/// The longest a call of the animal takes, whatever it does: its budget, and time for a busy machine.
const WITHIN: Duration = Duration::from_secs(10);

/// The least number of calls of each healthy caller.
const CALLS: usize = 30;

/// The most memory that an animal may cost in addition; most cost less than one.
const MEMORY: u64 = 32 << 20;

const QUERY: &str = r#"{"q":1}"#;

/// A weir over a healthy upstream, `well`, and an animal, `beast`; and one over `well` alone.
struct Zoo {
    weir: Weir,
    control: Weir,
    _well: Upstream,
}

/// The times of calls, and of those that were made at the same moments without an animal near:
/// a busy machine makes both slow.
struct Times(Vec<(Duration, Duration)>);

impl Times {
    fn median(&self, of: impl Fn(&(Duration, Duration)) -> Duration) -> Duration {
        let mut times: Vec<_> = self.0.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// A caller that waits for the animal waits for a budget of it; both would, so one odd call is
    /// no proof.
    fn are_alike(&self, slack: Duration) {
        let (with, without) = (self.median(|pair| pair.0), self.median(|pair| pair.1));
        assert!(
            with < without * 4 + slack / 4,
            "p50: {with:?}, alone {without:?}"
        );
        let mut more: Vec<_> = self
            .0
            .iter()
            .map(|pair| pair.0.saturating_sub(pair.1))
            .collect();
        more.sort_unstable();
        // The median is what shows a wait behind the animal; a machine with too much to do makes odd ones odder.
        let worst = more[more.len() - 2];
        assert!(worst < slack * 8, "{worst:?} longer than alone");
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
    beside_with(animal, Duration::from_millis(400), MEMORY, misbehave).await;
}

/// The same, where a healthy call may take so much longer than alone, and weir so much more memory.
async fn beside_with(
    animal: &str,
    slack: Duration,
    memory: u64,
    misbehave: impl AsyncFnOnce(&Zoo),
) {
    let well = Upstream::named("well").tools(["search"]).start().await;
    let well_yaml = format!("  well:\n    url: \"{}\"\n", well.url());
    let both = format!("{well_yaml}{animal}");
    let zoo = Zoo {
        weir: Weir::with(&both).start().await,
        control: Weir::with(&well_yaml).start().await,
        _well: well,
    };
    let over = AtomicBool::new(false);
    let script = async {
        misbehave(&zoo).await;
        over.store(true, Ordering::Relaxed);
    };
    let ((), times) = tokio::join!(script, zoo.call_well(&over));
    times.are_alike(slack);
    let grown = zoo
        .weir
        .peak_memory()
        .saturating_sub(zoo.control.peak_memory());
    assert!(grown < memory, "{} KiB more than alone", grown >> 10);
}

impl Zoo {
    /// Calls the healthy upstream from both eras until `over`, through both weirs at once.
    async fn call_well(&self, over: &AtomicBool) -> Times {
        let (with, without) = (Client::both(&self.weir), Client::both(&self.control));
        let (with, without) = tokio::join!(with, without);
        let timed = async |caller: &Client| {
            let begun = Instant::now();
            let reply = caller.call("well__search", QUERY).await;
            assert_eq!(reply.text(), r#"well.search {"q":1}"#);
            begun.elapsed()
        };
        let call = async |(with, without): (&Client, &Client)| {
            let mut times = Vec::new();
            while times.len() < CALLS || !over.load(Ordering::Relaxed) {
                times.push(tokio::join!(timed(with), timed(without)));
                // A caller that thinks a little: the zoo is no load test.
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            times
        };
        let times = futures::future::join_all(with.iter().zip(&without).map(call)).await;
        Times(times.concat())
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
