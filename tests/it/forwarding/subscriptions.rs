//! Subscriptions to resources, within each era and across them.

use serde_json::{Value, json};

use super::{able, begun, calls, over};
use crate::support::asking::Asking;
use crate::support::client::{Legacy, names};
use crate::support::weir::Weir;
use crate::support::{at, quote};

const URI: &str = "file:///x";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

fn updated(uri: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}","x":1e400}}}}"#
    )
}

fn uri(of: &str) -> String {
    format!(r#"{{"uri":{}}}"#, quote(of))
}

/// Starts a legacy upstream of this name with the resource.
async fn legacy(name: &str) -> Asking {
    Asking::named(name)
        .tools(["ask"])
        .resources([URI, "file:///refused"])
        .start()
        .await
}

async fn modern(name: &str) -> Asking {
    Asking::named(name)
        .tools(["ask"])
        .resources([URI, "file:///y", "file:///refused"])
        .modern()
        .start()
        .await
}

/// Returns the exposed URI of each upstream's resource.
async fn exposed(weir: &Weir) -> Vec<String> {
    let all = names(&weir.modern().list_all("resources/list").await, "uri");
    all.into_iter().filter(|uri| uri.ends_with("/x")).collect()
}

/// Returns the upstream session that subscribed last.
fn subscriber(up: &Asking) -> String {
    let last = up.requests("resources/subscribe").pop().unwrap();
    last.header("mcp-session-id").unwrap().to_owned()
}

async fn subscribe(caller: &Legacy, to: &str) {
    let reply = caller.request("resources/subscribe", &uri(to)).await;
    assert_eq!(reply.result(), "{}", "{reply:?}");
}

#[tokio::test]
async fn legacy_callers_get_updates_under_the_uris_they_know() {
    let (a, b) = (legacy("a").await, legacy("b").await);
    let weir = over([&a, &b]).await;
    let exposed = exposed(&weir).await;
    assert_eq!(exposed.len(), 2);
    assert!(exposed.iter().any(|uri| uri != URI), "{exposed:?}");
    let (caller, other) = (able(&weir).await, able(&weir).await);
    let (mut own, mut others) = (caller.listen().await, other.listen().await);
    for (up, exposed) in [(&a, &exposed[0]), (&b, &exposed[1])] {
        subscribe(&caller, exposed).await;
        subscribe(&other, exposed).await;
        let told = up.requests("resources/subscribe");
        assert!(told.iter().all(|got| got.value["params"]["uri"] == URI));
        let sessions: Vec<_> = told
            .iter()
            .map(|got| got.header("mcp-session-id").unwrap())
            .collect();
        assert_ne!(sessions[0], sessions[1]);
        up.tell(sessions[0], &updated(URI)).await;
        assert_eq!(own.next().await.unwrap(), updated(exposed));
        up.tell(sessions[1], &updated(URI)).await;
        assert_eq!(others.next().await.unwrap(), updated(exposed));
        // An update of a resource below has the same exposed URI before the rest of its own.
        up.tell(sessions[1], &updated("file:///x/y?z")).await;
        let below = updated(&format!("{exposed}/y?z"));
        assert_eq!(others.next().await.unwrap(), below);

        let reply = caller.request("resources/unsubscribe", &uri(exposed)).await;
        assert_eq!(reply.result(), "{}");
        let told = up.wait_count("resources/unsubscribe", 1).await;
        assert_eq!(told.value["params"]["uri"], URI);
        assert_eq!(told.header("mcp-session-id"), Some(sessions[0]));
    }
    let again = caller
        .request("resources/unsubscribe", &uri(&exposed[0]))
        .await;
    assert_eq!(again.result(), "{}");
    assert_eq!(a.count("resources/unsubscribe"), 1);
}

#[tokio::test]
async fn updates_on_the_stream_of_a_call_have_the_uris_that_the_caller_knows() {
    let (a, b) = (legacy("a").await, legacy("b").await);
    let weir = over([&a, &b]).await;
    let exposed = exposed(&weir).await;
    let caller = able(&weir).await;
    for (up, exposed, tool) in [(&a, &exposed[0], "a__ask"), (&b, &exposed[1], "b__ask")] {
        subscribe(&caller, exposed).await;
        let (mut stream, call) = begun(calls(&caller, tool), up, &updated(URI)).await;
        assert_eq!(stream.next().await.unwrap(), updated(exposed));
        call.answer("{}").await;
        assert!(stream.finish().await.succeeded());
    }
}

#[tokio::test]
async fn an_update_that_nobody_subscribed_to_reaches_nobody() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    subscribe(&caller, &exposed(&weir).await[0]).await;
    let other = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    for uri in ["file:///refused", "file:///y", "file:///xy", "secret://z"] {
        // On the session's own stream, and on that of a call.
        up.tell(&subscriber(&up), &updated(uri)).await;
        up.tell(&subscriber(&up), other).await;
        assert_eq!(own.next().await.unwrap(), other, "{uri}");
        let answer = async {
            let call = up.call().await;
            call.say(&updated(uri)).await;
            call.answer("{}").await;
        };
        let (reply, ()) = tokio::join!(calls(&caller, "up__ask").send(), answer);
        let updates = reply.notifications("notifications/resources/updated");
        assert_eq!(updates, [] as [Value; 0], "{uri}");
    }
}

#[tokio::test]
async fn a_list_that_changes_during_a_call_is_listed_again() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    up.set_tools(&[r#"{"name":"new","inputSchema":{"type":"object"}}"#]);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let answer = async {
        let call = up.call().await;
        call.say(changed).await;
        call.say(progress).await;
        call.answer("{}").await;
    };
    let (reply, ()) = tokio::join!(calls(&caller, "up__ask").send(), answer);
    assert!(reply.succeeded());
    weir.wait_tools(["up__new"]).await;
    // One notification, on the caller's own stream, once the change can be listed.
    assert_eq!(own.next().await.unwrap(), changed);
    assert_eq!(reply.events.len(), 2, "{reply:?}");
}

#[tokio::test]
async fn a_subscription_to_an_unknown_or_unsupported_resource_is_refused() {
    let (up, other) = (legacy("up").await, legacy("other").await);
    let weir = over([&up, &other]).await;
    let caller = able(&weir).await;
    let reply = caller
        .request("resources/subscribe", &uri("file:///none"))
        .await;
    assert_eq!(reply.code(), -32002);
    let reply = caller.request("resources/subscribe", "{}").await;
    assert_eq!(reply.code(), -32602);
    let refused = caller
        .request("resources/subscribe", &uri("file:///refused"))
        .await;
    let words = r#"{"code":-32002,"message":"not this one","data":1e400}"#;
    assert_eq!(refused.raw_error(), words);
    let modern = weir
        .modern()
        .request("resources/subscribe", &uri(URI))
        .await;
    assert_eq!((modern.status, modern.code()), (404, -32601));
}

#[tokio::test]
async fn subscriptions_of_a_lost_session_come_back_by_themselves_while_a_stream_is_open() {
    let up = legacy("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    let mut own = caller.listen().await;
    subscribe(&caller, URI).await;
    up.listening(&subscriber(&up)).await;
    up.forget();
    up.wait_count("resources/subscribe", 2).await;
    up.tell(&subscriber(&up), &updated(URI)).await;
    assert_eq!(own.next().await.unwrap(), updated(URI));
}

fn notifications(resources: &[&str]) -> String {
    json!({"resourceSubscriptions": resources}).to_string()
}

async fn follows(up: &Asking, expected: &[&str]) {
    let follows = |up: &Asking| -> Vec<Value> {
        up.listens()
            .iter()
            .map(|wishes| wishes["resourceSubscriptions"].clone())
            .collect()
    };
    let expected = match expected {
        [] => vec![Value::Null],
        all => vec![json!(all)],
    };
    let wait = async {
        while follows(up) != expected {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(crate::support::BOUND, wait)
        .await
        .is_err()
    {
        panic!("{:?} instead of {expected:?}", follows(up));
    }
}

#[tokio::test]
async fn modern_listeners_share_one_stream_upstream_and_get_updates_under_their_own_uris() {
    let (a, b) = (modern("a").await, modern("b").await);
    let weir = over([&a, &b]).await;
    let exposed = exposed(&weir).await;
    let (one, two) = (weir.modern(), weir.modern());
    let mut first = one
        .listen("4242", &notifications(&[&exposed[1], "file:///none"]))
        .await;
    let acknowledged = first.next_value().await;
    assert_eq!(
        acknowledged["params"],
        json!({"notifications":{"resourceSubscriptions":[exposed[1]]},"_meta":{SUBSCRIPTION:4242}})
    );
    let mut second = two.listen("\"s\"", &notifications(&[&exposed[1]])).await;
    second.next_value().await;
    follows(&b, &[URI]).await;
    follows(&a, &[]).await;
    let params = format!(r#"{{"uri":"{URI}","x":1e400}}"#);
    assert_eq!(b.updated(URI, &params).await, 1);
    for (stream, id) in [(&mut first, "4242"), (&mut second, "\"s\"")] {
        let told = stream.next().await.unwrap();
        assert_eq!(at(&told, &["params", "uri"]), Some(quote(&exposed[1])));
        assert_eq!(at(&told, &["params", "x"]).as_deref(), Some("1e400"));
        assert_eq!(
            at(&told, &["params", "_meta", SUBSCRIPTION]).as_deref(),
            Some(id)
        );
    }
    drop(first);
    let params = r#"{"uri":"file:///x/y"}"#;
    assert_eq!(b.updated(URI, params).await, 1);
    let told = second.next_value().await;
    assert_eq!(told["params"]["uri"], format!("{}/y", exposed[1]));
    drop(second);
    follows(&b, &[]).await;
}

#[tokio::test]
async fn a_resource_without_updates_is_not_acknowledged() {
    let up = modern("up").await;
    let weir = over([&up]).await;
    let caller = weir.modern();
    let mut stream = caller
        .listen(
            "1",
            &notifications(&["file:///refused", URI, URI, "file:///y"]),
        )
        .await;
    let acknowledged = stream.next_value().await;
    let honoured = &acknowledged["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(honoured, &json!([URI, "file:///y"]));
    let mut none = caller
        .listen("2", &notifications(&["file:///refused"]))
        .await;
    let acknowledged = none.next_value().await;
    assert_eq!(acknowledged["params"]["notifications"], json!({}));
}

#[tokio::test]
async fn a_legacy_caller_gets_updates_of_resources_of_a_modern_upstream() {
    let up = modern("up").await;
    let weir = over([&up]).await;
    let caller = able(&weir).await;
    // There is no stream yet: it is opened afterwards.
    subscribe(&caller, URI).await;
    follows(&up, &[URI]).await;
    let mut own = caller.listen().await;
    let params = format!(r#"{{"uri":"{URI}","x":1e400}}"#);
    assert_eq!(up.updated(URI, &params).await, 1);
    // Without the id of weir's own subscription.
    assert_eq!(own.next().await.unwrap(), updated(URI));
    let refused = caller
        .request("resources/subscribe", &uri("file:///refused"))
        .await;
    assert_eq!(refused.code(), -32603);
    caller.request("resources/unsubscribe", &uri(URI)).await;
    follows(&up, &[]).await;
    subscribe(&caller, URI).await;
    follows(&up, &[URI]).await;
    caller.delete().await;
    follows(&up, &[]).await;
}

#[tokio::test]
async fn a_modern_caller_gets_updates_of_resources_of_a_legacy_upstream() {
    let (a, b) = (legacy("a").await, legacy("b").await);
    let weir = over([&a, &b]).await;
    let exposed = exposed(&weir).await;
    let caller = weir.modern();
    let mut stream = caller
        .listen("7", &notifications(&[&exposed[1], "file:///refused"]))
        .await;
    let acknowledged = stream.next_value().await;
    let honoured = &acknowledged["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(honoured, &json!([exposed[1]]));
    b.tell(&subscriber(&b), &updated(URI)).await;
    let told = stream.next().await.unwrap();
    assert_eq!(at(&told, &["params", "uri"]), Some(quote(&exposed[1])));
    assert_eq!(
        at(&told, &["params", "_meta", SUBSCRIPTION]).as_deref(),
        Some("7")
    );
    // At an upstream that forgot it, weir subscribes again.
    b.forget();
    b.wait_for("another subscription", |seen| {
        let told = seen.of("resources/subscribe");
        told.filter(|got| got.value["params"]["uri"] == URI).count() >= 2
    })
    .await;
    b.tell(&subscriber(&b), &updated(URI)).await;
    stream.next().await.unwrap();
    drop(stream);
    let told = b.wait_count("resources/unsubscribe", 1).await;
    assert_eq!(told.value["params"]["uri"], URI);
}
