//! Decisions and lists, on catalogs and callers made here.

mod agentcore;
pub(crate) mod laws;
mod world;

use std::fs;
use std::time::{Duration, SystemTime};

use self::world::{TOOLS, caller, user};
pub(crate) use self::world::{Tool, UPSTREAMS, World};
use super::*;
use crate::caller::{Caller, Principal};
use crate::catalog::Kind;
use crate::config;
use crate::protocol::era::Era;

#[test]
fn without_a_permit_nothing_is_allowed_and_a_forbid_wins() {
    let world = World::new(
        "forbid(principal, action, resource) when { false };",
        UPSTREAMS,
        &TOOLS,
    );
    let alice = user("alice", &[]);
    let decision = world.decide(&alice, ("erp", "refund"), "{}");
    assert_eq!(
        (
            decision.is_allowed(),
            decision.as_str(),
            decision.policies.len()
        ),
        (false, "deny", 0)
    );
    let text = "@id(\"all\") permit(principal, action, resource);\n@id(\"no-erp\") forbid(principal, action in AgentCore::Action::\"erp\", resource);";
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let decision = world.decide(&alice, ("erp", "refund"), "{}");
    assert_eq!(
        (decision.is_allowed(), &*decision.policies[0]),
        (false, "no-erp")
    );
    let decision = world.decide(&alice, ("crm", "drop"), "{}");
    assert_eq!(
        (decision.is_allowed(), &*decision.policies[0]),
        (true, "all")
    );
    assert_eq!(world.seen(&alice, Kind::Tools), ["crm__find", "crm__drop"]);
    // Prompts and resources are not covered.
    assert_eq!(world.seen(&alice, Kind::Prompts).len(), 4);
}

#[test]
fn actions_are_original_names_in_groups() {
    let text = r#"
        permit(principal == AgentCore::OAuthUser::"one", action == AgentCore::Action::"erp___refund", resource);
        permit(principal == AgentCore::OAuthUser::"group", action in AgentCore::Action::"crm", resource);
        permit(principal == AgentCore::OAuthUser::"all", action in AgentCore::Action::"CallTool", resource);
        permit(principal == AgentCore::OAuthUser::"mcp", action in [AgentCore::Action::"Mcp"], resource);
        permit(principal == AgentCore::OAuthUser::"like", action == AgentCore::Action::"crm", resource);
        permit(principal == AgentCore::OAuthUser::"exposed", action == AgentCore::Action::"erp__refund", resource);
        permit(principal == AgentCore::OAuthUser::"reader", action in Weir::Action::"read_only", resource);
        permit(principal == AgentCore::OAuthUser::"condition", action, resource)
            when { action in AgentCore::Action::"crm" && resource == AgentCore::Gateway::"weir" };
    "#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let seen = |subject: &str| world.seen(&user(subject, &[]), Kind::Tools);
    assert_eq!(seen("one"), ["erp__refund"]);
    assert_eq!(seen("group"), ["crm__find", "crm__drop"]);
    assert_eq!(seen("all").len(), 4);
    assert_eq!(seen("mcp").len(), 4);
    assert_eq!(seen("like").len(), 0);
    assert_eq!(seen("exposed").len(), 0);
    // A service on the internet is not believed what it says of its tools.
    assert_eq!(seen("reader"), ["erp__query"]);
    assert_eq!(seen("condition"), ["crm__find", "crm__drop"]);
    assert_eq!(seen("nobody").len(), 0);
    for subject in ["one", "group", "all", "mcp", "like", "reader", "condition"] {
        let seen = seen(subject);
        for (upstream, tool, ..) in TOOLS {
            let allows = world.allows(&user(subject, &[]), (upstream, tool), "{}");
            assert_eq!(
                allows,
                seen.contains(&format!("{upstream}__{tool}")),
                "{subject} {tool}"
            );
        }
    }
}

#[test]
fn what_cannot_be_evaluated_denies() {
    let text = r#"
        permit(principal, action, resource);
        forbid(principal, action == AgentCore::Action::"erp___refund", resource) when { context.input.amount > 100 };
        forbid(principal, action == AgentCore::Action::"crm___drop", resource) when { principal.getTag("role") == "intern" };
    "#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let alice = user("alice", &[]);
    let refund = |arguments| world.decide(&alice, ("erp", "refund"), arguments);
    assert!(refund(r#"{"amount":100}"#).is_allowed());
    assert!(!refund(r#"{"amount":101}"#).is_allowed());
    for arguments in [
        "{}",
        r#"{"amount":null}"#,
        r#"{"amount":"1"}"#,
        r#"{"amount":1,"amount":1}"#,
        "[]",
        r#"{"amount":1e30}"#,
    ] {
        let decision = refund(arguments);
        assert!(
            !decision.is_allowed() && decision.errors.len() == 1,
            "{arguments} {decision:?}"
        );
        assert!(!decision.errors[0].contains("1e30"), "{decision:?}");
    }
    assert!(
        world
            .seen(&alice, Kind::Tools)
            .contains(&"erp__refund".to_owned())
    );
    // The tag is missing whatever the arguments are.
    assert!(!world.allows(&alice, ("crm", "drop"), "{}"));
    assert_eq!(
        world.seen(&alice, Kind::Tools),
        ["erp__refund", "erp__query", "crm__find"]
    );
    assert!(world.allows(&user("bob", &[("role", "chief")]), ("crm", "drop"), "{}"));
}

#[test]
fn arguments_have_the_types_of_the_schema() {
    let text = r#"permit(principal, action, resource) when {
        context.input has rate && context.input.rate.lessThan(decimal("0.5")) && context.input.note like "ok*"
    };"#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let alice = user("alice", &[]);
    let refund = |arguments| world.allows(&alice, ("erp", "refund"), arguments);
    assert!(refund(r#"{"rate":0,"note":"ok then"}"#));
    assert!(refund(r#"{"rate":4.9e-1,"note":"\u006fk"}"#));
    assert!(!refund(r#"{"rate":0.5,"note":"ok"}"#));
    assert!(!refund(r#"{"note":"ok"}"#));
    assert!(!refund(r#"{"rate":0.00001,"note":"ok"}"#));
}

#[test]
fn the_time_is_known_at_the_call() {
    let text = r#"permit(principal, action, resource) when {
        context.system.now >= datetime("2026-01-01T00:00:00Z") && context.system.now.toTime() < duration("9h")
    };"#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let alice = user("alice", &[]);
    let route = world.route(Kind::Tools, "erp", "query");
    let at = |seconds| {
        let request = PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, None);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        world
            .policies
            .decide(&alice, &PolicyRequest { now, ..request })
            .is_allowed()
    };
    let midnight = 1_767_225_600;
    assert!(at(midnight) && at(midnight + 9 * 3600 - 1));
    assert!(!at(midnight + 9 * 3600) && !at(midnight - 1));
    assert_eq!(world.seen(&alice, Kind::Tools).len(), 4);
}

#[test]
fn kinds_of_callers_are_namespaces() {
    let text = r#"
        permit(principal == Weir::ApiKey::"x", action, resource);
        permit(principal is Weir::Local, action in AgentCore::Action::"erp", resource);
        permit(principal is AgentCore::IamEntity, action, resource) when { principal.id like "arn:aws:sts::123456789012:*" };
    "#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let seen = |kind, subject| world.seen(&caller(kind, subject, &[]), Kind::Tools).len();
    assert_eq!(seen(Principal::ApiKey, "x"), 4);
    assert_eq!(seen(Principal::OAuthUser, "x"), 0);
    assert_eq!(seen(Principal::Workload, "x"), 0);
    assert_eq!(seen(Principal::Local, "local"), 2);
    assert_eq!(seen(Principal::Anonymous, ""), 0);
    assert_eq!(
        seen(
            Principal::IamEntity,
            "arn:aws:sts::123456789012:assumed-role/r"
        ),
        4
    );
    assert_eq!(
        seen(
            Principal::IamEntity,
            "arn:aws:sts::123456789013:assumed-role/r"
        ),
        0
    );
}

#[test]
fn what_is_only_recorded_lets_pass_and_says_so() {
    let text = r#"
        permit(principal, action, resource);
        @id("trial") @mode("log_only") forbid(principal, action == AgentCore::Action::"crm___drop", resource);
    "#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let alice = user("alice", &[]);
    let decision = world.decide(&alice, ("crm", "drop"), "{}");
    assert_eq!(
        (decision.is_allowed(), decision.as_str()),
        (true, "would_deny")
    );
    assert!(decision.policies.iter().any(|name| **name == *"trial"));
    assert_eq!(
        world.decide(&alice, ("crm", "find"), "{}").as_str(),
        "allow"
    );
    assert_eq!(world.seen(&alice, Kind::Tools).len(), 4);
    let text = "permit(principal, action == AgentCore::Action::\"crm___find\", resource);";
    let world = World::with(text, ", mode: log_only", UPSTREAMS, &TOOLS);
    assert_eq!(
        world.decide(&alice, ("crm", "drop"), "{}").as_str(),
        "would_deny"
    );
    assert_eq!(
        world.decide(&alice, ("crm", "find"), "{}").as_str(),
        "allow"
    );
    assert_eq!(world.seen(&alice, Kind::Tools).len(), 4);
}

#[test]
fn prompts_and_resources_are_decided_where_they_are_covered() {
    let text = r#"
        permit(principal, action == Weir::Action::"get_prompt", resource) when { context.weir.upstream == "erp" };
        permit(principal, action == Weir::Action::"read_resource", resource) when { context.weir.exposed like "file://crm/*" };
    "#;
    let world = World::with(
        text,
        ", covers: [tools, prompts, resources]",
        UPSTREAMS,
        &TOOLS,
    );
    let alice = user("alice", &[]);
    assert_eq!(world.seen(&alice, Kind::Tools).len(), 0);
    assert_eq!(
        world.seen(&alice, Kind::Prompts),
        ["erp__greet", "erp__bye"]
    );
    assert_eq!(world.seen(&alice, Kind::Resources), ["file://crm/a"]);
    let route = world.route(Kind::Prompts, "crm", "bye");
    let request = PolicyRequest::of_route(Kind::Prompts, &route, Era::Legacy, None);
    assert!(!world.policies.decide(&alice, &request).is_allowed());
    // No list has it.
    let read = |uri| {
        let request = PolicyRequest {
            kind: Kind::Resources,
            original: uri,
            exposed: uri,
            ..request
        };
        world.policies.decide(&alice, &request).is_allowed()
    };
    assert!(read("file://crm/other") && !read("file://erp/other"));
}

#[test]
fn the_tools_of_a_gateway_have_its_targets_and_its_arn() {
    let upstreams = "gw: { connector: agentcore_gateway, url: 'https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp' }, erp: { command: erp }";
    let tools = [
        ("gw", "billing___pay", "", ""),
        ("gw", "erp___refund", "", ""),
        ("erp", "refund", "", ""),
    ];
    let text = r#"permit(principal, action in AgentCore::Action::"billing",
            resource == AgentCore::Gateway::"arn:aws:bedrock-agentcore:eu-west-1:123456789012:gateway/gw-ab12cdef34");
        permit(principal, action == AgentCore::Action::"erp___refund", resource);"#;
    let world = World::new(text, upstreams, &tools);
    let alice = user("alice", &[]);
    assert!(world.allows(&alice, ("gw", "billing___pay"), "{}"));
    assert!(world.allows(&alice, ("erp", "refund"), "{}"));
    // A gateway cannot take the permit of another upstream by the name of a target.
    assert!(!world.allows(&alice, ("gw", "erp___refund"), "{}"));
    assert_eq!(world.seen(&alice, Kind::Tools).len(), 2);
    let other = text.replace("eu-west-1", "eu-west-2");
    assert!(!World::new(&other, upstreams, &tools).allows(&alice, ("gw", "billing___pay"), "{}"));
}

#[test]
fn callers_are_of_one_class_if_no_policy_can_tell_them_apart() {
    let text = r#"
        permit(principal, action, resource) when { principal.hasTag("role") && principal.getTag("role") == "x" };
        forbid(principal == AgentCore::OAuthUser::"mallory", action, resource);
    "#;
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let class = |caller: Caller| world.policies.class_of(&caller).unwrap();
    let alice = class(user("alice", &[("role", "x"), ("other", "1")]));
    assert_eq!(alice, class(user("bob", &[("role", "x"), ("other", "2")])));
    assert_ne!(alice, class(user("bob", &[("role", "y")])));
    assert_ne!(alice, class(user("bob", &[])));
    assert_ne!(alice, class(user("mallory", &[("role", "x")])));
    assert_ne!(
        alice,
        class(caller(Principal::ApiKey, "alice", &[("role", "x")]))
    );
    let text = "permit(principal, action, resource) when { principal.id == \"alice\" };";
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let class = |caller: Caller| world.policies.class_of(&caller).unwrap();
    assert_ne!(class(user("alice", &[])), class(user("bob", &[])));
    let text = "permit(principal, action, resource) when { principal.getTag(principal.getTag(\"a\")) == \"x\" };";
    let world = World::new(text, UPSTREAMS, &TOOLS);
    let class = |caller: Caller| world.policies.class_of(&caller).unwrap();
    assert_ne!(
        class(user("a", &[("b", "x")])),
        class(user("a", &[("b", "y")]))
    );
}

#[test]
fn routes_with_the_same_policies_share_a_slice() {
    let names: Vec<_> = (0..200).map(|number| format!("t{number}")).collect();
    let tools: Vec<Tool<'_>> = names
        .iter()
        .map(|name| ("erp", name.as_str(), "", ""))
        .collect();
    let text = "permit(principal, action, resource); forbid(principal, action == AgentCore::Action::\"erp___t7\", resource);";
    let world = World::new(text, UPSTREAMS, &tools);
    assert_eq!(world.policies.slices(), 2);
    assert_eq!(world.seen(&user("a", &[]), Kind::Tools).len(), 199);
}

#[test]
fn policies_that_do_not_fit_the_tools_are_found() {
    let text = r#"
        permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"erp___refund", resource) when { context.input has amount && context.input.amount > 100 };
        permit(principal, action == AgentCore::Action::"erp___refund", resource) when { context.input.amount == 1 };
        permit(principal, action == AgentCore::Action::"erp___refund", resource) when { context.input has amout && context.input.amout == 1 };
        permit(principal, action in AgentCore::Action::"erp", resource) when { context.input has note && context.input.note > 5 };
        permit(principal, action, resource) when { principal.getTag("role") == "x" };
        permit(principal, action == AgentCore::Action::"erp___gone", resource) when { context.input.x == 1 };
        permit(principal is AgentCore::OAuthUser, action in AgentCore::Action::"crm", resource) when { principal.hasTag("a") && principal.getTag("a") == "x" && action in AgentCore::Action::"CallTool" };
    "#;
    let world = World::with(text, ", validation: strict", UPSTREAMS, &TOOLS);
    let findings = world
        .policies
        .findings(world.config.policy.as_ref().unwrap());
    let line = |origin: &str| origin.rsplit(':').next().unwrap().parse::<usize>().unwrap();
    let lines: Vec<_> = findings
        .iter()
        .map(|one| (line(&one.origin), one.is_error, one.message.as_str()))
        .collect();
    let has = |at, is_error, part: &str| {
        let found = lines
            .iter()
            .any(|(line, error, text)| *line == at && *error == is_error && text.contains(part));
        assert!(found, "{at} {part}: {lines:#?}");
    };
    assert!(
        !lines.iter().any(|(line, ..)| *line == 2 || *line == 8),
        "{lines:#?}"
    );
    has(3, true, "amount");
    has(5, true, "String");
    has(6, true, "tag");
    has(7, false, "no tool `erp___gone` is listed");
}

#[test]
fn tests_of_policies_say_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let text = "@id(\"small\") permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::\"erp___refund\", resource) when { principal.hasTag(\"groups\") && principal.getTag(\"groups\") like \"*\\\"f\\\"*\" && context.input.amount <= 500 };\n";
    fs::write(folder.path().join("a.cedar"), text).unwrap();
    let tests = "tests:
  - { caller: { subject: a, claims: { groups: [f] } }, tool: erp___refund, args: { amount: 500 }, expect: allow, by: [small] }
  - { caller: { subject: a, claims: { groups: [f] } }, tool: erp___refund, args: { amount: 501 }, expect: allow }
  - { caller: { kind: api_key, subject: a }, tool: erp___refund, expect: deny, by: [] }
  - { tool: erp___refund, expect: deny, by: [small] }
  - { tool: none___x, expect: deny }
  - { caller: { subject: a, claims: { groups: [f] } }, tool: erp___refund, expect: allow }
";
    fs::write(folder.path().join("t.yaml"), tests).unwrap();
    let yaml =
        format!("policy: {{ files: [a.cedar], tests: [t.yaml] }}\nupstreams: {{ {UPSTREAMS} }}\n");
    let config = config::parse(&yaml, &folder.path().join("weir.yaml"), &|_| None).unwrap();
    let failed = PolicyRules::of(&config).unwrap().run_tests(&config);
    let lines: Vec<_> = failed
        .iter()
        .map(|one| {
            let line = one.origin.rsplit(':').next().unwrap();
            format!("{line}: {}", one.message)
        })
        .collect();
    assert_eq!(
        lines[0],
        "3: expected allow, found deny: no policy permits it"
    );
    assert_eq!(
        lines[1],
        "5: expected to be decided by small, found no policy"
    );
    assert_eq!(
        lines[2],
        "6: the tool `none___x` is of no upstream of this config"
    );
    assert!(
        lines[3].starts_with("7: expected allow, found deny: policy small: "),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4, "{lines:?}");
}
