//! Logins for callers.

use super::*;

const EXCHANGE: &str = "type: oauth2_token_exchange, client_id: me, token_url: 'https://id.example.com/token', client_secret: { env: TOKEN }";

fn upstream(auth: &str, more: &str) -> String {
    format!("upstreams:\n  x:\n    url: https://a.example.com/mcp\n    auth: {{ {auth} }}\n{more}")
}

#[test]
fn a_login_for_callers_has_one_of_weir_beside_it() {
    let listing = "    listing_auth: { type: bearer, token: { env: TOKEN } }\n";
    let config = config(&upstream(&format!("{EXCHANGE}, subject: caller"), listing));
    let x = &config.upstreams["x"];
    assert!(matches!(x.auth, Auth::Bearer(_)));
    let on_behalf = x.on_behalf.as_ref().unwrap();
    assert_eq!(on_behalf.without_caller, WithoutCaller::Refuse);
    let Auth::TokenExchange(exchange) = &on_behalf.auth else {
        panic!()
    };
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(exchange.subject_token_type, kind);
}

#[test]
fn mistakes_in_logins_for_callers_are_named() {
    let listing = "    listing_auth: { type: bearer, token: { env: TOKEN } }\n";
    let circle = format!("    listing_auth: {{ {EXCHANGE}, subject: caller }}\n");
    let both = format!("{EXCHANGE}, subject: caller, subject_token: {{ env: TOKEN }}");
    let caller = format!("{EXCHANGE}, subject: caller");
    let own = format!("{EXCHANGE}, subject_token: {{ env: TOKEN }}");
    let lax = format!("{own}, without_caller: service");
    for (auth, more, expected) in [
        (
            &caller,
            "",
            "x.auth.subject: callers do not list an upstream, weir does: write `listing_auth`",
        ),
        (
            &caller,
            circle.as_str(),
            "x.listing_auth: weir lists an upstream for itself",
        ),
        (&own, listing, "x.listing_auth: is for an `auth` of callers"),
        (
            &both,
            listing,
            "x.auth.subject_token: `subject_token` and `subject` cannot be used together",
        ),
        (
            &lax,
            "",
            "x.auth.without_caller: `without_caller` needs `subject`",
        ),
        (
            &format!("{EXCHANGE}, subject: me"),
            "",
            "x.auth.subject: expected caller, found `me`",
        ),
    ] {
        let found = errors(&upstream(auth, more));
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn subjects_alone_do_not_name_callers_of_several_issuers() {
    let identity = "type: agentcore_identity, workload: w, provider: p, subject: caller_id";
    let issuer = |name: &str| format!("{{ issuer: 'https://{name}', audiences: [a] }}");
    let listing = "    listing_auth: { type: none }\n";
    let yaml = |issuers: &[String]| {
        let (issuers, upstream) = (issuers.join(", "), upstream(identity, listing));
        format!(
            "listen: {{ auth: {{ public_url: 'https://w/mcp', jwt: [{issuers}] }} }}\n{upstream}"
        )
    };
    config(&yaml(&[issuer("a")]));
    let found = errors(&yaml(&[issuer("a"), issuer("b")]));
    assert!(
        found.contains("upstreams.x.auth.subject: several issuers"),
        "{found}"
    );
}

#[test]
fn the_workload_token_of_a_platform_needs_no_workload_and_a_platform() {
    let identity =
        "type: agentcore_identity, provider: p, region: eu-west-1, subject: workload_token";
    let listing = "    listing_auth: { type: none }\n";
    let platform = "subject_header: X-User, from: [127.0.0.1]";
    let yaml = |auth: &str, platform: &str| {
        let upstream = upstream(auth, listing);
        format!(
            "listen: {{ sessions: platform, auth: {{ platform: {{ {platform} }} }} }}\n{upstream}"
        )
    };
    let takes = format!("{platform}, workload_token: true");
    let good = config(&yaml(identity, &takes));
    let on_behalf = good.upstreams["x"].on_behalf.as_ref().unwrap();
    assert!(on_behalf.auth.is_of_caller());
    for (yaml, expected) in [
        (
            yaml(identity, platform),
            "upstreams.x.auth.subject: `subject: workload_token` needs `listen.auth.platform.workload_token: true`",
        ),
        (
            yaml(&format!("{identity}, workload: w"), &takes),
            "x.auth.workload: `workload` and `subject: workload_token` cannot be used together",
        ),
        (
            yaml(&identity.replace("workload_token", "caller"), &takes),
            "x.auth: `workload` is missing",
        ),
    ] {
        let found = errors(&yaml);
        assert!(found.contains(expected), "{found}");
    }
}
