//! Calls that take long: what may end them, and what their callers hear meanwhile.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// More than `idle` in these tests.
const SILENCE: Duration = Duration::from_millis(900);

#[tokio::test]
async fn a_silent_event_stream_lasts_as_long_as_its_call() {
    let old = Upstream::named("old").legacy("2025-11-25");
    let new = Upstream::named("new").modern();
    let (old, new) = (old.sse().gate("work"), new.sse().gate("work"));
    let (old, new) = (old.start().await, new.start().await);
    let weir = Weir::over([&old, &new])
        .top("defaults: { timeouts: { idle: 300ms, call: 60s } }")
        .start()
        .await;
    for caller in Client::both(&weir).await {
        for up in [&old, &new] {
            let tool = format!("{}__work", up.name());
            let release = async {
                up.wait_running("work", 1).await;
                tokio::time::sleep(SILENCE).await;
                up.release("work");
            };
            let (reply, ()) = tokio::join!(caller.call(&tool, "{}"), release);
            assert!(reply.succeeded(), "{tool}: {reply:?}");
        }
    }
}
