//! Tokens in the shapes of identity providers.

#![allow(clippy::too_many_lines, reason = "a table is long")]

use serde_json::{Value, json};

use super::*;
use crate::authentication::jwt::tests::providers::{
    auth0, cognito, entra_v1, entra_v2, keycloak, okta,
};

#[tokio::test]
async fn tokens_of_each_provider_are_accepted_and_refused_by_its_habits() {
    let unused = |_: &mut Value| {};
    let rows = vec![
        claims("plain", plain, unused, Accepted),
        claims("Cognito", cognito, unused, Accepted),
        claims("Entra v1", entra_v1, unused, Accepted),
        claims("Entra v2, a user", entra_v2, unused, Accepted),
        claims("Okta", okta, unused, Accepted),
        claims("Auth0", auth0, unused, Accepted),
        claims("Keycloak", keycloak, unused, Accepted),
        // Amazon Cognito.
        claims(
            "Cognito, an ID token",
            cognito,
            with("token_use", json!("id")),
            Wrong(KIND, "token_use"),
        ),
        claims(
            "Cognito, another client",
            cognito,
            with("client_id", json!("evil")),
            Wrong(RULES, "jwt[0].clients"),
        ),
        claims(
            "Cognito, no client",
            cognito,
            without("client_id"),
            Wrong(RULES, "names no client"),
        ),
        claims(
            "Cognito, the other client",
            cognito,
            with("client_id", json!("3xyz")),
            Accepted,
        ),
        claims(
            "Cognito, other groups",
            cognito,
            with("cognito:groups", json!(["sales"])),
            Wrong(RULES, "claims.cognito:groups"),
        ),
        claims(
            "Cognito, no groups",
            cognito,
            without("cognito:groups"),
            Wrong(RULES, "no such claim"),
        ),
        claims(
            "Cognito, groups as text",
            cognito,
            with("cognito:groups", json!("payments")),
            Wrong(RULES, "text and not a list"),
        ),
        claims(
            "Cognito, other scope",
            cognito,
            with("scope", json!("openid")),
            Scopes(&["weir/mcp.invoke"]),
        ),
        claims(
            "Cognito, the scope is a part of one",
            cognito,
            with("scope", json!("weir/mcp.invoke.all")),
            Scopes(&["weir/mcp.invoke"]),
        ),
        claims(
            "Cognito, an audience does not matter",
            cognito,
            with("aud", json!("other")),
            Accepted,
        ),
        // Microsoft Entra.
        claims(
            "Entra v1, issuer without its slash",
            entra_v1,
            with(
                "iss",
                json!("https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47"),
            ),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Entra v1, another tenant",
            entra_v1,
            with("iss", json!("https://sts.windows.net/9188040d/")),
            Wrong("issuer", "9188040d"),
        ),
        claims(
            "Entra v1, Graph's token",
            entra_v1,
            with("aud", json!("00000003-0000-0000-c000-000000000000")),
            Wrong(AUDIENCE, "00000003"),
        ),
        claims(
            "Entra v1, another application",
            entra_v1,
            with("appid", json!("evil")),
            Wrong(RULES, "clients"),
        ),
        claims(
            "Entra v1, no scp",
            entra_v1,
            without("scp"),
            Scopes(&["mcp.invoke"]),
        ),
        claims(
            "Entra v2, a v1 issuer",
            entra_v2,
            with(
                "iss",
                json!("https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/"),
            ),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Entra v2, an application by its role",
            entra_v2,
            |claims| {
                without("scp")(claims);
                claims["roles"] = json!(["Mcp.Invoke.All"]);
            },
            Accepted,
        ),
        claims(
            "Entra v2, an application with another role",
            entra_v2,
            |claims| {
                without("scp")(claims);
                claims["roles"] = json!(["Mcp.Read"]);
            },
            Scopes(&["mcp.invoke"]),
        ),
        claims(
            "Entra v2, in another group",
            entra_v2,
            with("groups", json!(["g-3"])),
            Wrong(RULES, "claims.groups"),
        ),
        claims(
            "Entra v2, too many groups to list",
            entra_v2,
            |claims| {
                without("groups")(claims);
                claims["_claim_names"] = json!({ "groups": "src1" });
                claims["_claim_sources"] =
                    json!({ "src1": { "endpoint": "https://graph.windows.net/…" } });
            },
            Wrong(RULES, "_claim_names"),
        ),
        claims(
            "Entra v2, implicit flow with many groups",
            entra_v2,
            |claims| {
                without("groups")(claims);
                claims["hasgroups"] = json!(true);
            },
            Wrong(RULES, "_claim_names"),
        ),
        // Okta.
        claims(
            "Okta, scopes as text",
            okta,
            with("scp", json!("openid mcp")),
            Accepted,
        ),
        claims(
            "Okta, one scope of two",
            okta,
            with("scp", json!(["mcp"])),
            // Also the one it has: clients ask for what they read here, and some for nothing else.
            Scopes(&["mcp", "openid"]),
        ),
        claims(
            "Okta, no scope of two",
            okta,
            with("scp", json!([])),
            Scopes(&["mcp", "openid"]),
        ),
        claims(
            "Okta, another client",
            okta,
            with("cid", json!("0oa2")),
            Wrong(RULES, "0oa2"),
        ),
        claims(
            "Okta, another audience",
            okta,
            with("aud", json!("api://other")),
            Wrong(AUDIENCE, "api://other"),
        ),
        claims(
            "Okta, numbers among scopes",
            okta,
            with("scp", json!([1, "mcp", null, "openid"])),
            Accepted,
        ),
        // Auth0.
        claims(
            "Auth0, userinfo only",
            auth0,
            with("aud", json!(["https://weir.eu.auth0.com/userinfo"])),
            Wrong(AUDIENCE, "userinfo"),
        ),
        claims(
            "Auth0, issuer without its slash",
            auth0,
            with("iss", json!("https://weir.eu.auth0.com")),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "Auth0, a role that is missing",
            auth0,
            with("https://weir.example.com/roles", json!(["user"])),
            Wrong(RULES, "roles"),
        ),
        claims(
            "Auth0, its dialect of RFC 9068",
            auth0,
            with("client_id", json!("Nz3")),
            Accepted,
        ),
        claims(
            "Auth0, an ID token",
            auth0,
            with("at_hash", json!("x")),
            Wrong(KIND, "ID token"),
        ),
        // Keycloak.
        claims(
            "Keycloak, account's token",
            keycloak,
            with("aud", json!("account")),
            Wrong(AUDIENCE, "account"),
        ),
        claims(
            "Keycloak, without a mapper",
            keycloak,
            without("aud"),
            Wrong(AUDIENCE, "no `aud`"),
        ),
        claims(
            "Keycloak, an ID token",
            keycloak,
            with("typ", json!("ID")),
            Wrong(KIND, "`typ` of its claims"),
        ),
        claims(
            "Keycloak, a refresh token",
            keycloak,
            with("typ", json!("Refresh")),
            Wrong(KIND, "Refresh"),
        ),
        claims(
            "Keycloak, not the role",
            keycloak,
            with("realm_access", json!({ "roles": ["user"] })),
            Wrong(RULES, "realm_access.roles"),
        ),
        claims(
            "Keycloak, a role in the wrong place",
            keycloak,
            with("realm_access", json!("roles")),
            Wrong(RULES, "no such claim"),
        ),
        claims(
            "Keycloak, a claim with the path as its name wins",
            keycloak,
            with("realm_access.roles", json!(["user"])),
            Wrong(RULES, "realm_access.roles"),
        ),
        claims(
            "Keycloak, an address not verified",
            keycloak,
            with("email_verified", json!(false)),
            Wrong(RULES, "email_verified"),
        ),
        claims(
            "Keycloak, an address verified in text",
            keycloak,
            with("email_verified", json!("true")),
            Accepted,
        ),
    ];
    assert!(check(rows).await >= 46);
}
