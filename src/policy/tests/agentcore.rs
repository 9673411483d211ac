//! Example policies of the AgentCore developer guide ("Example policies": an insurance API; "Common
//! policy patterns"), and requests with the decisions that it documents.

use super::*;

const GATEWAY: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:gateway/insurance-gateway";

const INSURANCE: [Tool<'_>; 5] = [
    (
        "InsuranceAPI",
        "get_policy",
        r#""policyId":{"type":"string"}"#,
        "",
    ),
    (
        "InsuranceAPI",
        "file_claim",
        r#""policyId":{"type":"string"},"claimType":{"type":"string"},"amount":{"type":"number"},"description":{"type":"string"}"#,
        "",
    ),
    (
        "InsuranceAPI",
        "update_coverage",
        r#""policyId":{"type":"string"},"coverageType":{"type":"string"},"newLimit":{"type":"number"}"#,
        "",
    ),
    (
        "InsuranceAPI",
        "get_claim_status",
        r#""claimId":{"type":"string"}"#,
        "",
    ),
    (
        "InsuranceAPI",
        "calculate_premium",
        r#""coverageType":{"type":"string"},"coverageAmount":{"type":"number"},"riskFactors":{"type":"object"}"#,
        "",
    ),
];

fn world(policies: &str) -> World {
    let policies = policies.replace("GATEWAY", &format!("AgentCore::Gateway::\"{GATEWAY}\""));
    let gateway = format!(", gateway: '{GATEWAY}', validation: strict");
    World::with(
        &policies,
        &gateway,
        "InsuranceAPI: { command: x }",
        &INSURANCE,
    )
}

/// Callers by what they bring: subject, tags.
fn who(name: &str) -> Caller {
    match name {
        "nobody" => Caller::anonymous(),
        "user" => user("u", &[]),
        "adjuster" => user(
            "a",
            &[
                ("role", "senior-adjuster"),
                ("scope", "insurance:claim insurance:view"),
            ],
        ),
        "manager" => user("m", &[("role", "manager"), ("username", "clare-admin")]),
        "agent" => user("g", &[("username", "refund-agent")]),
        "groups" => user("x", &[("cognito:groups", r#"["staff","admins"]"#)]),
        "iam" => caller(
            Principal::IamEntity,
            "arn:aws:sts::123456789012:assumed-role/AppRole",
            &[],
        ),
        "stranger" => caller(
            Principal::IamEntity,
            "arn:aws:sts::444455556666:assumed-role/AppRole",
            &[],
        ),
        other => panic!("{other}"),
    }
}

/// Asks for each row: caller, tool, arguments, and whether it is allowed.
fn check(policies: &str, rows: &[(&str, &str, &str, bool)]) {
    let world = world(policies);
    for (name, tool, arguments, allowed) in rows {
        let caller = who(name);
        let decision = world.decide(&caller, ("InsuranceAPI", tool), arguments);
        assert_eq!(
            decision.is_allowed(),
            *allowed,
            "{name} {tool} {arguments} {decision:?}"
        );
        if *allowed {
            let seen = world.seen(&caller, Kind::Tools);
            assert!(
                seen.contains(&format!("InsuranceAPI__{tool}"))
                    || seen.contains(&format!("insuranceapi__{tool}")),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn a_permit_for_several_actions() {
    check(
        r#"permit(principal is AgentCore::OAuthUser,
            action in [AgentCore::Action::"InsuranceAPI___get_policy", AgentCore::Action::"InsuranceAPI___get_claim_status"],
            resource == GATEWAY);"#,
        &[
            ("user", "get_policy", r#"{"policyId":"p"}"#, true),
            ("user", "get_claim_status", r#"{"claimId":"c"}"#, true),
            ("user", "file_claim", r#"{"policyId":"p"}"#, false),
            ("iam", "get_policy", r#"{"policyId":"p"}"#, false),
            ("nobody", "get_policy", r#"{"policyId":"p"}"#, false),
        ],
    );
}

#[test]
fn a_permit_by_role_and_scope() {
    check(
        r#"permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___update_coverage", resource == GATEWAY)
            when { principal.hasTag("role") && (principal.getTag("role") == "senior-adjuster" || principal.getTag("role") == "manager") };
        permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___file_claim", resource == GATEWAY)
            when { principal.hasTag("scope") && principal.getTag("scope") like "*insurance:claim*" };
        permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___get_policy", resource == GATEWAY)
            when { principal.hasTag("cognito:groups") && principal.getTag("cognito:groups") like "*\"admins\"*" };"#,
        &[
            ("adjuster", "update_coverage", "{}", true),
            ("manager", "update_coverage", "{}", true),
            ("user", "update_coverage", "{}", false),
            ("adjuster", "file_claim", "{}", true),
            ("manager", "file_claim", "{}", false),
            ("groups", "get_policy", "{}", true),
            ("user", "get_policy", "{}", false),
        ],
    );
}

#[test]
fn a_forbid_unless_an_argument_is_there() {
    check(
        r#"permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___file_claim", resource == GATEWAY);
        forbid(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___file_claim", resource == GATEWAY)
            unless { context.input has description };"#,
        &[
            (
                "user",
                "file_claim",
                r#"{"policyId":"p","description":"d"}"#,
                true,
            ),
            ("user", "file_claim", r#"{"policyId":"p"}"#, false),
            (
                "user",
                "file_claim",
                r#"{"policyId":"p","description":null}"#,
                false,
            ),
        ],
    );
}

#[test]
fn conditions_on_arguments_of_each_type() {
    check(
        r#"permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___update_coverage", resource == GATEWAY)
            when { context.input has coverageType && context.input has newLimit &&
                ["liability", "collision"].contains(context.input.coverageType) &&
                context.input.newLimit.lessThanOrEqual(decimal("500000.0")) };
        permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"InsuranceAPI___calculate_premium", resource == GATEWAY)
            when { if context.input has riskFactors then context.input.riskFactors has age && context.input.riskFactors.age > 18 else true };"#,
        &[
            (
                "user",
                "update_coverage",
                r#"{"coverageType":"liability","newLimit":500000}"#,
                true,
            ),
            (
                "user",
                "update_coverage",
                r#"{"coverageType":"collision","newLimit":499999.99}"#,
                true,
            ),
            (
                "user",
                "update_coverage",
                r#"{"coverageType":"collision","newLimit":500000.01}"#,
                false,
            ),
            (
                "user",
                "update_coverage",
                r#"{"coverageType":"theft","newLimit":1}"#,
                false,
            ),
            (
                "user",
                "update_coverage",
                r#"{"coverageType":"liability"}"#,
                false,
            ),
            ("user", "calculate_premium", r#"{"coverageType":"x"}"#, true),
            (
                "user",
                "calculate_premium",
                r#"{"riskFactors":{"age":19}}"#,
                true,
            ),
            (
                "user",
                "calculate_premium",
                r#"{"riskFactors":{"age":18}}"#,
                false,
            ),
            ("user", "calculate_premium", r#"{"riskFactors":{}}"#, false),
        ],
    );
}

#[test]
fn an_emergency_shutdown_and_one_of_a_tool() {
    let open = "permit(principal, action, resource == GATEWAY);";
    check(
        &format!("{open} forbid(principal, action, resource);"),
        &[
            ("user", "get_policy", "{}", false),
            ("iam", "file_claim", "{}", false),
        ],
    );
    check(
        &format!(
            r#"{open} forbid(principal, action == AgentCore::Action::"InsuranceAPI___file_claim", resource == GATEWAY);"#
        ),
        &[
            ("user", "get_policy", "{}", true),
            ("user", "file_claim", "{}", false),
        ],
    );
    check(
        &format!(
            r#"{open} forbid(principal, action in AgentCore::Action::"InsuranceAPI", resource == GATEWAY);"#
        ),
        &[("user", "get_policy", "{}", false)],
    );
}

#[test]
fn one_user_and_one_account_are_kept_out() {
    check(
        r#"permit(principal, action, resource == GATEWAY);
        forbid(principal is AgentCore::OAuthUser, action, resource)
            when { principal.hasTag("username") && principal.getTag("username") == "refund-agent" };
        forbid(principal is AgentCore::IamEntity, action, resource) when { principal.id like "*:444455556666:*" };"#,
        &[
            ("user", "get_policy", "{}", true),
            ("agent", "get_policy", "{}", false),
            ("iam", "get_policy", "{}", true),
            ("stranger", "get_policy", "{}", false),
        ],
    );
}

#[test]
fn another_gateway_is_another_resource() {
    check(
        r#"permit(principal, action, resource is AgentCore::Gateway) when { resource != GATEWAY };"#,
        &[("user", "get_policy", "{}", false)],
    );
    check(
        "permit(principal, action, resource is AgentCore::Gateway);",
        &[("user", "get_policy", "{}", true)],
    );
}

/// The eight policies of the page, by number.
fn page() -> String {
    let tool = |name: &str| {
        format!("action == AgentCore::Action::\"InsuranceAPI___{name}\", resource == GATEWAY")
    };
    let policies: [String; 8] = [
        r#"@id("1") permit(principal is AgentCore::OAuthUser, action in [AgentCore::Action::"InsuranceAPI___get_policy", AgentCore::Action::"InsuranceAPI___get_claim_status"], resource == GATEWAY);"#.to_owned(),
        format!(r#"@id("2") permit(principal is AgentCore::OAuthUser, {}) when {{ principal.hasTag("scope") && principal.getTag("scope") like "*insurance:claim*" }};"#, tool("file_claim")),
        format!(r#"@id("3") forbid(principal is AgentCore::OAuthUser, {}) unless {{ principal.hasTag("role") && (principal.getTag("role") == "senior-adjuster" || principal.getTag("role") == "manager") }};"#, tool("update_coverage")),
        format!(r#"@id("4") permit(principal is AgentCore::OAuthUser, {}) when {{ context.input has claimType && (context.input.claimType == "health" || context.input.claimType == "property" || context.input.claimType == "auto") }};"#, tool("file_claim")),
        format!(r#"@id("5") forbid(principal is AgentCore::OAuthUser, {}) unless {{ context.input has description }};"#, tool("file_claim")),
        format!(r#"@id("6") permit(principal is AgentCore::OAuthUser, {}) when {{ principal.hasTag("username") && principal.getTag("username") == "insurance-agent" }};"#, tool("update_coverage")),
        format!(r#"@id("7") permit(principal is AgentCore::OAuthUser, {}) when {{ context.input has coverageType && context.input.coverageType like "*auto*" }};"#, tool("calculate_premium")),
        format!(r#"@id("8") permit(principal is AgentCore::OAuthUser, {}) when {{ context.input has coverageType && context.input has newLimit && (context.input.coverageType == "liability" || context.input.coverageType == "collision") }};"#, tool("update_coverage")),
    ];
    policies.join("\n")
}

/// The six scenarios of the page, with the decisions and policies that it names.
#[test]
fn the_policies_of_the_page_decide_its_scenarios_together() {
    let world = world(&page());
    let claim = r#"{"policyId":"p","claimType":"health","amount":12.5"#;
    for (tags, tool, arguments, allowed, by) in [
        (
            &[("username", "john"), ("scope", "insurance:view")][..],
            "get_policy",
            r#"{"policyId":"p"}"#.to_owned(),
            true,
            &["1"][..],
        ),
        (
            &[("username", "jane"), ("scope", "insurance:claim")],
            "file_claim",
            format!(r#"{claim},"description":"Medical expenses"}}"#),
            true,
            &["2", "4"],
        ),
        (
            &[("username", "jane"), ("scope", "insurance:claim")],
            "file_claim",
            format!("{claim}}}"),
            false,
            &["5"],
        ),
        (
            &[("username", "insurance-agent"), ("role", "senior-adjuster")],
            "update_coverage",
            r#"{"policyId":"p","coverageType":"liability","newLimit":1}"#.to_owned(),
            true,
            &["6", "8"],
        ),
        (
            &[("username", "insurance-agent"), ("role", "agent")],
            "update_coverage",
            r#"{"policyId":"p","coverageType":"liability","newLimit":1}"#.to_owned(),
            false,
            &["3"],
        ),
        (
            &[("username", "anyone"), ("scope", "any")],
            "calculate_premium",
            r#"{"coverageType":"auto-liability","coverageAmount":1}"#.to_owned(),
            true,
            &["7"],
        ),
        (
            &[],
            "calculate_premium",
            r#"{"coverageType":"liability","coverageAmount":1}"#.to_owned(),
            false,
            &[],
        ),
    ] {
        let decision = world.decide(&user("u", tags), ("InsuranceAPI", tool), &arguments);
        assert_eq!(
            (decision.is_allowed(), decision.policy_names()),
            (allowed, by.iter().map(ToString::to_string).collect()),
            "{tool} {arguments}"
        );
    }
}

#[test]
fn roles_and_accounts_of_aws() {
    check(
        r#"permit(principal == AgentCore::IamEntity::"arn:aws:sts::123456789012:assumed-role/AppRole", action == AgentCore::Action::"InsuranceAPI___get_policy", resource == GATEWAY);
        permit(principal is AgentCore::IamEntity, action == AgentCore::Action::"InsuranceAPI___get_claim_status", resource == GATEWAY) when { principal.id like "arn:aws:sts::123456789012:assumed-role/*" };
        permit(principal is AgentCore::IamEntity, action == AgentCore::Action::"InsuranceAPI___file_claim", resource == GATEWAY) when { context.input has amount && context.input.amount.lessThan(decimal("1000.0")) };"#,
        &[
            ("iam", "get_policy", "{}", true),
            ("stranger", "get_policy", "{}", false),
            ("iam", "get_claim_status", "{}", true),
            ("stranger", "get_claim_status", "{}", false),
            ("iam", "file_claim", r#"{"amount":999.99}"#, true),
            ("iam", "file_claim", r#"{"amount":1000}"#, false),
            ("user", "file_claim", r#"{"amount":1}"#, false),
        ],
    );
}
