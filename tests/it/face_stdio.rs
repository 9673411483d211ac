//! `weir serve --stdio`: one caller on stdin and stdout, in either era, over a child and a server.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::client::{MODERN, with_meta};
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::child_upstream;
use crate::support::{at, bounded, prompt};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A running `weir serve --stdio`, and the conversation with it, line by line.
pub struct Piped {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Messages that came while another one was waited for.
    early: VecDeque<String>,
    /// A 2026-07-28 caller: every request carries its envelope.
    modern: bool,
}

impl Piped {
    pub fn start(config: &Path, modern: bool) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--stdio", "-c"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            early: VecDeque::new(),
            modern,
        }
    }

    pub async fn send(&mut self, message: &str) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    pub async fn request(&mut self, id: &str, method: &str, params: &str) {
        let mut params = params.to_owned();
        if self.modern {
            let version = format!("\"{MODERN}\"");
            for (key, value) in [
                ("protocolVersion", version.as_str()),
                ("clientCapabilities", "{}"),
            ] {
                params = with_meta(&params, &format!("io.modelcontextprotocol/{key}"), value);
            }
        }
        self.send(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#
        ))
        .await;
    }

    /// Waits for the first message that satisfies this, raw. Others are kept in order.
    pub async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> String {
        let is = |line: &String| wanted(&serde_json::from_str(line).unwrap_or(Value::Null));
        if let Some(at) = self.early.iter().position(is) {
            return self.early.remove(at).unwrap();
        }
        bounded(what, async {
            loop {
                let line = self.output.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the end, before {what}"));
                assert!(
                    serde_json::from_str::<Box<serde_json::value::RawValue>>(&line).is_ok(),
                    "{line}"
                );
                if is(&line) {
                    return line;
                }
                self.early.push_back(line);
            }
        })
        .await
    }

    /// Sends a request, and waits for its response, raw.
    pub async fn ask(&mut self, id: &str, method: &str, params: &str) -> String {
        self.request(id, method, params).await;
        let id: Value = serde_json::from_str(id).unwrap();
        self.find(method, |message| message["id"] == id).await
    }

    pub async fn result(&mut self, id: &str, method: &str, params: &str) -> Value {
        let response = self.ask(id, method, params).await;
        let response: Value = serde_json::from_str(&response).unwrap();
        assert_eq!(response["error"], Value::Null, "{response}");
        response["result"].clone()
    }

    pub async fn notification(&mut self, method: &str) -> Value {
        let found = self
            .find(method, |message| message["method"] == method)
            .await;
        serde_json::from_str(&found).unwrap()
    }

    async fn tool_names(&mut self, id: &str) -> Vec<String> {
        let result = self.result(id, "tools/list", "{}").await;
        let tools = result["tools"].as_array().unwrap();
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        tools.iter().map(name).collect()
    }

    /// Waits for the notification after which a tool is listed. Earlier ones are about upstreams
    /// that have just connected.
    async fn is_told_of(&mut self, tool: &str) {
        let mut listed = false;
        while !listed {
            self.notification("notifications/tools/list_changed").await;
            let names = self.tool_names("\"told\"").await;
            listed = names.iter().any(|name| name == tool);
        }
    }

    /// Closes stdin and waits for the end. Returns the status, and the last output.
    pub async fn end(mut self) -> (ExitStatus, Vec<Value>) {
        drop(self.input);
        let mut said: Vec<String> = self.early.into();
        while let Some(line) = bounded("the end of stdout", self.output.next_line())
            .await
            .unwrap()
        {
            said.push(line);
        }
        let status = bounded("the end of weir", self.process.wait())
            .await
            .unwrap();
        let value = |line: &String| serde_json::from_str(line).unwrap();
        (status, said.iter().map(value).collect())
    }
}

/// Writes a config over a child and a server. Returns the file that the child writes its pid to,
/// too.
async fn config(home: &Path) -> (Upstream, PathBuf, PathBuf) {
    let far = Upstream::named("far").tools(["search"]).start().await;
    let (file, pid) = (home.join("weir.yaml"), home.join("pid"));
    let args = [
        "--tools",
        "search,progress,add_tool,hang",
        "--pid",
        pid.to_str().unwrap(),
    ];
    let kid = child_upstream("kid", &args);
    let yaml = format!(
        "version: 1\nupstreams:\n  far:\n    url: \"{}\"\n{kid}",
        far.url()
    );
    std::fs::write(&file, yaml).unwrap();
    (far, file, pid)
}

/// Waits until the child has ended. It is no child of the test, so the test has to poll.
async fn gone(pid: &Path) {
    let pid = std::fs::read_to_string(pid).unwrap().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    bounded("the child's end", async {
        // A zombie has ended too: in a container there may be no process that collects it.
        while test_kill_process(pid).is_ok() && !state().is_ok_and(|stat| stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

const TOOLS: [&str; 5] = [
    "far__search",
    "kid__search",
    "kid__progress",
    "kid__add_tool",
    "kid__hang",
];
const NUMBERS: &str =
    r#"{"name":"kid__search","arguments":{"n":1e400,"m":12345678901234567890123}}"#;

#[tokio::test]
async fn a_legacy_caller_is_served_on_pipes() {
    let home = tempfile::tempdir().unwrap();
    let (_far, file, pid) = config(home.path()).await;
    let mut weir = Piped::start(&file, false);
    let early = weir.ask("0", "tools/list", "{}").await;
    assert_eq!(at(&early, &["error", "code"]).as_deref(), Some("-32600"));
    let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    let welcome = weir.result("1", "initialize", hello).await;
    assert_eq!(welcome["protocolVersion"], "2025-06-18");
    assert_eq!(welcome["capabilities"]["tools"]["listChanged"], true);
    weir.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    assert_eq!(weir.result("\"p\"", "ping", "{}").await, json!({}));
    assert_eq!(weir.tool_names("2").await, TOOLS);

    let text = weir.ask("3", "tools/call", NUMBERS).await;
    assert!(
        text.contains(r#"kid.search {\"n\":1e400,\"m\":12345678901234567890123}"#),
        "{text}"
    );
    let params = r#"{"name":"kid__progress","_meta":{"progressToken":"mine"}}"#;
    let done = weir.result("\"four\"", "tools/call", params).await;
    assert_eq!(done["content"][0]["text"], "kid.progress {}");
    // They came before the response, and were kept.
    let is_progress = |line: &String| line.contains("notifications/progress");
    let kept: Vec<String> = weir.early.drain(..).filter(is_progress).collect();
    assert_eq!(kept.len(), 3, "progress comes first");
    for (step, note) in (1..).zip(kept) {
        let note: Value = serde_json::from_str(&note).unwrap();
        assert_eq!(note["params"]["progressToken"], "mine");
        assert_eq!(note["params"]["progress"], step);
    }

    weir.result("5", "tools/call", r#"{"name":"kid__add_tool"}"#)
        .await;
    weir.is_told_of("kid__added").await;
    let unknown = weir.ask("7", "tools/call", r#"{"name":"nobody"}"#).await;
    assert_eq!(at(&unknown, &["error", "code"]).as_deref(), Some("-32602"));
    weir.send("{\"half\":").await;
    let parse = weir
        .find("the refusal", |message| message["error"]["code"] == -32700)
        .await;
    assert_eq!(at(&parse, &["id"]).unwrap_or("null".to_owned()), "null");

    let (status, left) = weir.end().await;
    let answers = left.iter().filter(|message| !message["id"].is_null());
    assert!(
        status.success() && answers.count() == 0,
        "{status} {left:?}"
    );
    gone(&pid).await;
}

#[tokio::test]
async fn a_modern_caller_is_served_on_pipes() {
    let home = tempfile::tempdir().unwrap();
    let (_far, file, pid) = config(home.path()).await;
    let mut weir = Piped::start(&file, true);
    let found = weir.result("1", "server/discover", "{}").await;
    assert_eq!(found["supportedVersions"], json!([MODERN]));
    assert_eq!(weir.tool_names("2").await, TOOLS);
    weir.request(
        "\"sub\"",
        "subscriptions/listen",
        r#"{"notifications":{"toolsListChanged":true}}"#,
    )
    .await;
    let first = weir
        .notification("notifications/subscriptions/acknowledged")
        .await;
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], "sub");

    let text = weir.ask("3", "tools/call", NUMBERS).await;
    assert!(
        text.contains(r#"kid.search {\"n\":1e400,\"m\":12345678901234567890123}"#),
        "{text}"
    );
    assert_eq!(
        at(&text, &["result", "resultType"]).as_deref(),
        Some("\"complete\"")
    );
    let params = r#"{"name":"kid__progress","_meta":{"progressToken":7}}"#;
    weir.result("4", "tools/call", params).await;
    for step in 1..=3 {
        let note = weir.notification("notifications/progress").await;
        assert_eq!(
            (
                &note["params"]["progressToken"],
                &note["params"]["progress"]
            ),
            (&json!(7), &json!(step))
        );
    }

    weir.result("5", "tools/call", r#"{"name":"kid__add_tool"}"#)
        .await;
    let changed = weir.notification("notifications/tools/list_changed").await;
    assert_eq!(changed["params"]["_meta"][SUBSCRIPTION], "sub");
    assert!(
        weir.tool_names("6")
            .await
            .contains(&"kid__added".to_owned())
    );
    let (status, left) = weir.end().await;
    assert!(status.success(), "{status}");
    // The subscription ends with its result.
    let [last] = left.as_slice() else {
        panic!("{left:?}");
    };
    assert_eq!(
        (&last["id"], &last["result"]["_meta"][SUBSCRIPTION]),
        (&json!("sub"), &json!("sub"))
    );
    gone(&pid).await;
}

#[tokio::test]
async fn a_call_taken_back_is_not_answered_and_a_hanging_one_does_not_hold_up_the_end() {
    let home = tempfile::tempdir().unwrap();
    let (_far, file, pid) = config(home.path()).await;
    let mut weir = Piped::start(&file, true);
    let hang = r#"{"name":"kid__hang"}"#;
    weir.request("\"taken back\"", "tools/call", hang).await;
    // On stdio nothing tells that a call has begun. The cancellation must find it all the same.
    weir.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"taken back"}}"#)
        .await;
    weir.request("\"left open\"", "tools/call", hang).await;
    assert_eq!(weir.tool_names("1").await, TOOLS);
    let (status, left) = weir.end().await;
    assert!(status.success(), "{status}");
    assert!(
        left.iter().all(|message| message["id"] != "taken back"),
        "{left:?}"
    );
    gone(&pid).await;
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_keeps_nobody_from_shaking_hands_or_leaving() {
    let home = tempfile::tempdir().unwrap();
    let stuck = Upstream::named("stuck").tools(["a"]);
    let stuck = stuck
        .fault(On::Anything, Times::Forever, Fault::StallHeaders)
        .start()
        .await;
    let file = home.path().join("weir.yaml");
    let url = stuck.url();
    let yaml = format!("version: 1\nupstreams:\n  stuck: {{ url: \"{url}\" }}\n");
    std::fs::write(&file, yaml).unwrap();
    let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    let greetings = async || {
        let begun = Instant::now();
        let mut modern = Piped::start(&file, true);
        modern.result("1", "server/discover", "{}").await;
        // A list waits for the upstream. Other requests do not.
        modern.request("2", "tools/list", "{}").await;
        let mut legacy = Piped::start(&file, false);
        legacy.result("1", "initialize", hello).await;
        let took = begun.elapsed();
        for weir in [modern, legacy] {
            let (status, left) = weir.end().await;
            assert!(status.success() && left.is_empty(), "{status} {left:?}");
        }
        took
    };
    // The list would wait for ten seconds, and the keeper for longer.
    prompt(Duration::from_secs(6), greetings).await;
}

#[tokio::test]
async fn what_was_asked_before_the_end_of_stdin_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let (_far, file, pid) = config(home.path()).await;
    let mut weir = Piped::start(&file, false);
    // All is written at once, without waiting for the child or the answer to `initialize`.
    let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    weir.request("0", "initialize", hello).await;
    weir.request("1", "tools/list", "{}").await;
    weir.request("2", "tools/call", NUMBERS).await;
    let (status, left) = weir.end().await;
    assert!(status.success(), "{status}");
    for id in [0, 1, 2] {
        let answer = left.iter().find(|message| message["id"] == id);
        assert!(
            answer.is_some_and(|answer| answer.get("result").is_some()),
            "{left:?}"
        );
    }
    gone(&pid).await;
}

#[tokio::test]
async fn a_batch_is_taken_in_a_session_of_its_version_only() {
    let home = tempfile::tempdir().unwrap();
    let (far, file, _pid) = config(home.path()).await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": "b1", "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/x"},
        {"jsonrpc": "2.0", "id": "b2", "method": "tools/call", "params": {"name": "far__search"}},
    ])
    .to_string();
    for (version, taken) in [("2025-03-26", true), ("2025-11-25", false)] {
        let mut weir = Piped::start(&file, false);
        let refused =
            |message: &Value| message["id"].is_null() && message["error"]["code"] == -32600;
        weir.send(&batch).await;
        weir.find("a refusal before any session", refused).await;
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let welcome = weir.result("0", "initialize", &params.to_string()).await;
        assert_eq!(welcome["protocolVersion"], version);
        let before = far.count("tools/call");
        weir.send(&batch).await;
        if taken {
            for id in ["b1", "b2"] {
                let answer = weir.find(id, |message| message["id"] == id).await;
                assert!(answer.contains("\"result\""), "{answer}");
            }
            for bad in [
                "[]".to_owned(),
                format!("[{}1]", "1,".repeat(200)),
                format!(
                    "[{}]",
                    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize"})
                ),
            ] {
                weir.send(&bad).await;
                weir.find("a refusal", refused).await;
            }
        } else {
            weir.find("a refusal", refused).await;
        }
        assert_eq!(far.count("tools/call") - before, usize::from(taken));
    }
}
