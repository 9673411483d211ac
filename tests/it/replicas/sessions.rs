//! Legacy sessions on several replicas.

use super::*;
use crate::support::client::pool;

async fn ping(weir: &Weir, session: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let legacy = Legacy::resume(weir.url(), session, "2025-11-25");
    legacy.post(body).await.status
}

async fn end(weir: &Weir, session: &str) -> u16 {
    let request = pool().delete(weir.url()).header("mcp-session-id", session);
    request.send().await.unwrap().status().as_u16()
}

async fn opened(weir: &Weir) -> String {
    weir.legacy("2025-11-25").await.session.unwrap()
}

/// Waits until a session is unknown.
async fn unknown(weir: &Weir, session: &str) {
    bounded("the end of a session", async {
        while ping(weir, session).await != 404 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_was_ended_on_one_replica_is_ended_on_all() {
    let Some(mut store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, two] = two(&ann, &store, "", "").await;
    for weir in [&one, &two] {
        wait_store(weir, "up").await;
    }
    let (first, second, third) = (opened(&one).await, opened(&one).await, opened(&one).await);
    assert_eq!(ping(&two, &first).await, 200);
    let began = Instant::now();
    assert_eq!(end(&one, &first).await, 204);
    unknown(&two, &first).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ping(&two, &second).await, 200);
    // A new replica knows it too.
    let new = Weir::over([&ann]).top(&store.shared("")).start().await;
    unknown(&new, &first).await;
    // And what ended while the store was lost, when it is back, empty.
    store.kill().await;
    wait_store(&one, "lost").await;
    assert_eq!(end(&one, &second).await, 204);
    store.revive().await;
    unknown(&two, &second).await;
    unknown(&two, &first).await;
    assert_eq!(ping(&two, &third).await, 200);
}

#[tokio::test]
async fn nobody_who_writes_in_the_store_can_end_a_session() {
    let Some(store) = Store::start().await else {
        return;
    };
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let [one, two] = two(&ann, &store, "", "").await;
    for weir in [&one, &two] {
        wait_store(weir, "up").await;
    }
    let (ended, other) = (opened(&one).await, opened(&one).await);
    assert_eq!(end(&one, &ended).await, 204);
    unknown(&two, &ended).await;
    // The same line with another session's time is none.
    let forged = "local line = redis.call('ZRANGE', 'weir:edge:sessions:lives', 0, 0)[1] \
        local forged = string.gsub(line, '^e ..', 'e 00') \
        redis.call('PUBLISH', 'weir:edge:news', 'sessions somebody ' .. forged) \
        return forged";
    let forged = store.ask(&["EVAL", forged, "0"]).await;
    assert!(forged.contains("e 00"), "{forged}");
    assert_eq!(ping(&two, &other).await, 200);
    assert!(!two.stderr().contains("panic"), "{}", two.stderr());
}
