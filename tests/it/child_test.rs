//! Checks that the test server over stdio keeps to the protocol.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::bounded;
use crate::support::weir::child;

struct Kid {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Kid {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(child())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    async fn send(&mut self, message: &str) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let line = bounded("a line", self.output.next_line()).await.unwrap();
        line.expect("the child lives")
    }

    async fn value(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn initialize(&mut self) -> Value {
        self.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{}}}"#).await;
        let welcome = self.value().await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        welcome["result"].clone()
    }

    async fn call(&mut self, tool: &str, arguments: &str) {
        self.send(&format!(
            r#"{{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":5}}}}}}"#
        ))
        .await;
    }
}

const PROBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[tokio::test]
async fn a_legacy_child_refuses_the_probe_and_survives_it() {
    let mut kid = Kid::start(&["--version", "2025-06-18", "--tools", "echo,progress"]);
    kid.send(PROBE).await;
    assert_eq!(kid.value().await["error"]["code"], -32601);
    kid.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)
        .await;
    assert_eq!(
        kid.value().await["error"]["code"],
        -32602,
        "not initialized"
    );
    assert_eq!(kid.initialize().await["protocolVersion"], "2025-06-18");
    kid.call("echo", r#"{"n":1e400, "s":"\"}"}"#).await;
    assert_eq!(
        kid.value().await["result"]["content"][0]["text"],
        r#"child.echo {"n":1e400, "s":"\"}"}"#
    );
    kid.call("progress", "{}").await;
    for step in 1..=3 {
        let params = kid.value().await["params"].clone();
        assert_eq!(
            params,
            json!({"progressToken": 5, "progress": step, "total": 3})
        );
    }
    assert_eq!(kid.value().await["id"], "c");
}

#[tokio::test]
async fn a_modern_child_is_discovered_and_then_stays_modern() {
    let mut kid = Kid::start(&["--era", "modern"]);
    kid.send(PROBE).await;
    assert_eq!(
        kid.value().await["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    kid.send(&PROBE.replace("server/discover", "tools/list"))
        .await;
    assert_eq!(kid.value().await["result"]["tools"][0]["name"], "echo");
    kid.initialize().await;
    kid.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)
        .await;
    assert_eq!(kid.value().await["error"]["code"], -32602);
}

#[tokio::test]
async fn a_fragile_child_ends_on_the_probe_and_crashes_on_demand() {
    let mut kid = Kid::start(&["--exit-on-probe"]);
    kid.send(PROBE).await;
    let status = bounded("its end", kid.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let mut kid = Kid::start(&["--tools", "crash,garbage"]);
    kid.initialize().await;
    kid.call("garbage", "{}").await;
    assert_eq!(kid.line().await, "Starting up, please wait...");
    let binary = bounded("a line", kid.output.next_line()).await;
    assert!(binary.is_err(), "no UTF-8: {binary:?}");
    let mut kid = Kid::start(&["--tools", "crash"]);
    kid.initialize().await;
    kid.call("crash", "{}").await;
    let status = bounded("its end", kid.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(3));
}

#[tokio::test]
async fn a_child_writes_its_pid_and_what_it_saw() {
    let home = tempfile::tempdir().unwrap();
    let (pid, log) = (home.path().join("pid"), home.path().join("log"));
    let mut kid = Kid::start(&[
        "--tools",
        "hang",
        "--pid",
        pid.to_str().unwrap(),
        "--log",
        log.to_str().unwrap(),
    ]);
    kid.initialize().await;
    assert_eq!(
        std::fs::read_to_string(&pid).unwrap(),
        kid.child.id().unwrap().to_string()
    );
    kid.call("hang", "{}").await;
    kid.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}"#)
        .await;
    assert_eq!(kid.value().await["error"]["message"], "Request cancelled");
    drop(kid.input);
    bounded("its end", kid.child.wait()).await.unwrap();
    let seen = std::fs::read_to_string(&log).unwrap();
    assert!(
        seen.contains("\nCANCELLED \"c\"\n") && seen.ends_with("EOF\n"),
        "{seen}"
    );
}
