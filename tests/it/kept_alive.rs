//! Connections that are kept open between requests, and what happens to them meanwhile.

use std::time::{Duration, Instant};

use crate::support::bounded;
use crate::support::client::Reply;
use crate::support::swallower::Swallower;
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;
use crate::upstreams::failed;

const READS: &str =
    r#"{"name":"look","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}"#;
const WRITES: &str = r#"{"name":"pay","annotations":{"readOnlyHint":false,"idempotentHint":true},"inputSchema":{"type":"object"}}"#;

fn on(method: &str) -> On {
    On::Method(method.to_owned())
}

async fn upstream(version: &str) -> Upstream {
    let up = Upstream::named("up")
        .raw_tool(READS)
        .raw_tool(WRITES)
        .prompts(["greet"])
        .resources(["file:///a"]);
    let up = match version {
        "2026-07-28" => up.modern(),
        version => up.legacy(version),
    };
    up.start().await
}

/// Asks everything that only reads, and returns the answers with their methods.
async fn read_all(weir: &Weir, modern: bool) -> Vec<(&'static str, Reply)> {
    let asked = [
        ("tools/call", r#"{"name":"up__look","arguments":{}}"#),
        ("prompts/get", r#"{"name":"up__greet"}"#),
        ("resources/read", r#"{"uri":"file:///a"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"up__greet"},"argument":{"name":"topic","value":"w"}}"#,
        ),
    ];
    let (new, legacy) = (weir.modern(), weir.legacy("2025-06-18").await);
    let mut answers = Vec::new();
    for (method, params) in asked {
        let ask = match modern {
            true => new.ask(method, params),
            false => legacy.ask(method, params),
        };
        answers.push((method, ask.send().await));
    }
    answers
}

#[tokio::test]
async fn what_only_reads_is_asked_again_when_its_connection_is_closed_under_it() {
    for version in ["2025-06-18", "2026-07-28"] {
        let up = upstream(version).await;
        let weir = Weir::over([&up]).start().await;
        for (method, reply) in read_all(&weir, version == "2026-07-28").await {
            assert!(reply.succeeded(), "{method}: {reply:?}");
        }
        let methods = [
            "tools/call",
            "prompts/get",
            "resources/read",
            "completion/complete",
        ];
        let before = methods.map(|method| up.count(method));
        for method in methods {
            up.fault(on(method), Times::Next(1), Fault::Close);
        }
        for (method, reply) in read_all(&weir, version == "2026-07-28").await {
            assert!(reply.succeeded(), "{method}: {reply:?}");
        }
        for (method, before) in methods.into_iter().zip(before) {
            assert_eq!(up.count(method), before + 2, "{method}");
        }
        // So are weir's own questions.
        up.fault(On::Lists, Times::Next(1), Fault::Close);
        up.add_raw(
            crate::support::upstream::Kind::Tools,
            r#"{"name":"new","inputSchema":{"type":"object"}}"#,
        );
        weir.resync("up").await;
        assert!(weir.tool_names().await.contains(&"up__new".to_owned()));
        assert!(
            !weir.stderr().contains("upstream fails"),
            "{}",
            weir.stderr()
        );
    }
}

#[tokio::test]
async fn a_tool_that_may_change_something_is_not_called_again() {
    for version in ["2025-06-18", "2026-07-28"] {
        let up = upstream(version).await;
        let weir = Weir::over([&up]).start().await;
        up.fault(on("tools/call"), Times::Forever, Fault::Close);
        failed(&weir.modern().call("up__pay", "{}").await, "up");
        assert_eq!(up.count("tools/call"), 1);
        // A request that only reads is sent twice, not for ever.
        failed(&weir.modern().call("up__look", "{}").await, "up");
        assert_eq!(up.count("tools/call"), 3);
    }
}

#[tokio::test]
async fn a_session_is_opened_over_a_connection_that_is_closed_under_the_handshake() {
    let up = upstream("2025-06-18").await;
    let weir = Weir::over([&up]).start().await;
    for method in ["initialize", "notifications/initialized"] {
        up.fault(on(method), Times::Next(1), Fault::Close);
        let legacy = weir.legacy("2025-06-18").await;
        let reply = legacy.call("up__pay", "{}").await;
        assert!(reply.succeeded(), "{method}: {reply:?}");
    }
}

#[tokio::test]
async fn a_connection_that_swallows_everything_after_a_pause_is_not_used_again() {
    let idle = Duration::from_secs(5);
    let checks = ["on_prem", "saas"].map(|connector| async move {
        let up = upstream("2025-06-18").await;
        let swallower = Swallower::before(up.address(), idle).await;
        let weir = Weir::with(&format!(
            "  up:\n    connector: {connector}\n    url: \"{}\"\n    resync: 1h\n    timeouts: {{ call: 20s }}\n",
            swallower.url()
        ));
        let weir = weir.start().await;
        weir.wait_tools(["up__look", "up__pay"]).await;
        let legacy = weir.legacy("2025-06-18").await;
        for _ in 0..2 {
            let begun = Instant::now();
            let reply = legacy.call("up__pay", "{}").await;
            assert!(reply.succeeded(), "{connector}: {reply:?}");
            assert!(begun.elapsed() < idle, "{connector}: {:?}", begun.elapsed());
            tokio::time::sleep(idle + Duration::from_millis(500)).await;
        }
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn connections_are_used_again_and_closed_when_they_are_idle() {
    for version in ["2025-06-18", "2026-07-28"] {
        let up = upstream(version).await;
        let between = Swallower::before(up.address(), Duration::from_secs(60)).await;
        let url = between.url();
        let weir = Weir::with(&format!(
            "  up: {{ connector: on_prem, url: \"{url}\", resync: 1h }}\n"
        ));
        let weir = weir.start().await;
        weir.wait_tools(["up__look", "up__pay"]).await;
        let client = weir.modern();
        let rounds = async || {
            for _ in 0..10 {
                let calls = (0..4).map(|_| client.call("up__pay", "{}"));
                for reply in futures::future::join_all(calls).await {
                    assert!(reply.succeeded(), "{version}: {reply:?}");
                }
            }
        };
        rounds().await;
        let opened = between.opened();
        rounds().await;
        assert_eq!(between.opened(), opened, "{version}");
        // One may be left: the stream for notifications.
        let closed = async {
            while between.open() > 1 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        bounded("idle connections are closed", closed).await;
    }
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() {
    let up = upstream("2025-06-18").await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-06-18").await;
    for fault in [Fault::StallHeaders, Fault::Close] {
        up.fault(on("tools/call"), Times::Next(1), fault);
        let waiting = weir.modern();
        let call = waiting.call("up__pay", "{}");
        let _ = tokio::time::timeout(Duration::from_millis(300), call).await;
        for _ in 0..3 {
            let reply = legacy.call("up__pay", "{}").await;
            assert!(reply.succeeded(), "{reply:?}");
        }
    }
}
