//! Policies on a running weir: what is denied looks as if it were not there, and a change of a policy
//! file is applied like one of the config.

use std::fs;
use std::path::Path;

use crate::support::client::{Client, pool};
use crate::support::ran::weir;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const ALL: &str = "@id(\"all\") permit(principal, action, resource);\n";
const NO_DROP: &str =
    "@id(\"no-drop\") forbid(principal, action == AgentCore::Action::\"erp___drop\", resource);\n";
const SMALL: &str = "@id(\"small\") forbid(principal, action == AgentCore::Action::\"erp___pay\", resource)\n  when { context.input has amount && context.input.amount > 100 };\n";

/// A weir over `erp`, which has the tools `drop` and `pay`, under these policies.
async fn world(policies: &str, settings: &str) -> (Upstream, Weir) {
    let erp = Upstream::named("erp").tools(["drop", "pay"]).start().await;
    let block = format!("policy: {{ files: ['policies/*.cedar']{settings} }}");
    let weir = Weir::over([&erp])
        .top(&block)
        .env([("WEIR_LOG", "info,weir::calls=debug".to_owned())]);
    let weir = weir.start_in(|home, yaml| {
        fs::write(home.join("weir.yaml"), yaml).unwrap();
        write(home, policies);
    });
    let weir = weir.await;
    weir.wait_told("erp", "state", "up").await;
    (erp, weir)
}

fn write(home: &Path, policies: &str) {
    fs::create_dir_all(home.join("policies")).unwrap();
    fs::write(home.join("policies/a.cedar"), policies).unwrap();
}

#[tokio::test]
async fn a_denied_tool_looks_unknown_and_reaches_no_upstream() {
    let (erp, weir) = world(&format!("{ALL}{NO_DROP}{SMALL}"), "").await;
    for client in Client::both(&weir).await {
        let denied = client.call("erp__drop", "{}").await;
        let unknown = client.call("erp__gone", "{}").await;
        assert_eq!(denied.code(), -32602, "{}", client.era());
        let same = |text: String| {
            text.replace("erp__drop", "NAME")
                .replace("erp__gone", "NAME")
        };
        assert_eq!(same(denied.raw_error()), same(unknown.raw_error()));
        assert_eq!(
            client.call("erp__pay", r#"{"amount":101}"#).await.code(),
            -32602
        );
        assert_eq!(
            client.call("erp__pay", r#"{"amount":"x"}"#).await.code(),
            -32602
        );
        assert!(
            client
                .call("erp__pay", r#"{"amount":100}"#)
                .await
                .succeeded()
        );
        assert!(client.call("erp__pay", "{}").await.succeeded());
    }
    assert_eq!(erp.count("tools/call"), 4);
    // Records tell what callers are not told.
    let log = weir.stderr();
    let has = |parts: &[&str]| {
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    assert!(has(&["policy_decision=\"deny\"", "no-drop"]), "{log}");
    assert!(has(&["policy_decision=\"deny\"", "small"]), "{log}");
    assert!(has(&["policy_decision=\"allow\"", "all"]), "{log}");
    assert!(log.contains("POLICY COVERS NOT EVERYTHING"), "{log}");
    let metrics = pool().get(weir.admin_url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for (decision, least) in [("allow", 4), ("deny", 6)] {
        let name = format!("weir_policy_decisions_total{{decision=\"{decision}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let value: u64 = value.unwrap().parse().unwrap();
        assert!(value >= least, "{name}{value}");
    }
}

#[tokio::test]
async fn without_a_permit_nothing_is_called() {
    let (erp, weir) = world(NO_DROP, "").await;
    for client in Client::both(&weir).await {
        assert_eq!(client.call("erp__pay", "{}").await.code(), -32602);
    }
    assert_eq!(erp.count("tools/call"), 0);
}

#[tokio::test]
async fn what_is_only_recorded_passes() {
    let (erp, weir) = world(NO_DROP, ", mode: log_only").await;
    for client in Client::both(&weir).await {
        assert!(client.call("erp__drop", "{}").await.succeeded());
    }
    assert_eq!(erp.count("tools/call"), 2);
    weir.wait_stderr("would_deny").await;
}

#[tokio::test]
async fn a_change_of_a_policy_file_is_applied_and_a_broken_one_is_not() {
    let (_erp, weir) = world(ALL, "").await;
    let client = weir.modern();
    assert!(client.call("erp__drop", "{}").await.succeeded());
    let generation = weir.generation().await;
    write(weir.home.path(), &format!("{ALL}{NO_DROP}"));
    weir.wait_generation(generation + 1).await;
    assert_eq!(client.call("erp__drop", "{}").await.code(), -32602);
    assert!(client.call("erp__pay", "{}").await.succeeded());
    write(weir.home.path(), "permit(principal, action, resource;");
    weir.wait_stderr("a.cedar:1:35").await;
    assert_eq!(client.call("erp__drop", "{}").await.code(), -32602);
    assert!(client.call("erp__pay", "{}").await.succeeded());
    // Another file of the pattern counts too.
    let generation = weir.generation().await;
    fs::remove_file(weir.home.path().join("policies/a.cedar")).unwrap();
    fs::write(weir.home.path().join("policies/b.cedar"), ALL).unwrap();
    weir.wait_generation(generation + 1).await;
    assert!(client.call("erp__drop", "{}").await.succeeded());
}

#[tokio::test]
async fn a_policy_that_does_not_fit_the_tools_is_not_taken_on() {
    let (_erp, weir) = world(ALL, "").await;
    let client = weir.modern();
    write(
        weir.home.path(),
        "permit(principal, action in AgentCore::Action::\"erp\", resource) when { context.input.nothing == 1 };",
    );
    weir.wait_stderr("input.nothing").await;
    assert!(client.call("erp__drop", "{}").await.succeeded());
}

#[tokio::test]
async fn check_runs_the_tests_of_policies_and_can_answers_for_a_caller() {
    let erp = Upstream::named("erp").tools(["drop", "pay"]).start().await;
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(home.path().join(name), text).unwrap();
        home.path().join(name).display().to_string()
    };
    let yaml = format!(
        "policy: {{ files: [a.cedar], tests: [tests.yaml] }}\nupstreams: {{ erp: {{ url: \"{}\" }} }}\n",
        erp.url()
    );
    let config = file("weir.yaml", &yaml);
    let staff = "@id(\"staff\") permit(principal is AgentCore::OAuthUser, action, resource)\n  when { principal.hasTag(\"groups\") && principal.getTag(\"groups\") like \"*\\\"staff\\\"*\" };\n";
    file("a.cedar", &format!("{staff}{SMALL}"));
    let claims = file("ann.json", r#"{"sub":"ann","groups":["staff"]}"#);
    let test = |amount| {
        format!(
            "tests:\n- caller: {{ subject: ann, claims: {{ groups: [staff] }} }}\n  tool: erp___pay\n  args: {{ amount: {amount} }}\n  expect: allow\n  by: [staff]\n"
        )
    };
    file("tests.yaml", &test(100));
    let checked = weir(["check", "-c", &config]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.out.contains("2 policies, 1 test passed"),
        "{checked:?}"
    );
    file("tests.yaml", &test(101));
    let checked = weir(["check", "-c", &config]).await;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(
        checked
            .err
            .contains("tests.yaml:2: expected allow, found deny by small"),
        "{checked:?}"
    );
    let ann = format!("@{claims}");
    for (caller, name, amount, code, words) in [
        (ann.as_str(), "erp__pay", 100, 0, "yes: staff"),
        (&ann, "erp__pay", 101, 1, "no: small"),
        ("bob", "erp__pay", 1, 1, "no: no policy permits it"),
        (&ann, "erp__none", 1, 2, "no tool is called erp__none"),
    ] {
        let arguments = format!("{{\"amount\":{amount}}}");
        let said = weir(["can", caller, name, "--args", &arguments, "-c", &config]).await;
        assert_eq!(said.code, Some(code), "{said:?}");
        let text = format!("{}{}", said.out, said.err);
        assert!(text.contains(words), "{said:?}");
    }
}
