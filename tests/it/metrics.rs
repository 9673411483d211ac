//! The metrics: well-formed, complete, true, and without any text of a caller.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use weir::metrics::names;

use crate::support::bounded;
use crate::support::client::{Legacy, pool};
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::{Weir, child_upstream};

/// One scrape, read line by line. Whatever is not as the format wants it fails the test.
struct Scrape {
    /// Help and type of each metric, by its name as announced.
    families: BTreeMap<String, (String, String)>,
    /// Value by series: the line up to the value.
    values: BTreeMap<String, f64>,
    text: String,
}

async fn get(weir: &Weir, accept: &str) -> (String, String) {
    let ask = pool()
        .get(weir.admin_url("/metrics"))
        .header("accept", accept);
    let answer = bounded("the metrics", ask.send()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (kind, answer.text().await.unwrap())
}

async fn scrape(weir: &Weir) -> Scrape {
    let (kind, text) = get(weir, "*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    Scrape::read(&text)
}

/// Takes `name="value"` pairs apart, up to the closing brace; gives names, values unescaped, and what follows.
fn labels(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("the value ends") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => panic!("escape of {c}"),
                },
                (_, c) => value.push(c),
            }
        };
        found.push((name.to_owned(), value));
        match after[end + 1..].split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (found, more),
            (c, _) => panic!("`{c}` after a label"),
        }
    }
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut scrape = Self {
            families: BTreeMap::new(),
            values: BTreeMap::new(),
            text: text.to_owned(),
        };
        let mut current = (String::new(), String::new());
        assert!(text.ends_with('\n'));
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line == "# EOF" {
                assert_eq!(lines.next(), None);
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
                let kind = kind.strip_prefix(name).unwrap().trim();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let value = (help.to_owned(), kind.to_owned());
                assert!(
                    scrape.families.insert(name.to_owned(), value).is_none(),
                    "{name} twice"
                );
                current = (name.to_owned(), kind.to_owned());
            } else {
                scrape.sample(line, &current);
            }
        }
        scrape.histograms_add_up();
        scrape
    }

    fn sample(&mut self, line: &str, (family, kind): &(String, String)) {
        let name = line.split(['{', ' ']).next().unwrap();
        let suffix = name.strip_prefix(family.as_str()).expect("its own family");
        let suffixes: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "counter" => &["", "_total"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        let rest = &line[name.len()..];
        let rest = match rest.strip_prefix('{') {
            Some(rest) => {
                let (labels, rest) = labels(rest);
                let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
                assert_eq!(names.len(), labels.len(), "a label twice: {line}");
                rest
            }
            None => rest,
        };
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let series = line[..line.len() - rest.len()].to_owned();
        assert!(self.values.insert(series, value).is_none(), "twice: {line}");
    }

    fn histograms_add_up(&self) {
        for (series, count) in &self.values {
            let Some((family, labels)) = series.split_once("_count{") else {
                continue;
            };
            let labels = labels.strip_suffix('}').unwrap();
            let prefix = format!("{family}_bucket{{{labels},le=\"");
            let buckets = self.values.iter().filter_map(|(series, count)| {
                let bound = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                Some((bound.parse::<f64>().unwrap(), *count))
            });
            let mut buckets: Vec<_> = buckets.collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                buckets.is_sorted_by(|a, b| a.1 <= b.1),
                "{series}: {buckets:?}"
            );
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{series}");
            assert!(
                self.values
                    .contains_key(&format!("{family}_sum{{{labels}}}"))
            );
        }
    }

    fn of(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    fn calls(&self, upstream: &str, tool: &str, outcome: &str) -> Option<f64> {
        let labels = format!("upstream=\"{upstream}\",method=\"tools/call\",tool=\"{tool}\"");
        self.of(&format!(
            "weir_calls_total{{{labels},outcome=\"{outcome}\"}}"
        ))
    }
}

/// Scrapes until it holds.
async fn until(weir: &Weir, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    bounded(what, async {
        loop {
            let scrape = scrape(weir).await;
            if holds(&scrape) {
                return scrape;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

async fn shop() -> Upstream {
    Upstream::named("shop")
        .tools(["search", "slow"])
        .prompts(["greet"])
        .resources(["file:///a"])
        .errors(
            "refuses",
            r#"{"code":-32602,"message":"the order is closed"}"#,
        )
        .gate("slow")
        .start()
        .await
}

#[tokio::test]
async fn every_metric_is_there_and_every_line_can_be_read() {
    let shop = shop().await;
    let kid = child_upstream("kid", &[]);
    let login = "auth: { type: bearer, token: { value: t } }";
    let yaml = format!("  shop: {{ url: \"{}\", {login} }}\n{kid}", shop.url());
    let rules = "limits: { rates: [{ per: caller, requests: 100/1m }] }\nguard: { redact: { towards_upstream: { EMAIL: report } }, validate: { invisible: { arguments: report } } }\nhooks: { gone: { socket: gone.sock, on_failure: pass } }";
    let weir = Weir::with(&yaml).top(rules).start().await;
    let address = r#"{"q":"ann@example.com \u200b"}"#;
    let modern = weir.modern();
    assert!(modern.call("shop__search", address).await.succeeded());
    assert!(!modern.call("shop__refuses", "{}").await.succeeded());
    let legacy = weir.legacy("2025-11-25").await;
    assert!(legacy.call("kid__echo", "{}").await.succeeded());
    let scrape = scrape(&weir).await;
    let announced: Vec<_> = scrape.families.keys().map(String::as_str).collect();
    let mut known: Vec<_> = names::ALL.iter().map(|family| family.name).collect();
    known.sort_unstable();
    assert_eq!(announced, known);
    for family in names::ALL {
        let (help, kind) = &scrape.families[family.name];
        assert_eq!(
            (help.as_str(), kind.as_str()),
            (family.help, family.kind.as_str())
        );
        // A bearer token does not say when it ends. Without tokens of callers and policies there is no
        // cache.
        if [names::CREDENTIALS_EXPIRE.name, names::CACHE.name].contains(&family.name) {
            continue;
        }
        let has = |series: &String| series.starts_with(family.name);
        assert!(scrape.values.keys().any(has), "nothing of {}", family.name);
    }
    let ok = r#"weir_credential_state{upstream="shop",state="ok"}"#;
    assert_eq!(scrape.of(ok), Some(1.0));
    assert_eq!(scrape.of("weir_legacy_sessions"), Some(1.0));
    assert_eq!(
        scrape.of(r#"weir_listing_items{upstream="shop",kind="tools"}"#),
        Some(3.0)
    );
    assert_eq!(scrape.of(r#"weir_catalog_items{kind="tools"}"#), Some(4.0));
    assert_eq!(
        scrape.of(r#"weir_upstream_sessions{upstream="kid"}"#),
        Some(1.0)
    );
    let generation = weir.generation().await as f64;
    assert_eq!(scrape.of("weir_generation"), Some(generation));
    assert_eq!(scrape.of("weir_publications_total"), Some(generation));
    assert!(scrape.of("process_open_fds").unwrap() > 5.0);
    assert!(scrape.of("process_resident_memory_bytes").unwrap() > 1e6);
}

#[tokio::test]
async fn open_metrics_is_for_those_who_ask_for_it() {
    let shop = shop().await;
    let weir = Weir::over([&shop]).start().await;
    assert!(weir.modern().call("shop__search", "{}").await.succeeded());
    let (kind, text) = get(
        &weir,
        "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
    )
    .await;
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("\n# EOF\n"));
    let scrape = Scrape::read(&text);
    assert_eq!(scrape.families["weir_calls"].1, "counter");
    assert_eq!(scrape.calls("shop", "shop__search", "ok"), Some(1.0));
}

#[tokio::test]
async fn calls_are_counted_by_how_they_ended() {
    let shop = shop().await;
    let weir = Weir::over([&shop])
        .upstream("shop", "timeouts: { call: 1s }")
        .start()
        .await;
    let modern = weir.modern();
    for _ in 0..3 {
        assert!(modern.call("shop__search", "{}").await.succeeded());
    }
    assert_eq!(modern.call("shop__refuses", "{}").await.code(), -32602);
    let read = modern
        .request("resources/read", r#"{"uri":"file:///a"}"#)
        .await;
    assert!(read.succeeded(), "{read:?}");
    // The caller leaves.
    let client = weir.modern();
    let mut left = JoinSet::new();
    left.spawn(async move { client.call("shop__slow", "{}").await });
    shop.wait_running("slow", 1).await;
    drop(left);
    shop.wait_running("slow", 0).await;
    // No server answers there.
    assert_eq!(modern.call("shop__slow", "{}").await.code(), -32603);
    let labels = r#"upstream="shop",method="tools/call",tool="shop__slow""#;
    let scrape = until(&weir, "the calls", |scrape| {
        scrape.of(&format!("weir_call_duration_seconds_count{{{labels}}}")) == Some(2.0)
    })
    .await;
    for (tool, outcome, count) in [
        ("shop__search", "ok", 3.0),
        ("shop__refuses", "error", 1.0),
        ("shop__slow", "cancelled", 1.0),
        ("shop__slow", "failed", 1.0),
    ] {
        assert_eq!(
            scrape.calls("shop", tool, outcome),
            Some(count),
            "{}",
            scrape.text
        );
    }
    let read = r#"weir_calls_total{upstream="shop",method="resources/read",tool="",outcome="ok"}"#;
    assert_eq!(scrape.of(read), Some(1.0));
    let sum = scrape.of(&format!("weir_call_duration_seconds_sum{{{labels}}}"));
    assert!(sum.unwrap() >= 1.0);
    assert_eq!(
        scrape.of(r#"weir_errors_total{blame="upstream"}"#),
        Some(1.0)
    );
}

#[tokio::test]
async fn errors_are_counted_by_who_has_to_act_and_answers_by_status() {
    let shop = shop().await;
    let gone = Upstream::named("gone").tools(["search"]).start().await;
    let weir = Weir::over([&shop, &gone]).start().await;
    gone.stop().await;
    let modern = weir.modern();
    assert_eq!(modern.call("gone__search", "{}").await.code(), -32603);
    assert_eq!(modern.call("no__such", "{}").await.code(), -32602);
    assert_eq!(modern.request("no/such", "{}").await.status, 404);
    assert_eq!(
        modern
            .ask("tools/list", "{}")
            .header("origin", "http://evil")
            .send()
            .await
            .status,
        403
    );
    let scrape = scrape(&weir).await;
    let errors = ["caller", "upstream", "weir"].map(|blame| {
        scrape
            .of(&format!("weir_errors_total{{blame=\"{blame}\"}}"))
            .unwrap()
    });
    assert_eq!(errors, [2.0, 1.0, 0.0]);
    for (code, count) in [(200, 2.0), (403, 1.0), (404, 1.0)] {
        let series = format!("weir_http_responses_total{{code=\"{code}\"}}");
        assert_eq!(scrape.of(&series), Some(count), "{}", scrape.text);
    }
    weir.resync("gone").await;
    until(&weir, "the outage", |scrape| {
        scrape.of(r#"weir_upstream_up{upstream="gone"}"#) == Some(0.0)
            && scrape.of(r#"weir_upstream_up{upstream="shop"}"#) == Some(1.0)
            && scrape.of(r#"weir_resyncs_total{upstream="gone",outcome="failed"}"#) > Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn what_is_under_way_shows() {
    let shop = shop().await;
    let weir = Weir::over([&shop])
        .upstream("shop", "limits: { in_flight: 2 }")
        .start()
        .await;
    let series = |name: &str| format!("{name}{{upstream=\"shop\"}}");
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let client = weir.modern();
        calls.spawn(async move { client.call("shop__slow", "{}").await });
    }
    until(&weir, "five calls", |scrape| {
        scrape.of(&series("weir_calls_in_flight")) == Some(2.0)
            && scrape.of(&series("weir_calls_queued")) == Some(3.0)
    })
    .await;
    let legacy = weir.legacy("2025-11-25").await;
    let (get, modern) = (legacy.listen().await, weir.modern());
    let listens = [
        modern.listen("1", r#"{"toolsListChanged":true}"#).await,
        modern.listen("2", "{}").await,
    ];
    until(&weir, "the streams", |scrape| {
        scrape.of("weir_get_streams") == Some(1.0) && scrape.of("weir_listen_streams") == Some(2.0)
    })
    .await;
    drop((get, listens));
    for _ in 0..5 {
        shop.release("slow");
    }
    for reply in bounded("the calls", calls.join_all()).await {
        assert!(reply.succeeded(), "{reply:?}");
    }
    until(&weir, "calm", |scrape| {
        ["weir_get_streams", "weir_listen_streams"]
            .iter()
            .all(|name| scrape.of(name) == Some(0.0))
            && scrape.of(&series("weir_calls_in_flight")) == Some(0.0)
            && scrape.of(&series("weir_calls_queued")) == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn nothing_that_was_said_shows() {
    const PLANTED: &str = "planted";
    let shop = Upstream::named("shop")
        .tools(["search"])
        .bearer("planted-token")
        .answers(
            "search",
            r#"{"content":[{"type":"text","text":"planted-result"}]}"#,
        )
        .errors("refuses", r#"{"code":-32000,"message":"planted-error"}"#)
        .start()
        .await;
    let weir = Weir::over([&shop])
        .upstream(
            "shop",
            "auth: { type: bearer, token: { value: planted-token } }",
        )
        .start()
        .await;
    let legacy = weir.legacy("2025-11-25").await;
    for tool in [
        "shop__search",
        "shop__refuses",
        "planted__tool",
        "shop__planted",
    ] {
        let params = format!(r#"{{"name":"{tool}","arguments":{{"q":"planted-argument"}}}}"#);
        let ask = legacy.ask("tools/call", &params);
        let ask = ask
            .header("x-request-id", "planted-id")
            .header("baggage", "planted=planted");
        ask.meta("planted", "\"planted\"").send().await;
    }
    legacy
        .request("resources/read", r#"{"uri":"planted://uri"}"#)
        .await;
    legacy.request("prompts/get", r#"{"name":"planted"}"#).await;
    legacy.request("planted/method", "{}").await;
    let strange = Legacy::resume(weir.url(), "planted", "2025-11-25");
    strange.request("tools/list", "{}").await;
    shop.fault(
        On::Tool("search".to_owned()),
        Times::Forever,
        Fault::Status(500),
    );
    legacy.call("shop__search", "{}").await;
    let scrape = scrape(&weir).await;
    assert!(!scrape.text.contains(PLANTED), "{}", scrape.text);
    assert_eq!(
        scrape.calls("shop", "shop__search", "ok"),
        Some(1.0),
        "{}",
        scrape.text
    );
    assert_eq!(scrape.calls("shop", "shop__search", "failed"), Some(1.0));
    assert_eq!(scrape.calls("shop", "shop__refuses", "error"), Some(1.0));
}
