//! Calls that are tried again, and those that are not: one that may have run runs once, unless the
//! tool does not mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::doors::Raw;
use super::{Zoo, at, beside};
use crate::support::upstream::{Fault, On, Times, Upstream};

/// An upstream whose tool has these annotations.
async fn hinted(annotations: &str) -> Upstream {
    let tool = format!(
        r#"{{"name":"search","annotations":{annotations},"inputSchema":{{"type":"object"}}}}"#
    );
    Upstream::named("beast").raw_tool(&tool).start().await
}

fn yaml(up: &Upstream) -> String {
    let yaml = at(&up.url()).replace("call: 800ms", "first_byte: 200ms, call: 2s");
    yaml + "    retry: { idempotent: true }\n"
}

fn search() -> On {
    On::Tool("search".into())
}

#[tokio::test]
async fn a_tool_that_does_not_mind_is_called_once_more() {
    for hint in [
        r#"{"readOnlyHint":true}"#,
        r#"{"title":"x","idempotentHint":true}"#,
    ] {
        let up = hinted(hint).await;
        beside(&yaml(&up), async |zoo: &Zoo| {
            zoo.listed().await;
            for fault in [
                Fault::Close,
                Fault::CloseBody,
                Fault::StallHeaders,
                Fault::Status(502),
                Fault::Status(503),
                Fault::Status(504),
            ] {
                let before = up.count("tools/call");
                up.fault(search(), Times::Next(1), fault.clone());
                zoo.works().await;
                assert_eq!(up.count("tools/call"), before + 2, "{fault:?}");
            }
            // Once, not for ever.
            let before = up.count("tools/call");
            up.fault(search(), Times::Forever, Fault::Close);
            zoo.fails("the connection broke off", "the connection broke off")
                .await;
            assert_eq!(up.count("tools/call"), before + 2);
            up.heal();
            zoo.works().await;
            // The upstream has answered.
            for fault in [Fault::Status(500), Fault::Status(404), Fault::Html] {
                let before = up.count("tools/call");
                up.fault(search(), Times::Next(1), fault.clone());
                assert!(!zoo.call("search").await.succeeded());
                assert_eq!(up.count("tools/call"), before + 1, "{fault:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn any_other_tool_is_called_once() {
    let hints = [
        (r#"{"readOnlyHint":true}"#, false),
        (r#"{"idempotentHint":true}"#, false),
        (r#"{"readOnlyHint":false,"idempotentHint":"true"}"#, true),
        ("[]", true),
    ];
    for (hint, allowed) in hints {
        let up = hinted(hint).await;
        let allow = format!("idempotent: {allowed}");
        let yaml = yaml(&up).replace("idempotent: true", &allow);
        beside(&yaml, async |zoo: &Zoo| {
            zoo.listed().await;
            for fault in [Fault::Close, Fault::StallHeaders, Fault::Status(503)] {
                // A tool that only reads is called again when its connection is closed, allowed or not.
                if fault == Fault::Close && hint.contains("readOnlyHint\":true") {
                    continue;
                }
                let before = up.count("tools/call");
                up.fault(search(), Times::Next(1), fault.clone());
                assert!(!zoo.call("search").await.succeeded());
                assert_eq!(up.count("tools/call"), before + 1, "{hint} {fault:?}");
            }
            zoo.works().await;
        })
        .await;
    }
}

/// Passes bytes on, but hangs up at the first bytes of a call, which are not passed on.
async fn hanging_up(up: &Upstream, calls: Arc<AtomicUsize>) -> Raw {
    let address = up.address();
    Raw::start(move |mut near: TcpStream| {
        let calls = calls.clone();
        async move {
            let mut far = TcpStream::connect(address).await.unwrap();
            let (mut asked, mut answered) = ([0; 512], [0; 4096]);
            loop {
                tokio::select! {
                    read = near.read(&mut asked) => {
                        let Ok(read @ 1..) = read else { return };
                        let text = String::from_utf8_lossy(&asked[..read]).to_lowercase();
                        if text.contains("tools/call") {
                            calls.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        far.write_all(&asked[..read]).await.unwrap();
                    }
                    read = far.read(&mut answered) => {
                        let Ok(read @ 1..) = read else { return };
                        let _ = near.write_all(&answered[..read]).await;
                    }
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_of_which_a_part_was_written_is_not_written_again() {
    for connector in ["on_prem", "saas"] {
        let up = Upstream::named("beast").tools(["search"]).start().await;
        let calls = Arc::new(AtomicUsize::new(0));
        let raw = hanging_up(&up, calls.clone()).await;
        let url = format!("http://127.0.0.1:{}/mcp", raw.port);
        let yaml = format!("{}    connector: {connector}\n", at(&url));
        beside(&yaml, async |zoo: &Zoo| {
            zoo.listed().await;
            for call in 1..=3 {
                zoo.fails("the connection broke off", "the connection broke off")
                    .await;
                assert_eq!(calls.load(Ordering::Relaxed), call);
            }
        })
        .await;
    }
}
