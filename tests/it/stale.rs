//! Lists that cannot be renewed say how old they are: to callers, through weirs, and to operators.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::at;
use crate::support::client::{Client, Stream, pool};
use crate::support::upstream::{Builder, Kind, Upstream};
use crate::support::weir::Weir;

/// Listed ten times a second, given up soon, stamped a second after.
const IMPATIENT: &str =
    "resync: 100ms\ntimeouts: { connect: 1s, list: 1s }\nstale: { mark_after: 1s }";

const LISTS: [&str; 4] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];
const EVERY_LIST: &str =
    r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

/// A server with one of each kind.
async fn with_all(builder: Builder) -> Upstream {
    let up = builder.tools(["t"]).prompts(["p"]).start().await;
    up.add_raw(Kind::Resources, r#"{"uri":"file:///r","name":"r"}"#);
    let template = r#"{"uriTemplate":"note://{id}","name":"n"}"#;
    up.add_raw(Kind::Templates, template);
    up
}

/// The stamp on a definition.
fn stamp(definition: &str) -> Option<String> {
    let text = at(definition, &["_meta", "weir/stale"])?;
    serde_json::from_str(&text).unwrap()
}

/// The stamps on all definitions of all kinds, in order.
async fn stamps(client: &Client) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for list in LISTS {
        let definitions = client.list_all(list).await;
        assert!(!definitions.is_empty(), "{list}");
        all.extend(definitions.iter().map(|definition| stamp(definition)));
    }
    all
}

/// The next three notifications of a stream of changes, in the order of their names.
async fn three(stream: &mut Stream) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < 3 {
        let event = stream.next_value().await;
        let method = event["method"].as_str().unwrap();
        if method != "notifications/subscriptions/acknowledged" {
            told.push(method.to_owned());
        }
    }
    told.sort();
    told
}

const CHANGED: [&str; 3] = [
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/tools/list_changed",
];

/// One value of `/metrics`.
async fn metric(weir: &Weir, series: &str) -> f64 {
    let answer = pool().get(weir.admin_url("/metrics")).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}: {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// Returns from `/catalog` whether all tools of an upstream are stale, and its age.
async fn in_catalog(weir: &Weir, upstream: &str) -> (bool, Value) {
    let page = weir.admin("/catalog").await;
    let rows = page["tools"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["upstream"] == upstream);
    let stale: Vec<bool> = rows.map(|row| row["stale"] == true).collect();
    let ages = page["upstreams"].as_array().unwrap();
    let age = ages.iter().find(|age| age["name"] == upstream).unwrap();
    assert!(!stale.is_empty() && stale.iter().all(|is| *is == stale[0]));
    (stale[0], age.clone())
}

/// All that operators and callers are told of `ann` while it is stale and `bob` is not.
async fn told_of_ann(weir: &Weir, callers: &[Client]) {
    let told = weir.told("ann").await;
    let listed = told["listed_at"].as_str().unwrap().to_owned();
    assert_eq!(told["stale"], true);
    let stamp = Some(listed.clone());
    for caller in callers {
        let found = stamps(caller).await;
        for pair in found.chunks(2) {
            assert_eq!(pair, [stamp.clone(), None], "{}", caller.era());
        }
        let tools = caller.list_all("tools/list").await;
        let meta = format!(r#""_meta":{{"weir/origin":["eu"],"weir/stale":"{listed}"}}"#);
        assert!(tools[0].contains(&meta), "{tools:?}");
    }
    let explained = weir.admin("/explain?name=ann__t").await;
    assert_eq!(explained["exposed"][0]["stamped"], listed);
    let of = &explained["exposed"][0]["upstream"]["listed"];
    assert_eq!(of["stale"], true, "{explained}");
    let (stale, age) = in_catalog(weir, "ann").await;
    assert!(stale);
    let of = (&age["stale"], &age["listed_at"]);
    assert_eq!(of, (&true.into(), &listed.into()));
    assert!(!in_catalog(weir, "bob").await.0);
    for (name, stale) in [("ann", 1.0), ("bob", 0.0)] {
        let series = format!("weir_listing_stale{{upstream=\"{name}\"}}");
        assert_eq!(metric(weir, &series).await, stale);
    }
    let age = metric(weir, r#"weir_listing_age_seconds{upstream="ann"}"#).await;
    assert!(age >= 1.0, "{age}");
}

#[tokio::test]
async fn what_is_stale_is_stamped_once_and_until_it_is_listed_again() {
    for builder in [
        Upstream::named("ann").modern(),
        Upstream::named("ann").legacy("2025-11-25"),
    ] {
        let ann = with_all(builder).await;
        let bob = with_all(Upstream::named("bob")).await;
        let weir = Weir::over([&ann, &bob])
            .upstream("ann", IMPATIENT)
            .instance("eu")
            .start()
            .await;
        let callers = Client::both(&weir).await;
        for caller in &callers {
            assert_eq!(stamps(caller).await, vec![None; 8]);
        }
        let before = weir.generation().await;
        let modern = weir.modern();
        let legacy = weir.legacy("2025-06-18").await;
        let mut streams = [legacy.listen().await, modern.listen("1", EVERY_LIST).await];
        ann.stop().await;
        for stream in &mut streams {
            assert_eq!(three(stream).await, CHANGED);
        }
        told_of_ann(&weir, &callers).await;
        assert_eq!(weir.generation().await, before + 1, "stamped once");
        // It fails for some more listings, and nothing more is said of that.
        ann.restart().await;
        for stream in &mut streams {
            assert_eq!(three(stream).await, CHANGED);
        }
        for caller in &callers {
            assert_eq!(stamps(caller).await, vec![None; 8]);
        }
        assert_eq!(weir.told("ann").await["stale"], false);
        assert!(!in_catalog(&weir, "ann").await.0);
        assert_eq!(weir.generation().await, before + 2);
        ann.add_tool("more");
        for stream in &mut streams {
            let next = stream.next_value().await;
            assert_eq!(
                next["method"], CHANGED[2],
                "what was said between is too much"
            );
        }
        assert_eq!(weir.generation().await, before + 3);
    }
}

/// The stamps on the tools of `ann` and of `bob`, as callers of the near weir see them.
type Stamps = (Option<String>, Option<String>);

#[tokio::test]
async fn through_weirs_a_definition_is_as_old_as_its_oldest_part() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let bob = Upstream::named("bob").tools(["b"]).start().await;
    let far = Weir::over([&ann, &bob])
        .upstream("ann", IMPATIENT)
        .instance("far")
        .start()
        .await;
    let near = Weir::over([]).and("far", &far.url()).instance("near");
    let near = near.upstream("far", IMPATIENT).start().await;
    near.wait_tools(["far__ann__a", "far__bob__b"]).await;
    let modern = near.modern();
    let tools = async || modern.list_all("tools/list").await;
    let stamps = async || {
        let tools = tools().await;
        let [ann, bob] = tools.as_slice() else {
            panic!("{tools:?}");
        };
        (stamp(ann), stamp(bob))
    };
    let until = async |what: &str, condition: &dyn Fn(&Stamps) -> bool| {
        crate::support::bounded(what, async {
            loop {
                let now = stamps().await;
                if condition(&now) {
                    return now;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    };
    ann.stop().await;
    // The far weir fails to list, the near one does not: what it hears is as the far one says it.
    let (inner, fresh) = until("the far weir's stamp", &|now| now.0.is_some()).await;
    assert_eq!(fresh, None);
    assert_eq!(far.told("ann").await["listed_at"], *inner.as_ref().unwrap());
    assert_eq!(near.told("far").await["stale"], false);
    let expected = r#""_meta":{"weir/origin":["near","far"],"weir/stale":""#;
    assert!(tools().await[0].contains(expected), "{:?}", tools().await);
    // Both fail: the older time wins.
    far.signal(Signal::STOP);
    let (both, outer) = until("the near weir's stamp", &|now| now.1.is_some()).await;
    assert_eq!(both, inner);
    assert!(outer > inner, "{outer:?} {inner:?}");
    assert_eq!(
        near.told("far").await["listed_at"],
        *outer.as_ref().unwrap()
    );
    far.signal(Signal::CONT);
    let left = until("the end of the near weir's stamp", &|now| now.1.is_none()).await;
    assert_eq!(left, (inner, None));
    ann.restart().await;
    until("no stamp at all", &|now| now.0.is_none()).await;
}

#[tokio::test]
async fn an_upstream_that_is_configured_anew_still_says_how_old_its_listing_is() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann]).upstream("ann", IMPATIENT).start().await;
    weir.wait_tools(["ann__a"]).await;
    ann.stop().await;
    weir.wait_told("ann", "state", "failing").await;
    let listed = weir.told("ann").await["listed_at"].clone();
    assert!(listed.is_string());
    let path = weir.home.path().join("weir.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    fs::write(&path, yaml.replace("list: 1s", "list: 2s")).unwrap();
    let reload = weir.operate("/reload").send().await.unwrap();
    assert!(reload.status().is_success());
    let told = weir.told("ann").await;
    assert_eq!(
        (&told["listed_at"], &told["stale"]),
        (&listed, &true.into())
    );
    let (stale, age) = in_catalog(&weir, "ann").await;
    assert_eq!((stale, &age["listed_at"]), (true, &listed));
    ann.restart().await;
    weir.wait_told("ann", "stale", "false").await;
}
