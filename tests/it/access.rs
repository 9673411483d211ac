//! The difference that a change of policies makes to callers is said: by the reload that applies it, by
//! the plan before it, and by `weir explain` for one caller.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::BOUND;
use crate::support::client::Modern;
use crate::support::principals::Issuer;
use crate::support::ran::weir;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// Everybody may use `crm`; Ann also `erp`.
const BEFORE: &str = "\
@id(\"crm\") permit(principal, action in AgentCore::Action::\"crm\", resource);
@id(\"ann\") permit(principal == AgentCore::OAuthUser::\"ann\", action in AgentCore::Action::\"erp\", resource);
";
/// Bob may pay, and nobody may drop.
const AFTER: &str = "\
@id(\"crm\") permit(principal, action in AgentCore::Action::\"crm\", resource);
@id(\"ann\") permit(principal == AgentCore::OAuthUser::\"ann\", action in AgentCore::Action::\"erp\", resource);
@id(\"bob\") permit(principal == AgentCore::OAuthUser::\"bob\", action == AgentCore::Action::\"erp___pay\", resource);
@id(\"no-drop\") forbid(principal, action == AgentCore::Action::\"erp___drop\", resource);
";
/// A test of policies names a caller who never came.
const TESTS: &str = "tests:\n- caller: { subject: cat, claims: { dept: sales } }\n  tool: crm___find\n  expect: allow\n";

struct World {
    issuer: Issuer,
    weir: Weir,
    _upstreams: [Upstream; 2],
}

impl World {
    /// A weir under [`BEFORE`], where Ann and Bob have listed the tools.
    async fn new() -> Self {
        let upstreams = [
            Upstream::named("erp").tools(["drop", "pay"]).start().await,
            Upstream::named("crm").tools(["find"]).start().await,
        ];
        let block = "policy: { files: ['policies/*.cedar'], tests: [policy-tests.yaml] }";
        let issuer = Issuer::new();
        let weir = issuer
            .start_in(
                Weir::over(&upstreams).top(block),
                "page_size: 100",
                |home| {
                    write(home, "policies", BEFORE);
                    fs::write(home.join("policy-tests.yaml"), TESTS).unwrap();
                },
            )
            .await;
        for upstream in &upstreams {
            weir.wait_told(&upstream.name(), "state", "up").await;
        }
        let world = Self {
            issuer,
            weir,
            _upstreams: upstreams,
        };
        for (subject, tools) in [("ann", 3), ("bob", 1)] {
            assert_eq!(world.tools(subject).await.len(), tools, "{subject}");
        }
        world
    }

    async fn tools(&self, subject: &str) -> Vec<String> {
        let token = self.issuer.token(subject);
        Modern::with(self.weir.url(), &token).tool_names().await
    }

    fn home(&self) -> &Path {
        self.weir.home.path()
    }

    fn file(&self, name: &str) -> String {
        self.home().join(name).display().to_string()
    }
}

fn write(home: &Path, folder: &str, policies: &str) {
    fs::create_dir_all(home.join(folder)).unwrap();
    fs::write(home.join(folder).join("a.cedar"), policies).unwrap();
}

/// The expected outcome of the change from [`BEFORE`] to [`AFTER`].
fn expected() -> Value {
    let tool = |name: &str| json!({ "kind": "tool", "name": name });
    let caller = |subject: &str| json!([{ "kind": "oauth_user", "subject": subject }]);
    json!([
        { "callers": caller("ann"), "gained": [], "lost": [tool("erp__drop")], "more": 0 },
        { "callers": caller("bob"), "gained": [tool("erp__pay")], "lost": [], "more": 0 },
    ])
}

#[tokio::test]
async fn a_change_of_policies_is_in_force_within_a_second_and_says_who_gains_and_loses_what() {
    let world = World::new().await;
    let before = Instant::now();
    write(world.home(), "policies", AFTER);
    let changed = async {
        while world.tools("bob").await.len() != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, changed).await.unwrap();
    let took = before.elapsed();
    for caller in ["ann", "bob"] {
        world
            .weir
            .wait_stderr(&format!("callers=\"{caller}\""))
            .await;
    }
    let log = world.weir.stderr();
    let says = |parts: &[&str]| {
        let mut lines = log.lines();
        lines.any(|line| parts.iter().all(|part| line.contains(part)))
    };
    assert!(says(&["callers=\"ann\"", "lost=\"erp__drop\""]), "{log}");
    assert!(says(&["callers=\"bob\"", "gained=\"erp__pay\""]), "{log}");
    assert!(!says(&["callers=\"cat\""]), "{log}");
    // The quiet period of the watcher, and a generous rest for a busy machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The same by hand, as JSON.
    write(world.home(), "policies", BEFORE);
    let reloaded = world.weir.operate("/reload").send().await.unwrap();
    let told: Value = serde_json::from_slice(&reloaded.bytes().await.unwrap()).unwrap();
    if told["outcome"] == "applied" {
        let flipped = &told["access"];
        assert_eq!(flipped[0]["callers"][0]["subject"], "bob", "{told}");
        assert_eq!(flipped[0]["lost"][0]["name"], "erp__pay", "{told}");
        assert_eq!(flipped[1]["gained"][0]["name"], "erp__drop", "{told}");
    }
}

#[tokio::test]
async fn a_plan_says_who_would_gain_and_lose_what() {
    let world = World::new().await;
    let yaml = fs::read_to_string(world.file("weir.yaml")).unwrap();
    write(world.home(), "next", AFTER);
    fs::write(
        world.file("next.yaml"),
        yaml.replace("policies/*.cedar", "next/*.cedar"),
    )
    .unwrap();
    let (next, url) = (world.file("next.yaml"), world.weir.admin_url(""));
    let plan = weir(["plan", "-c", &next, "--against", &url, "--json"]).await;
    assert_eq!(plan.code, Some(3), "{plan:?}");
    let told: Value = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(
        (&told["settings"], &told["access"]),
        (&json!(["policy"]), &expected())
    );
    assert_eq!(told["upstreams"], json!([]), "{told}");
    let plan = weir(["plan", "-c", &next, "--against", &url]).await;
    for words in [
        "CALLERS",
        "ann",
        "lose",
        "erp__drop",
        "bob",
        "gain",
        "erp__pay",
    ] {
        assert!(plan.out.contains(words), "{words}: {plan:?}");
    }
    // The same policies in another file are no change.
    write(world.home(), "next", BEFORE);
    let plan = weir(["plan", "-c", &next, "--against", &url, "--json"]).await;
    assert_eq!(plan.code, Some(0), "{plan:?}");
    // Between two files there are the callers that they name.
    let tests = TESTS.replace("cat", "bob");
    fs::write(world.file("policy-tests.yaml"), tests).unwrap();
    write(world.home(), "next", AFTER);
    let file = world.file("weir.yaml");
    let plan = weir(["plan", "-c", &next, "--against", &file, "--json"]).await;
    let told: Value = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(told["access"], json!([expected()[1]]), "{plan:?}");
}

#[tokio::test]
async fn explain_says_for_a_caller_whether_it_sees_a_name_and_which_policies_decide() {
    let world = World::new().await;
    write(world.home(), "next", AFTER);
    let yaml = fs::read_to_string(world.file("weir.yaml")).unwrap();
    let yaml = yaml.replace("policies/*.cedar", "next/*.cedar");
    fs::write(world.file("next.yaml"), yaml).unwrap();
    let (file, url) = (world.file("weir.yaml"), world.weir.admin_url(""));
    let next = world.file("next.yaml");
    for (place, name, caller, code, words) in [
        (["-c", &file], "erp__pay", "ann", 0, "sees it|allow: ann"),
        (["--url", &url], "erp__pay", "ann", 0, "sees it|allow: ann"),
        (
            ["-c", &file],
            "erp__pay",
            "bob",
            1,
            "does not see it|deny: no policy permits it",
        ),
        (
            ["--url", &url],
            "erp__pay",
            "bob",
            1,
            "does not see it|deny: no policy permits it",
        ),
        (
            ["-c", &next],
            "erp__drop",
            "ann",
            1,
            "does not see it|deny: no-drop",
        ),
        (["-c", &next], "erp__pay", "bob", 0, "sees it|allow: bob"),
    ] {
        let said = weir(["explain", name, "--caller", caller, place[0], place[1]]).await;
        assert_eq!(said.code, Some(code), "{name} {caller}: {said:?}");
        for words in words.split('|') {
            assert!(said.out.contains(words), "{name} {caller}: {said:?}");
        }
    }
    let said = weir([
        "explain",
        "erp__pay",
        "--caller",
        "@no-such-file",
        "-c",
        &file,
    ])
    .await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("--caller: no-such-file"), "{said:?}");
}
