//! Several weirs with one key and one store: what one of them knows, all know; and without the store
//! each goes on by itself.

mod limits;
mod listings;
mod logins;
mod pins;
mod sessions;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::bounded;
use crate::support::client::Legacy;
use crate::support::store::Store;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// Two replicas over the same upstream, each with a state folder of its own.
async fn two(ann: &Upstream, store: &Store, more: &str, top: &str) -> [Weir; 2] {
    let start = || {
        let weir = Weir::over([ann]).state().top(&store.shared(more)).top(top);
        weir.start()
    };
    let (one, two) = tokio::join!(start(), start());
    [one, two]
}

/// Waits until a weir says this of the store.
async fn wait_store(weir: &Weir, state: &str) -> Value {
    let mut last = Value::Null;
    bounded(&format!("a store that is {state}"), async {
        loop {
            last = weir.admin("/status").await["replicas"].clone();
            if last["store"] == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    last
}

#[tokio::test]
async fn a_weir_says_whether_it_reaches_the_store_and_is_ready_without_it() {
    let Some(mut store) = Store::start_with(Some("pass-word")).await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann]).top(&store.shared("")).start().await;
    let told = wait_store(&weir, "up").await;
    assert_eq!(
        (&told["when_lost"], &told["losses"]),
        (&"local".into(), &0.into())
    );
    assert_eq!(weir.admin("/readyz").await["replicas"], "up");
    assert_eq!(weir.metric("weir_replicas_store_up").await, 1);
    store.kill().await;
    wait_store(&weir, "lost").await;
    weir.wait_stderr("the store of the replicas is lost").await;
    let ready = weir.admin("/readyz").await;
    assert_eq!(
        (&ready["ready"], &ready["replicas"]),
        (&true.into(), &"lost".into())
    );
    assert_eq!(weir.metric("weir_replicas_store_up").await, 0);
    assert_eq!(weir.metric("weir_replicas_store_lost_total").await, 1);
    assert!(weir.modern().call("ann__a", "{}").await.succeeded());
    store.revive().await;
    wait_store(&weir, "up").await;
    assert!(!weir.stderr().contains("pass-word"), "{}", weir.stderr());
}

#[tokio::test]
async fn a_weir_starts_without_the_store_and_a_wrong_password_is_said_without_it() {
    let Some(store) = Store::start_with(Some("pass-word")).await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let wrong = store.shared("").replace("pass-word", "wrong-word");
    let weir = Weir::over([&ann]).top(&wrong).start().await;
    weir.wait_stderr("it does not accept the login").await;
    assert!(!weir.stderr().contains("wrong-word"), "{}", weir.stderr());
    assert_eq!(
        weir.admin("/status").await["replicas"]["store"],
        "connecting"
    );
    assert!(weir.modern().call("ann__a", "{}").await.succeeded());
}

#[tokio::test]
async fn without_replicas_nothing_is_said_of_a_store() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann]).start().await;
    assert_eq!(weir.admin("/status").await.get("replicas"), None);
    assert_eq!(weir.admin("/readyz").await.get("replicas"), None);
}
