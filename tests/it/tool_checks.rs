//! `weir check --tools`: whether tools can be called now, and why not.

use std::process::Command;

use serde_json::Value;

use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

/// Runs `weir check` with these arguments: exit status, stdout, stderr.
async fn check(args: &[&str]) -> (i32, String, String) {
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("check")
            .args(args)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_tool_can_be_called_or_it_is_said_why_not() {
    let ann = Upstream::named("ann").tools(["search", "delete_all"]);
    let ann = ann.start().await;
    ann.add_raw(Kind::Prompts, r#"{"name":"greet"}"#);
    let bob = Upstream::named("bob").tools(["b"]).start().await;
    let weir = Weir::over([&ann, &bob])
        .upstream("ann", "tools: { deny: [\"delete*\"] }")
        .start()
        .await;
    weir.wait_tools(["ann__search", "bob__b"]).await;
    let file = weir.home.path().join("weir.yaml");
    let (file, admin) = (file.to_str().unwrap(), weir.admin_url(""));
    for target in [["-c", file], ["--url", admin.as_str()]] {
        let [option, value] = target;
        let (code, said, _) = check(&["--tools", "ann__search,bob__b", option, value]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("ann__search of ann can be called"), "{said}");
        let names = "ann__search,ann__delete_all,ann__greet,ann__serch";
        let (code, said, _) = check(&["--tools", names, option, value]).await;
        assert_eq!(code, 1, "{said}");
        for part in [
            "ann__search of ann can be called",
            "ann__delete_all of ann cannot be called: it is not exposed: tools.deny matches",
            "tools.deny at ",
            "weir.yaml:",
            "ann__greet cannot be called: it is a prompt and not a tool",
            "ann__serch cannot be called: no tool that is known has this name; there is ann__search",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    bob.stop().await;
    for target in [["-c", file], ["--url", admin.as_str()]] {
        if target[0] == "--url" {
            weir.resync("bob").await;
        }
        let (code, said, _) = check(&["--tools", "bob__b", "--json", target[0], target[1]]).await;
        assert_eq!(code, 1, "{said}");
        let verdicts: Value = serde_json::from_str(&said).unwrap();
        let reason = verdicts[0]["reason"].as_str().unwrap();
        assert!(
            reason.contains("failing") || reason.contains("bob"),
            "{reason}"
        );
        assert_eq!(verdicts[0]["callable"], false);
    }
    let (code, _, said) = check(&["--tools", "x", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(code, 2, "{said}");
    let (code, _, said) = check(&["--tools", "x", "-c", "/nowhere.yaml"]).await;
    assert_eq!(code, 2, "{said}");
}
