//! Animals whose lists are odd, too long, or never end.

use std::time::Duration;

use super::{Zoo, at, beast, beside, beside_with};
use crate::support::upstream::{Fault, Kind, On, Paging, Times, Upstream};

#[tokio::test]
async fn a_cursor_that_repeats() {
    let up = beast().start().await;
    up.set_paging(Paging::Repeated);
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.is_out("the listing repeats a cursor").await;
        up.set_paging(Paging::Whole);
        zoo.listed().await;
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn pages_without_end() {
    let up = beast().start().await;
    up.set_paging(Paging::Endless);
    beside(&at(&up.url()), async |zoo: &Zoo| {
        // Whichever bound is met first.
        let told = zoo.is_out("").await;
        let reason = told["reason"].as_str().unwrap();
        let bounds = ["1000 pages", "within the time budget"];
        assert!(
            bounds.iter().any(|bound| reason.contains(bound)),
            "{reason}"
        );
    })
    .await;
}

async fn ten_thousand() -> Upstream {
    let names: Vec<String> = (0..10_000).map(|number| format!("t{number}")).collect();
    let names = names.iter().map(String::as_str);
    beast().tools(names).start().await
}

#[tokio::test]
async fn ten_thousand_tools_where_five_thousand_are_allowed() {
    let up = ten_thousand().await;
    let slow = at(&up.url()).replace("list: 800ms", "list: 8s");
    let yaml = slow.replace("1MiB", "8MiB");
    let slack = Duration::from_millis(800);
    beside_with(&yaml, slack, 64 << 20, async |zoo: &Zoo| {
        zoo.is_out("has more items or bytes than `limits.tools` allows")
            .await;
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_tools_where_they_are_allowed() {
    let up = ten_thousand().await;
    let slow = at(&up.url()).replace("list: 800ms", "list: 8s");
    let yaml = slow.replace("1MiB }", "8MiB, tools: 20000 }");
    let yaml = yaml
        .replace("call: 800ms", "call: 8s")
        .replace("resync: 1s", "resync: 1h");
    // Without optimisation a merge of ten thousand takes a while of one of two cores.
    let slack = Duration::from_millis(800);
    beside_with(&yaml, slack, 128 << 20, async |zoo: &Zoo| {
        let told = zoo.listed().await;
        assert_eq!(told["tools"], 10_001);
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn empty_lists_under_load() {
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        up.list_empty(Times::Next(1));
        zoo.weir.resync("beast").await;
        zoo.works().await;
        // The second look finds it as it was.
        zoo.weir.wait_told("beast", "tools", "1").await;
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_changes_between_its_pages() {
    let up = beast().tools(["b", "c", "d"]).start().await;
    up.set_paging(Paging::Shifting);
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        let names = zoo.weir.tool_names().await;
        for name in ["search", "b", "c", "d"] {
            let name = format!("beast__{name}");
            let times = names.iter().filter(|known| **known == name).count();
            assert_eq!(times, 1, "{name}: {names:?}");
        }
        zoo.works().await;
        let told = zoo.weir.told("beast").await;
        let said = format!("{}{}", told["quarantined"], told["conflicts"]);
        assert!(said.contains("`b`"), "{told:#}");
    })
    .await;
}

#[tokio::test]
async fn schemas_that_are_none() {
    let deep = format!(
        r#"{{"name":"deep","inputSchema":{{"type":"object","a":{}{}}}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let up = beast()
        .raw_tool(r#"{"name":"bare"}"#)
        .raw_tool(r#"{"name":"text","inputSchema":"an object"}"#)
        .raw_tool(r#"{"inputSchema":{"type":"object"}}"#)
        .raw_tool(&deep);
    let up = up.start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        let told = zoo.listed().await;
        let quarantined = told["quarantined"].to_string();
        for words in ["bare", "text", "inputSchema", "name", "deep"] {
            assert!(quarantined.contains(words), "{words}: {told:#}");
        }
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn names_that_occur_twice() {
    let up = beast().tools(["search", "search"]).start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        let told = zoo.listed().await;
        let said = format!("{}{}", told["quarantined"], told["conflicts"]);
        assert!(said.contains("`search`"), "{told:#}");
        let names = zoo.weir.tool_names().await;
        let times = names.iter().filter(|name| *name == "beast__search");
        assert_eq!(times.count(), 1, "{names:?}");
        zoo.works().await;
    })
    .await;
}

#[tokio::test]
async fn the_name_of_somebody_else() {
    let up = Upstream::named("beast").tools(["search"]).start().await;
    let yaml = format!("{}    namespace: well\n", at(&up.url()));
    beside(&yaml, async |zoo: &Zoo| {
        let told = zoo.listed().await;
        let conflicts = told["conflicts"].to_string();
        assert!(conflicts.contains("taken by well"), "{told:#}");
        // The upstream that keeps the name is told of it too.
        let told = zoo.weir.told("well").await;
        assert!(
            told["conflicts"].to_string().contains("of beast"),
            "{told:#}"
        );
    })
    .await;
}

#[tokio::test]
async fn lists_that_fail_or_stall_while_calls_work() {
    let up = beast().start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        zoo.listed().await;
        for (fault, words) in [
            (Fault::Status(500), "HTTP status 500"),
            (Fault::StallHeaders, "no answer within the time budget"),
            (Fault::Html, "a web page"),
        ] {
            up.fault(
                On::Method(Kind::Tools.method().into()),
                Times::Forever,
                fault,
            );
            zoo.weir.resync("beast").await;
            zoo.is_out(words).await;
            zoo.works().await;
            up.heal();
            zoo.listed().await;
        }
    })
    .await;
}
