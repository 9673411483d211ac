//! Answers that are compressed though weir asks for none of it.

use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;
use crate::upstreams::{failed, works};

const ANSWERED: [&str; 5] = [
    "server/discover",
    "initialize",
    "tools/list",
    "tools/call",
    "prompts/list",
];

/// Sends all answers in this content coding.
fn code(up: &Upstream, coding: &str) {
    for method in ANSWERED {
        let fault = Fault::Coded(coding.to_owned());
        up.fault(On::Method(method.to_owned()), Times::Forever, fault);
    }
}

#[tokio::test]
async fn gzip_is_read_in_json_and_event_streams() {
    for (version, connector) in [("2025-06-18", "on_prem"), ("2026-07-28", "saas")] {
        for sse in [false, true] {
            let up = Upstream::named("up").tools(["search"]);
            let up = match version {
                "2026-07-28" => up.modern(),
                version => up.legacy(version),
            };
            let up = if sse { up.sse() } else { up.json() }.start().await;
            code(&up, "gzip");
            let weir = Weir::with(&format!(
                "  up:\n    connector: {connector}\n    url: \"{}\"\n",
                up.url()
            ));
            let weir = weir.start().await;
            weir.wait_tools(["up__search"]).await;
            works(&weir, "up").await;
            assert_eq!(
                up.last("tools/call").header("accept-encoding"),
                Some("identity")
            );
        }
    }
}

#[tokio::test]
async fn the_limit_is_for_the_bytes_that_come_out() {
    for sse in [false, true] {
        let big = format!(
            r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#,
            "x".repeat(80_000_000)
        );
        let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
        let up = if sse { up.sse() } else { up.json() };
        let up = up.answers("bomb", &big).start().await;
        let weir = Weir::over([&up])
            .upstream("up", "limits: { response_bytes: 1MiB }")
            .start()
            .await;
        weir.wait_tools(["up__bomb", "up__search"]).await;
        code(&up, "gzip");
        // Most of it is the program itself.
        let before = weir.peak_memory();
        let reply = weir.modern().call("up__bomb", "{}").await;
        failed(&reply, "up");
        assert_eq!(reply.error()["data"]["reason"], "the answer is too large");
        works(&weir, "up").await;
        let grown = weir.peak_memory() - before;
        assert!(grown < 12_000_000, "{grown}");
    }
}

#[tokio::test]
async fn another_coding_is_named() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    for coding in ["br", "zstd", "deflate", "gzip, gzip"] {
        code(&up, coding);
        let reply = weir.modern().call("up__search", "{}").await;
        failed(&reply, "up");
        assert_eq!(reply.error()["data"]["reason"], "the answer is compressed");
        weir.resync("up").await;
        let told = weir.told("up").await.to_string();
        assert!(
            told.contains(&format!("compressed with `{}`", coding.replace(' ', ""))),
            "{told}"
        );
        up.heal();
        weir.resync("up").await;
        works(&weir, "up").await;
    }
}
