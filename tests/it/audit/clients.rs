//! The words of clients about themselves, in the lines of their requests: bounded, and without a
//! character that drives a terminal.

use std::path::Path;

use serde_json::Value;

use super::{CALL, Line, audited, file_of, line_of, text, upstream};
use crate::face_stdio::Piped;
use crate::support::bounded;
use crate::support::client::call_params;

const INFO: &str = r#"{"name":"cli\u001b[2J\n","version":"1"}"#;
const AGENT: &str = r"cli\u{1b}[2J/1";

/// Waits for the line of the next request with a method like this one.
async fn line_like(file: &Path, method: &str) -> Line {
    let found = || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let whole = text.rsplit_once('\n')?.0.to_owned();
        let mut lines = whole
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap());
        lines.find(|line| line["method"].as_str().unwrap().starts_with(method))
    };
    bounded("a line", async {
        loop {
            if let Some(line) = found() {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn lines_of_a_client_on_stdio_have_its_session_and_its_name() {
    let up = upstream("new").await;
    let home = tempfile::tempdir().unwrap();
    let (config, file) = (
        home.path().join("weir.yaml"),
        home.path().join("weir.jsonl"),
    );
    let yaml = format!(
        "version: 1\naudit: {{ file: weir.jsonl }}\nupstreams:\n  new:\n    url: \"{}\"\n",
        up.url()
    );
    std::fs::write(&config, yaml).unwrap();
    let mut legacy = Piped::start(&config, false);
    let params =
        format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{{}},"clientInfo":{INFO}}}"#);
    legacy.result("1", "initialize", &params).await;
    let call = call_params("new__echo", "{}");
    legacy.result("2", CALL, &call).await;
    legacy.result("3", "tools/list", "{}").await;
    let line = line_like(&file, CALL).await;
    assert_eq!(text(&line, "agent"), AGENT);
    let session = text(&line, "session");
    assert_eq!(session.len(), 16, "{line:?}");
    assert_eq!(
        text(&line_like(&file, "tools/list").await, "session"),
        session
    );
    let opened = line_like(&file, "initialize").await;
    assert_eq!(
        (text(&opened, "agent"), &opened["session"]),
        (AGENT, &Value::Null)
    );
    legacy.end().await;
    // A modern request says it itself.
    std::fs::remove_file(&file).unwrap();
    let mut modern = Piped::start(&config, true);
    let meta = format!(r#"{{"io.modelcontextprotocol/clientInfo":{INFO}}}"#);
    let with_info = call.replacen('{', &format!(r#"{{"_meta":{meta},"#), 1);
    modern.result("1", CALL, &with_info).await;
    let line = line_like(&file, CALL).await;
    assert_eq!(
        (text(&line, "agent"), &line["session"]),
        (AGENT, &Value::Null)
    );
    modern.end().await;
}

#[tokio::test]
async fn a_method_that_nobody_knows_is_recorded_cut_and_printable() {
    let up = upstream("new").await;
    let weir = audited([&up], "").env([("WEIR_LOG", "debug".to_owned())]);
    let weir = weir.start().await;
    let legacy = weir.legacy("2025-11-25").await;
    let odd = format!("odd\u{1b}[2J\n\u{202e}{}", "x".repeat(200));
    let ask = legacy.ask(&odd, "{}").header("x-request-id", "odd");
    assert_eq!(ask.send().await.code(), -32601);
    let line = line_of(&file_of(&weir), "odd").await;
    let method = text(&line, "method");
    assert!(method.starts_with(r"odd\u{1b}[2J \u{202e}xxx"), "{method}");
    assert!(method.len() < 200, "{method}");
    let shown = weir.stderr();
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown}"
    );
    assert!(!shown.contains(&"x".repeat(150)), "{shown}");
    let metrics = reqwest::get(weir.admin_url("/metrics")).await.unwrap();
    assert!(!metrics.text().await.unwrap().contains("odd"));
}
