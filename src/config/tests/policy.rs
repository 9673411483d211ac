//! `policy`: its files, and what is said of their errors.

use std::fs;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn loaded(folder: &tempfile::TempDir) -> Result<Config, String> {
    let config = load(&folder.path().join("weir.yaml"), &env);
    let path = format!("{}/", folder.path().display());
    config.map_err(|errors| errors.to_string().replace(&path, ""))
}

const WEIR: &str = "policy: { files: ['policies/**/*.cedar'] }\nupstreams: { x: { command: x } }\n";
const ALL: &str = "permit(principal, action, resource);";

#[test]
fn policies_are_read_in_the_order_of_their_files() {
    let folder = folder(&[
        ("weir.yaml", WEIR),
        ("policies/b.cedar", ALL),
        (
            "policies/a/z.cedar",
            "\n@id(\"z\") permit(principal, action, resource);",
        ),
        ("policies/.hidden.cedar", "no policy"),
        ("policies/notes.txt", "no policy"),
    ]);
    let config = loaded(&folder).unwrap();
    let policy = config.policy.unwrap();
    let names: Vec<_> = policy.policies.iter().map(|policy| &*policy.name).collect();
    let first = format!("{}/policies/b.cedar:1", folder.path().display());
    assert_eq!(names, ["z", first.as_str()]);
    assert_eq!(policy.mode, PolicyMode::Enforce);
    assert!(policy.covers.tools && !policy.covers.prompts);
}

#[test]
fn every_error_of_a_policy_names_file_line_and_column() {
    let folder = folder(&[
        ("weir.yaml", WEIR),
        (
            "policies/a.cedar",
            "@id(\"a\") permit(principal, action, resource);\npermit(principal, action resource);",
        ),
        (
            "policies/b.cedar",
            "\n@id(\"a\") permit(principal, action, resource);\npermit(principal, action, resource) when temporal { x };",
        ),
    ]);
    let errors = loaded(&folder).unwrap_err();
    let lines: Vec<_> = errors.lines().collect();
    assert!(
        lines[0].starts_with("policies/a.cedar:2:26: unexpected token"),
        "{errors}"
    );
    assert!(
        lines[1].starts_with("policies/b.cedar:2:1: policies/a.cedar:1 has the same `@id`"),
        "{errors}"
    );
    assert!(
        lines[2].starts_with("policies/b.cedar:3:37: `when temporal` is AgentCore's"),
        "{errors}"
    );
    assert_eq!(lines.len(), 3, "{errors}");
}

#[test]
fn a_pattern_without_files_is_an_error() {
    let folder = folder(&[("weir.yaml", WEIR)]);
    let errors = loaded(&folder).unwrap_err();
    assert_eq!(
        errors,
        "weir.yaml:1:19: policy.files[0]: no file fits this pattern"
    );
}

#[test]
fn files_of_policies_are_part_of_what_is_watched_and_compared() {
    let folder = folder(&[("weir.yaml", WEIR), ("policies/a.cedar", ALL)]);
    let main = folder.path().join("weir.yaml");
    let policy = folder.path().join("policies/a.cedar");
    assert_eq!(paths(&main).0, [main.clone(), policy.clone()]);
    let (before, digest) = (loaded(&folder).unwrap(), ConfigFiles::read(&main).digest());
    fs::write(&policy, "forbid(principal, action, resource);").unwrap();
    assert!(ConfigFiles::read(&main).digest() != digest);
    assert!(!before.is_same(&loaded(&folder).unwrap()));
    fs::write(&policy, ALL).unwrap();
    assert!(before.is_same(&loaded(&folder).unwrap()));
}

#[test]
fn tests_of_policies_are_read() {
    let folder = folder(&[
        (
            "weir.yaml",
            "policy: { files: [a.cedar], tests: [t.yaml] }\nupstreams: { x: { command: x } }\n",
        ),
        ("a.cedar", ALL),
        (
            "t.yaml",
            "tests:\n  - caller: { subject: s, claims: { groups: [a, b], n: 1 } }\n    tool: x___t\n    args: { amount: 1.50 }\n    expect: deny\n  - { tool: x___t, expect: allow, by: [p] }\n",
        ),
    ]);
    let tests = &loaded(&folder).unwrap().policy.unwrap().tests;
    assert_eq!(&*tests[0].claims["groups"], r#"["a","b"]"#);
    assert_eq!(&*tests[0].arguments, r#"{"amount":1.50}"#);
    assert!(tests[0].origin.ends_with("t.yaml:2") && !tests[0].allowed);
    assert!(tests[1].allowed && tests[1].by.is_some());
    fs::write(
        folder.path().join("t.yaml"),
        "tests: [{ tool: x, expect: alow }]",
    )
    .unwrap();
    let errors = loaded(&folder).unwrap_err();
    assert!(
        errors.contains("t.yaml:1:28: tests[0].expect: expected allow or deny"),
        "{errors}"
    );
}

#[test]
fn names_that_lead_nowhere_are_errors_with_a_suggestion() {
    let policies = [
        (
            "permit(principal, action == AgentCore::Action::\"epr___refund\", resource);",
            "the action `epr___refund` is of no upstream of this config: actions are UPSTREAM___TOOL or UPSTREAM (did you mean `erp`?)",
        ),
        (
            "permit(principal, action == AgentCore::Action::\"erp\", resource);",
            "`action == AgentCore::Action::\"erp\"` never applies, because `erp` is a group: write `action in`",
        ),
        (
            "permit(principal, action in Weir::Action::\"readonly\", resource);",
            "there is no action `Weir::Action::\"readonly\"` (did you mean `read_only`?)",
        ),
        (
            "permit(principal is AgentCore::OauthUser, action, resource);",
            "there is no type `AgentCore::OauthUser` (did you mean `AgentCore::OAuthUser`?)",
        ),
        (
            "permit(principal == User::\"a\", action, resource);",
            "there is no type `User`",
        ),
        (
            "permit(principal, action, resource == AgentCore::Gateway::\"x\");",
            "no resource has the id `x`: write it as `policy.gateway`, or leave out the resource",
        ),
        (
            "permit(principal, action, resource) when { principal.role == \"x\" };",
            "there is no attribute `principal.role`",
        ),
        (
            "permit(principal, action, resource) when { context.inputs.a == 1 };",
            "there is no attribute `context.inputs`",
        ),
        (
            "permit(principal, action, resource) when { context.weir.tool == \"a\" };",
            "there is no attribute `context.weir.tool`",
        ),
        (
            "permit(principal, action, resource) when { principal is Weir::Key };",
            "there is no type `Weir::Key` (did you mean `Weir::ApiKey`?)",
        ),
    ];
    let text: Vec<_> = policies.iter().map(|(policy, _)| *policy).collect();
    let weir = "policy: { files: [a.cedar] }\nupstreams: { erp: { command: x } }\n";
    let folder = folder(&[("weir.yaml", weir), ("a.cedar", &text.join("\n"))]);
    let errors = loaded(&folder).unwrap_err();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), policies.len(), "{errors}");
    for (number, ((_, expected), line)) in policies.iter().zip(&lines).enumerate() {
        assert_eq!(*line, format!("a.cedar:{}:1: {expected}", number + 1));
    }
    let off = weir.replace("[a.cedar]", "[a.cedar], validation: off");
    fs::write(folder.path().join("weir.yaml"), off).unwrap();
    assert!(loaded(&folder).is_ok());
}

#[test]
fn an_upstream_that_policies_would_take_for_another_is_refused() {
    let weir = "policy: { files: [a.cedar] }\nupstreams: { a___b: { command: x } }\n";
    let folder = folder(&[("weir.yaml", weir), ("a.cedar", ALL)]);
    let errors = loaded(&folder).unwrap_err();
    assert!(
        errors.contains("upstreams.a___b: has `___` in its name"),
        "{errors}"
    );
}

#[test]
fn with_several_issuers_a_subject_is_named_with_its_issuer() {
    let auth = "listen: { auth: { public_url: 'https://weir.example.com/mcp', jwt: [{ issuer: 'https://a.example.com' }, { issuer: 'https://b.example.com' }] } }\n";
    let weir = "policy: { files: [a.cedar] }\nupstreams: { erp: { command: x } }\n";
    let ann = "permit(principal == AgentCore::OAuthUser::\"ann\", action, resource)";
    let of_issuer =
        format!("{ann} when {{ principal.getTag(\"iss\") == \"https://a.example.com\" }};");
    let anybody = format!("{ann};");
    let several = format!("{auth}{weir}");
    for (weir, policy, ok) in [
        (weir, &anybody, true),
        (several.as_str(), &of_issuer, true),
        (&several, &anybody, false),
    ] {
        let folder = folder(&[("weir.yaml", weir), ("a.cedar", policy)]);
        match loaded(&folder) {
            Ok(_) => assert!(ok, "{policy}"),
            Err(errors) => {
                assert!(!ok, "{errors}");
                assert!(
                    errors.contains("add `when { principal.getTag(\"iss\")"),
                    "{errors}"
                );
            }
        }
    }
}
