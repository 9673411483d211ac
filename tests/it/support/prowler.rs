//! A hostile child process: an upstream that runs the Python that a test sends it.

use std::path::PathBuf;

use serde_json::json;

use super::weir::Weir;

/// The upstream as YAML for [`Weir::with`]; `settings` are more lines of it, each indented by four.
pub fn prowler(name: &str, settings: &str) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/prowler.py");
    let script = script.to_str().unwrap();
    format!("  {name}:\n    command: python3\n    args: [\"{script}\"]\n{settings}")
}

/// Runs Python inside the child, and returns the text of its `out`.
pub async fn run(weir: &Weir, name: &str, code: &str) -> String {
    let arguments = json!({ "code": code }).to_string();
    let reply = weir
        .modern()
        .call(&format!("{name}__run"), &arguments)
        .await;
    match reply.succeeded() {
        true => reply.text().to_owned(),
        false => String::new(),
    }
}
