//! Three weirs with one key. The last one clears some of its upstreams; nobody before them sees a value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::random::Random;
use super::seen::assert_none;
use super::tree::{Fate, Tree};
use super::values::{OWN, Planted};
use super::wire::Wire;
use super::{
    assert_clean, callers, for_each_message, messages, params_of, round_trip, towards_upstream,
    watched,
};
use crate::audit;
use crate::support::bounded;
use crate::support::client::{Client, call_params};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const KEY: &str = "form: sealed, key: { value: a-key-of-forty-characters-and-some-more-0 }";
const AWAY: &str = "{ EMAIL: tokenise, PHONE: tokenise, INTERNATIONAL_BANK_ACCOUNT_NUMBER: tokenise, STAFF: tokenise, CREDIT_DEBIT_CARD_NUMBER: mask }";
const BACK: &str = "{ EMAIL: restore, PHONE: restore, INTERNATIONAL_BANK_ACCOUNT_NUMBER: restore, STAFF: restore, CREDIT_DEBIT_CARD_NUMBER: mask }";

/// The upstreams; the first two get values.
const NAMES: [&str; 4] = ["mail", "bank", "shop", "wiki"];

struct Chain {
    ups: Vec<Upstream>,
    wires: [Wire; 2],
    /// From the callers' on.
    weirs: [Weir; 3],
}

impl Chain {
    async fn start() -> Self {
        let mut ups = Vec::new();
        for (at, name) in NAMES.iter().enumerate() {
            let upstream = Upstream::named(name)
                .tools(["echo"])
                .sse()
                .dribble(5 + 8 * at);
            let upstream = match at % 2 {
                0 => upstream.modern(),
                _ => upstream.legacy("2025-11-25"),
            };
            ups.push(upstream.start().await);
        }
        let guard = |towards_caller: &str| {
            format!(
                "guard: {{ redact: {{ towards_upstream: {AWAY}, towards_caller: {towards_caller}, {OWN}, {KEY} }} }}"
            )
        };
        let mut last = Weir::over(&ups).instance("last").top(&guard(AWAY));
        for name in &NAMES[..2] {
            last = last.upstream(
                name,
                &format!("guard: {{ redact: {{ towards_upstream: {BACK} }} }}"),
            );
        }
        let last = watched(last).start().await;
        let near_last = Wire::to(last.url()).await;
        let middle = Weir::with("")
            .and("last", near_last.url())
            .instance("middle");
        let middle = watched(middle.top(&guard(AWAY))).start().await;
        let near_middle = Wire::to(middle.url()).await;
        let first = Weir::with("")
            .and("middle", near_middle.url())
            .instance("first");
        let first = watched(first.top(&guard(BACK))).start().await;
        first
            .wait_tools([
                "middle__last__mail__echo",
                "middle__last__bank__echo",
                "middle__last__shop__echo",
                "middle__last__wiki__echo",
            ])
            .await;
        Self {
            ups,
            wires: [near_middle, near_last],
            weirs: [first, middle, last],
        }
    }

    async fn call(&self, random: &mut Random, caller: &Client, number: usize) {
        let which = random.below(NAMES.len());
        let tree = Tree::root_without_fields(random);
        let arguments = tree.write(random);
        let tool = format!("middle__last__{}__echo", NAMES[which]);
        let ask = caller.ask("tools/call", &call_params(&tool, &arguments));
        let reply = ask
            .header("x-request-id", &format!("n-{number}"))
            .send()
            .await;
        assert!(reply.succeeded(), "{arguments}: {reply:?}");
        let cleared = |value: &Planted| match towards_upstream(value) {
            Fate::Pseudonym | Fate::Stays => Fate::Stays,
            Fate::Mask => Fate::Mask,
        };
        let params = params_of(&self.ups[which], "tools/call", &format!("n-{number}"));
        let sent = &params["arguments"];
        let fits = match which < 2 {
            true => tree.fits(sent, &cleared),
            false => tree.fits(sent, &towards_upstream),
        };
        assert!(fits, "{tool}: {arguments}\n was sent as {sent}");
        let text = reply.text();
        let (_, echoed) = text.split_once(' ').unwrap();
        let value = serde_json::from_str(echoed);
        let value: Value =
            value.unwrap_or_else(|error| panic!("{arguments}\n came back as {echoed}: {error}"));
        assert!(
            tree.fits(&value, &round_trip),
            "{arguments}\n came back as {echoed}"
        );
    }

    /// The ids of pseudonyms in the records of requests, by their ids, at each weir.
    fn ids(&self) -> [BTreeMap<String, BTreeSet<String>>; 3] {
        self.weirs.each_ref().map(|weir| {
            let calls = calls_in(&weir.home.path().join("audit"));
            let of = |line: audit::Line| {
                let ids = line["redaction_tokens_ids"].clone();
                let ids: Option<BTreeSet<String>> = serde_json::from_value(ids).unwrap();
                let request = line["request_id"].as_str().unwrap().to_owned();
                (request, ids.unwrap_or_default())
            };
            calls.into_iter().map(of).collect()
        })
    }

    async fn assert_clean(self) {
        for wire in &self.wires {
            assert!(wire.kept().len() > 10_000);
            assert_none(&wire.kept(), "the wire between two weirs");
        }
        for upstream in &self.ups[2..] {
            for request in &upstream.log().seen().requests {
                assert_none(&request.body, &upstream.name());
            }
        }
        for weir in self.weirs {
            assert_clean(weir).await;
        }
    }
}

/// The records of calls in a folder, as far as they are written.
fn calls_in(folder: &Path) -> Vec<audit::Line> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let calls = texts.flat_map(|text| {
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter(|line| line.contains("\"tools/call\""));
        let lines = lines.map(|line| serde_json::from_str::<audit::Line>(line).unwrap());
        lines.collect::<Vec<_>>()
    });
    calls
        .filter(|line| line["method"] == "tools/call")
        .collect()
}

#[tokio::test]
async fn over_three_weirs_only_cleared_upstreams_and_callers_see_what_is_planted() {
    let chain = Chain::start().await;
    let callers = callers(&chain.weirs[0]).await;
    let (running, callers) = (&chain, &callers);
    for_each_message(|number| async move {
        let random = &mut Random::new(0x1_0000_0000 + number as u64);
        let caller = random.choose(callers);
        running.call(random, caller, number).await;
    })
    .await;
    for weir in &chain.weirs {
        let folder = weir.home.path().join("audit");
        bounded("the records", async {
            // Another process: nothing to be woken by.
            while calls_in(&folder).len() < messages() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
    let [first, middle, last] = chain.ids();
    assert_eq!(
        (first.len(), middle.len(), last.len()),
        (messages(), messages(), messages())
    );
    let mut correlated = 0;
    for (request, ids) in &first {
        assert!(
            middle[request].is_subset(ids),
            "{request}: {ids:?} {middle:?}"
        );
        // The last one restored for its upstream the pseudonyms that the first one made.
        if !last[request].is_empty() {
            assert_eq!(*ids, last[request], "{request}");
            correlated += 1;
        }
    }
    assert!(correlated > messages() / 4, "{correlated}");
    chain.assert_clean().await;
}
