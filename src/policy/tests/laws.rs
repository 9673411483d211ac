//! Laws for any policies, callers and arguments: what may be called is seen; where nothing reads the
//! context, nothing else is; errors deny.

use proptest::prelude::*;

use super::*;
use crate::catalog::Route;
use crate::json;

const SCHEMA: &str = r#""a":{"type":"integer"},"b":{"type":"string"}"#;
pub(crate) const CATALOG: [Tool<'_>; 4] = [
    ("erp", "one", SCHEMA, ""),
    (
        "erp",
        "two",
        SCHEMA,
        r#","annotations":{"readOnlyHint":true}"#,
    ),
    ("crm", "one", SCHEMA, ""),
    ("crm", "three", "", ""),
];

fn principal() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "principal",
        "principal is AgentCore::OAuthUser",
        "principal is Weir::ApiKey",
        "principal == AgentCore::OAuthUser::\"s0\"",
    ])
    .prop_map(str::to_owned)
}

fn action() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "action",
        "action in AgentCore::Action::\"erp\"",
        "action in AgentCore::Action::\"CallTool\"",
        "action in Weir::Action::\"read_only\"",
        "action == AgentCore::Action::\"crm___one\"",
        "action in [AgentCore::Action::\"erp___two\", AgentCore::Action::\"crm\"]",
    ])
    .prop_map(str::to_owned)
}

/// An expression without the context, some of which cannot be evaluated for some callers.
fn free() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "true",
        "false",
        "principal.hasTag(\"role\")",
        "principal.getTag(\"role\") == \"x\"",
        "principal.hasTag(\"role\") && principal.getTag(\"role\") == \"x\"",
        "principal.hasTag(\"n\") && principal.getTag(\"n\") like \"1*\"",
        "principal.id == \"s1\"",
        "principal == AgentCore::OAuthUser::\"s0\"",
        "[AgentCore::OAuthUser::\"s0\", Weir::ApiKey::\"s1\"].contains(principal)",
        "action == AgentCore::Action::\"erp___one\"",
        "action in AgentCore::Action::\"crm\"",
        "resource == AgentCore::Gateway::\"weir\"",
        "context.weir.upstream == \"erp\"",
        "context.weir.era == \"modern\"",
    ])
    .prop_map(str::to_owned)
}

fn bound() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "context.input has a",
        "context.input.a > 3",
        "context.input has a && context.input.a > 3",
        "context.input has b && context.input.b == \"x\"",
        "context.system.now > datetime(\"2020-01-01\")",
        "context has input",
    ])
    .prop_map(str::to_owned)
}

fn expression(reads_context: bool) -> BoxedStrategy<String> {
    let leaf = match reads_context {
        true => prop_oneof![3 => free(), 2 => bound()].boxed(),
        false => free().boxed(),
    };
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("if ({a}) then ({b}) else ({c})")),
        ]
    })
    .boxed()
}

pub(crate) fn policy(reads_context: bool) -> impl Strategy<Value = String> {
    let mode = prop_oneof![4 => Just(""), 1 => Just("@mode(\"log_only\") ")];
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let kind = prop_oneof![Just("when"), Just("unless")];
    let conditions = prop::collection::vec((kind, expression(reads_context)), 0..3);
    (mode, effect, principal(), action(), conditions).prop_map(
        |(mode, effect, principal, action, conditions)| {
            let conditions = conditions.iter();
            let conditions = conditions.map(|(kind, body)| format!(" {kind} {{ {body} }}"));
            format!(
                "{mode}{effect}({principal}, {action}, resource){};",
                conditions.collect::<String>()
            )
        },
    )
}

pub(crate) fn callers() -> Vec<Caller> {
    let tags: [&[(&str, &str)]; 4] = [
        &[],
        &[("role", "x")],
        &[("role", "y"), ("n", "12")],
        &[("n", "x")],
    ];
    let mut callers = vec![Caller::anonymous(), Caller::local()];
    for tags in tags {
        for subject in ["s0", "s1", "s2"] {
            callers.push(user(subject, tags));
            callers.push(caller(Principal::ApiKey, subject, tags));
        }
        callers.push(caller(Principal::IamEntity, "s1", &[]));
    }
    callers
}

pub(crate) const ARGUMENTS: [&str; 7] = [
    "{}",
    r#"{"a":1}"#,
    r#"{"a":4}"#,
    r#"{"a":4,"b":"x"}"#,
    r#"{"b":"x"}"#,
    r#"{"a":"x","b":7}"#,
    r#"{"a":1e40}"#,
];

/// Whether Cedar, asked with the whole set and all entities, allows what no policy fails on: the
/// reference for slices and classes.
fn reference(
    world: &World,
    caller: &Caller,
    route: &Route,
    arguments: &str,
) -> Option<(bool, Vec<String>)> {
    use crate::policy::actions::{ToolHints, UpstreamActions};
    use crate::policy::entities::{PrincipalEntity, action_entities};
    use cedar_policy::{Authorizer, Context, Decision as Verdict, PolicySet, Request};
    let settings = world.config.policy.as_ref().unwrap();
    let upstream = &world.config.upstreams[route.upstream_index.get()];
    let actions = UpstreamActions::of(world.policies.rules(), upstream);
    let hints = actions
        .is_trusted
        .then(|| ToolHints::read(route.repetition(), &json::Object::new()));
    let action = actions
        .tool(&world.config.upstreams, route.original(), hints)
        .unwrap();
    let principal = PrincipalEntity::of(caller).unwrap();
    let all = principal
        .entities
        .add_entities(action_entities(&action.uid, &action.groups), None)
        .unwrap();
    let input: serde_json::Value = serde_json::from_str(arguments).unwrap();
    if input["a"].is_string() || input["a"].is_f64() || input["b"].is_number() {
        return None;
    }
    let context = serde_json::json!({
        "input": input,
        "system": { "now": { "__extn": { "fn": "datetime", "arg": "2026-11-29T00:00:00Z" } } },
        "weir": { "upstream": route.upstream.as_str(), "exposed": &*route.exposed, "era": "modern", "method": "tools/call" },
    });
    let context = Context::from_json_value(context, None).unwrap();
    let request =
        Request::new(principal.uid, action.uid, actions.resource?, context, None).unwrap();
    let active = settings.policies.iter().filter(|policy| !policy.log_only);
    let set = PolicySet::from_policies(active.map(|policy| policy.policy.clone())).unwrap();
    let response = Authorizer::new().is_authorized(&request, &set, &all);
    let failed = response.diagnostics().errors().count() > 0;
    let reasons = response.diagnostics().reason();
    let named = reasons.map(|id| {
        settings.policies[id.to_string().parse::<usize>().unwrap()]
            .name
            .to_string()
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    Some((response.decision() == Verdict::Allow && !failed, named))
}

fn check(policies: &[String], reads_context: bool) -> Result<(), TestCaseError> {
    let text = policies.join("\n");
    let world = World::new(&text, UPSTREAMS, &CATALOG);
    for caller in callers() {
        let visible = world.policies.visible(&caller, Kind::Tools, Era::Modern);
        for (place, route) in world.catalog.routes(Kind::Tools).enumerate() {
            let mut callable = false;
            for arguments in ARGUMENTS {
                let request =
                    PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, Some(arguments));
                let decision = world.policies.decide(&caller, &request);
                let allowed = decision.is_allowed();
                prop_assert!(
                    !allowed || decision.errors.is_empty(),
                    "{text}\n{decision:?}"
                );
                if let Some((expected, named)) = reference(&world, &caller, &route, arguments) {
                    if !decision.would_deny {
                        prop_assert_eq!(decision.policy_names(), named, "{}", text);
                    }
                    prop_assert_eq!(
                        allowed,
                        expected,
                        "{}\n{:?} {} {}",
                        text,
                        caller,
                        route.exposed,
                        arguments
                    );
                }
                callable |= allowed;
            }
            let sees = visible.contains(place);
            prop_assert!(
                sees || !callable,
                "{text}\n{caller:?} calls {} unseen",
                route.exposed
            );
            prop_assert!(
                reads_context || sees == callable,
                "{text}\n{caller:?} sees {}: {sees}",
                route.exposed
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_may_be_called_is_seen(policies in prop::collection::vec(policy(true), 1..6)) {
        check(&policies, true)?;
    }

    #[test]
    fn what_is_seen_may_be_called_where_nothing_reads_the_context(policies in prop::collection::vec(policy(false), 1..6)) {
        check(&policies, false)?;
    }
}
