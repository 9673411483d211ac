//! One upstream does not get an exposed name that another one has pinned, whichever comes first in
//! the config: not by a separator that namespaces may have, not without a namespace, not by the same
//! one, not while the other is down.

use serde_json::Value;

use super::{accept, description, has, tool, waiting};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Builder, Process, Weir};

const GATED: &str = "drift: { policy: quarantine }";

async fn up(name: &str, tools: &[String]) -> Upstream {
    let up = Upstream::named(name).start().await;
    has(&up, tools);
    up
}

/// Two upstreams: the first may take a name of the second, if it gets the tool.
struct Pair {
    what: &'static str,
    thief: &'static str,
    thief_yaml: &'static str,
    stolen: &'static str,
    owner: &'static str,
    owner_yaml: &'static str,
    top: &'static str,
    exposed: &'static str,
}

const PAIRS: [Pair; 3] = [
    Pair {
        what: "a separator that namespaces may have",
        thief: "git",
        thief_yaml: "",
        stolen: "hub-x",
        owner: "git-hub",
        owner_yaml: "",
        top: "naming: { separator: \"-\" }",
        exposed: "git-hub-x",
    },
    Pair {
        what: "no namespace",
        thief: "bare",
        thief_yaml: "namespace: \"\"",
        stolen: "hub__x",
        owner: "hub",
        owner_yaml: "",
        top: "",
        exposed: "hub__x",
    },
    Pair {
        what: "the same namespace",
        thief: "Git Hub",
        thief_yaml: "",
        stolen: "x",
        owner: "git-hub",
        owner_yaml: "",
        top: "",
        exposed: "git-hub__x",
    },
];

fn over(pair: &Pair, thief: &Upstream, owner: &Upstream, is_gated: bool) -> Builder {
    let mut weir = Weir::over([thief, owner])
        .upstream(pair.owner, GATED)
        .upstream(pair.owner, pair.owner_yaml)
        .upstream(pair.thief, pair.thief_yaml)
        .state()
        .top(pair.top);
    if is_gated {
        weir = weir.upstream(pair.thief, GATED);
    }
    weir
}

async fn conflicts(weir: &Weir) -> String {
    weir.admin("/catalog").await["conflicts"].to_string()
}

#[tokio::test]
async fn a_newcomer_does_not_get_the_pinned_name_of_another_upstream() {
    for pair in &PAIRS {
        for is_gated in [false, true] {
            let what = format!("{}, gated: {is_gated}", pair.what);
            let thief = up(pair.thief, &[tool("other", "Mine.")]).await;
            let owner = up(pair.owner, &[tool("x", "Sends.")]).await;
            let weir = over(pair, &thief, &owner, is_gated).start().await;
            let told = description(&weir, pair.exposed).await;
            assert_eq!(told.as_deref(), Some("Sends."), "{what}");

            thief.add_raw(Kind::Tools, &tool(pair.stolen, "Steals."));
            weir.resync(pair.thief).await;
            let told = description(&weir, pair.exposed).await;
            assert_eq!(told.as_deref(), Some("Sends."), "{what}");
            let reply = weir.modern().call(pair.exposed, "{}").await;
            assert!(
                reply.text().starts_with(&format!("{}.x", pair.owner)),
                "{what}: {reply:?}"
            );
            if is_gated {
                assert_eq!(waiting(&weir, pair.thief).await.len(), 1, "{what}");
                weir.wait_stderr("would take the exposed name").await;
                assert_eq!(weir.tool_names().await.len(), 2, "{what}");
            } else {
                let conflicts = conflicts(&weir).await;
                assert!(conflicts.contains("is pinned by"), "{what}: {conflicts}");
                weir.wait_stderr("is pinned by").await;
                assert_eq!(weir.tool_names().await.len(), 3, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn the_name_stays_reserved_across_a_restart_while_its_owner_is_down() {
    let pair = &PAIRS[1];
    let thief = up(pair.thief, &[tool("other", "Mine.")]).await;
    let owner = up(pair.owner, &[tool("x", "Sends.")]).await;
    let weir = over(pair, &thief, &owner, false)
        .upstream(pair.owner, "stale: { policy: hide }")
        .start()
        .await;
    assert_eq!(
        description(&weir, pair.exposed).await.as_deref(),
        Some("Sends.")
    );
    owner.stop().await;
    thief.add_raw(Kind::Tools, &tool(pair.stolen, "Steals."));
    let weir = weir.restart().await;
    weir.resync(pair.thief).await;
    assert_eq!(description(&weir, pair.exposed).await, None);
    assert_eq!(
        weir.tool_names().await.len(),
        2,
        "the other name of the newcomer"
    );
    owner.restart().await;
    weir.resync(pair.owner).await;
    assert_eq!(
        description(&weir, pair.exposed).await.as_deref(),
        Some("Sends.")
    );
}

#[tokio::test]
async fn an_accepted_newcomer_is_pinned_too_and_then_the_order_of_the_config_decides() {
    let pair = &PAIRS[1];
    let thief = up(pair.thief, &[tool("other", "Mine.")]).await;
    let owner = up(pair.owner, &[tool("x", "Sends.")]).await;
    let weir = over(pair, &thief, &owner, true).start().await;
    thief.add_raw(Kind::Tools, &tool(pair.stolen, "Steals."));
    weir.resync(pair.thief).await;
    let (status, answer) = accept(&weir, pair.exposed, "").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        description(&weir, pair.exposed).await.as_deref(),
        Some("Steals.")
    );
    let conflicts = conflicts(&weir).await;
    assert!(conflicts.contains("is pinned by bare"), "{conflicts}");
}

#[tokio::test]
async fn uris_that_templates_of_two_upstreams_fit_are_read_from_the_first_and_told() {
    let first = Upstream::named("first")
        .templates(["file:///{path}"])
        .start()
        .await;
    let second = Upstream::named("second").tools(["t"]).start().await;
    second.add_raw(
        Kind::Templates,
        r#"{"uriTemplate":"file:///etc/{name}","name":"t"}"#,
    );
    let weir = Weir::over([&first, &second]).start().await;
    let modern = weir.modern();
    modern
        .request("resources/read", r#"{"uri":"file:///etc/passwd"}"#)
        .await;
    assert_eq!(
        (
            first.count("resources/read"),
            second.count("resources/read")
        ),
        (1, 0)
    );
    let conflicts = conflicts(&weir).await;
    let told = "template `file:///etc/{name}` of second and template `file:///{path}` of first both fit `file:///etc/x`, which is read from first";
    assert!(conflicts.contains(told), "{conflicts}");
    weir.wait_stderr(told).await;
    let of: Value = weir.told("second").await;
    assert!(of["conflicts"].to_string().contains(told), "{of}");
}

#[tokio::test]
async fn namespaces_that_begin_alike_are_refused_by_check_and_warned_of_at_the_start() {
    let child = "command: cat";
    for (separator, names, is_refused) in [
        ("-", ["git", "git-hub"], true),
        ("__", ["Git Hub", "git-hub"], true),
        ("__", ["git", "git-hub"], false),
        ("-", ["git", "github"], false),
    ] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("weir.yaml");
        let [one, other] = names;
        let yaml = format!(
            "version: 1\nnaming: {{ separator: \"{separator}\" }}\nupstreams:\n  {one}: {{ {child} }}\n  {other}: {{ {child} }}\n  bare: {{ {child}, namespace: \"\" }}\n"
        );
        std::fs::write(&path, yaml).unwrap();
        let checked = Process::start(["check", "-c", path.to_str().unwrap()]);
        let (status, _, stderr) = checked.wait_exit().await;
        let expected = if is_refused { Some(2) } else { Some(0) };
        assert_eq!(status.code(), expected, "{names:?}: {stderr}");
        assert_eq!(
            stderr.contains("one can take a name of the other"),
            is_refused,
            "{stderr}"
        );
        assert!(!is_refused || stderr.contains("weir.yaml:5"), "{stderr}");
    }
    let thief = up("git", &[tool("other", "Mine.")]).await;
    let owner = up("git-hub", &[tool("x", "Sends.")]).await;
    let weir = Weir::over([&thief, &owner]).top(PAIRS[0].top).start().await;
    weir.wait_stderr("one can take a name of the other").await;
}
