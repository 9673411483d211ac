//! Discovery, lists and their pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Rig;
use crate::support::client::{MODERN, Modern};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// Asserts that a result says how long it may be kept, and for whom.
fn cacheable(result: &Value) -> &Value {
    assert_eq!(result["resultType"], "complete");
    assert!(result["ttlMs"].as_u64().is_some(), "{result}");
    let scope = &result["cacheScope"];
    assert!(["public", "private"].contains(&scope.as_str().unwrap()));
    scope
}

#[tokio::test]
async fn discover_names_the_version_and_opens_no_session() {
    let rig = Rig::start().await;
    let discover = || rig.modern.ask("server/discover", "{}");
    let session = rig.legacy().await.session.unwrap();
    for ask in [
        discover(),
        discover().header("mcp-session-id", &session),
        discover().header("mcp-session-id", "unknown"),
    ] {
        let reply = ask.send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("mcp-session-id"), None);
        let result = reply.value();
        cacheable(&result);
        let versions = result["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&json!(MODERN)), "{versions:?}");
        assert!(result["capabilities"]["tools"].is_object());
    }
}

/// Returns the pages of a list, from this one on.
async fn pages(modern: &Modern, from: Value) -> Vec<Value> {
    let mut pages = vec![from];
    while let Some(cursor) = pages.last().unwrap().get("nextCursor") {
        assert!(pages.len() < 100, "a list without end");
        let params = json!({ "cursor": cursor }).to_string();
        pages.push(modern.request("tools/list", &params).await.value());
    }
    pages
}

async fn list(modern: &Modern) -> Vec<Value> {
    let first = modern.request("tools/list", "{}").await;
    assert_eq!(first.status, 200, "{first:?}");
    pages(modern, first.value()).await
}

fn names(pages: &[Value]) -> Vec<String> {
    let tools = pages
        .iter()
        .flat_map(|page| page["tools"].as_array().unwrap());
    tools
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn two_lists_are_the_same_and_every_page_says_how_long_it_holds() {
    let jira = Upstream::named("jira").tools(["e", "b", "c", "a", "d"]);
    let jira = jira.start().await;
    let odd = format!("wiki/page.{}", "x".repeat(200));
    let wiki = Upstream::named("wiki").tools(["b", "a b", odd.as_str()]);
    let wiki = wiki.legacy("2025-11-25").start().await;
    let weir = Weir::over([&jira, &wiki]).listen("page_size: 3");
    let weir = weir.start().await;
    let modern = weir.modern();
    let first = list(&modern).await;
    assert_eq!(first.len(), 3, "pages");
    let found = names(&first);
    assert_eq!(names(&list(&modern).await), found);
    let unique: BTreeSet<_> = found.iter().collect();
    assert_eq!((unique.len(), found.len()), (8, 8), "{found:?}");
    for name in &found {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(
            (1..=128).contains(&name.len()) && name.chars().all(legal),
            "{name}"
        );
        assert!(
            name.starts_with("jira__") || name.starts_with("wiki__"),
            "{name}"
        );
    }
    let scopes: BTreeSet<_> = first
        .iter()
        .map(|page| cacheable(page).to_string())
        .collect();
    assert_eq!(scopes.len(), 1);
}

#[tokio::test]
async fn pages_fit_together_even_over_a_swap_and_a_bogus_cursor_is_refused() {
    let jira = Upstream::named("jira").tools(["a", "b", "c", "d", "e"]);
    let jira = jira.start().await;
    let weir = Weir::over([&jira]).listen("page_size: 2").start().await;
    let modern = weir.modern();
    let before = names(&list(&modern).await);
    assert_eq!(
        before,
        ["a", "b", "c", "d", "e"].map(|tool| format!("jira__{tool}"))
    );
    let first = modern.request("tools/list", "{}").await.value();
    jira.set_tools(["z", "a", "y"]);
    weir.resync("jira").await;
    let after = names(&list(&modern).await);
    assert_eq!(after, ["z", "a", "y"].map(|tool| format!("jira__{tool}")));
    assert_eq!(names(&pages(&modern, first).await), before);
    let legacy = weir.legacy("2025-11-25").await;
    for bogus in ["\"nonsense\"", "\"\"", "\"AAAA\"", "7", "{}"] {
        let params = format!("{{\"cursor\":{bogus}}}");
        for ask in [
            modern.ask("tools/list", &params),
            legacy.ask("tools/list", &params),
        ] {
            super::refused(ask, 200, -32602).await;
        }
    }
}
