//! Tokens and entries in the shapes of identity providers.

use serde_json::{Value, json};

use super::{NOW, PUBLIC_URL, entry, texts};
use crate::config::{AudienceRule, ClaimRule, JwtIssuer};

/// A provider: the entries of a config for it, and the claims of a token that they accept.
pub(super) struct Provider {
    pub(super) entries: Vec<JwtIssuer>,
    pub(super) claims: Value,
}

fn provider(issuer: &str, change: impl FnOnce(&mut JwtIssuer), more: &Value) -> Provider {
    let mut entry = entry(issuer);
    change(&mut entry);
    let mut claims = json!({ "iss": issuer, "sub": "s-1", "iat": NOW - 10, "exp": NOW + 3600 });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    Provider {
        entries: vec![entry],
        claims,
    }
}

/// An issuer without habits.
pub(super) fn plain() -> Provider {
    let more = json!({ "aud": PUBLIC_URL, "client_id": "app", "scope": "mcp:read" });
    provider("https://id.example.com", |_| {}, &more)
}

/// Amazon Cognito: no `aud`, the client and `token_use` instead.
pub(super) fn cognito() -> Provider {
    let more = json!({
        "client_id": "4abc", "token_use": "access", "scope": "weir/mcp.invoke openid",
        "cognito:groups": ["payments", "all"], "username": "ada", "version": 2,
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.audience = AudienceRule::Any;
        entry.clients = texts(&["3xyz", "4abc"]);
        entry.scopes = texts(&["weir/mcp.invoke"]);
        let groups = ClaimRule::ContainsAny(texts(&["payments", "ops"]));
        entry.claims.insert("cognito:groups".to_owned(), groups);
    };
    let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf";
    provider(issuer, rules, &more)
}

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// Microsoft Entra, tokens of version 1.
pub(super) fn entra_v1() -> Provider {
    let more = json!({
        "aud": "api://weir", "appid": "6e74172b", "appidacr": "1", "scp": "mcp.invoke user.read",
        "oid": "690222be", "tid": TENANT, "ver": "1.0", "nbf": NOW - 10,
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.audience = AudienceRule::OneOf(texts(&["api://weir"]));
        entry.clients = texts(&["6e74172b"]);
        entry.scopes = texts(&["mcp.invoke"]);
    };
    provider(&format!("https://sts.windows.net/{TENANT}/"), rules, &more)
}

/// Microsoft Entra, tokens of version 2: users have scopes, applications have roles.
pub(super) fn entra_v2() -> Provider {
    let more = json!({
        "aud": "2b7c", "azp": "6e74172b", "azpacr": "1", "scp": "mcp.invoke", "oid": "690222be",
        "tid": TENANT, "ver": "2.0", "nbf": NOW - 10, "groups": ["g-1", "g-2"],
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.audience = AudienceRule::OneOf(texts(&["2b7c"]));
        entry.scopes = texts(&["mcp.invoke"]);
        let groups = ClaimRule::Contains("g-2".to_owned());
        entry.claims.insert("groups".to_owned(), groups);
    };
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let mut users = provider(&issuer, rules, &more);
    let mut applications = entry(&issuer);
    applications.audience = AudienceRule::OneOf(texts(&["2b7c"]));
    let role = ClaimRule::Contains("Mcp.Invoke.All".to_owned());
    applications.claims.insert("roles".to_owned(), role);
    users.entries.push(applications);
    users
}

/// Okta, a custom authorization server: `cid`, and `scp` as a list.
pub(super) fn okta() -> Provider {
    let more = json!({
        "aud": "api://default", "cid": "0oa1", "scp": ["mcp", "openid"], "uid": "00u1",
        "ver": 1, "jti": "AT.1",
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.audience = AudienceRule::OneOf(texts(&["api://default"]));
        entry.clients = texts(&["0oa1"]);
        entry.all_scopes = texts(&["mcp", "openid"]);
    };
    provider("https://dev-1.okta.com/oauth2/default", rules, &more)
}

/// Auth0: a list of audiences, an issuer that ends in a slash.
pub(super) fn auth0() -> Provider {
    let userinfo = "https://weir.eu.auth0.com/userinfo";
    let more = json!({
        "aud": [PUBLIC_URL, userinfo], "azp": "Nz3", "scope": "openid mcp:invoke",
        "permissions": ["read:tools"], "https://weir.example.com/roles": ["operator"],
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.scopes = texts(&["mcp:invoke"]);
        let role = ClaimRule::Contains("operator".to_owned());
        let name = "https://weir.example.com/roles".to_owned();
        entry.claims.insert(name, role);
        let permission = ClaimRule::Contains("read:tools".to_owned());
        entry.claims.insert("permissions".to_owned(), permission);
    };
    provider("https://weir.eu.auth0.com/", rules, &more)
}

/// Keycloak: roles in objects, the client in `azp` only.
pub(super) fn keycloak() -> Provider {
    let more = json!({
        "typ": "Bearer", "azp": "cursor", "aud": ["weir", "account"], "scope": "openid profile",
        "realm_access": { "roles": ["user", "mcp"] },
        "resource_access": { "weir.prod": { "roles": ["tool:search"] } },
        "email_verified": true, "preferred_username": "ada",
    });
    let rules = |entry: &mut JwtIssuer| {
        entry.audience = AudienceRule::OneOf(texts(&["weir"]));
        entry.clients = texts(&["cursor"]);
        for (name, rule) in [
            ("realm_access.roles", ClaimRule::Contains("mcp".to_owned())),
            (
                "resource_access.weir.prod.roles",
                ClaimRule::Contains("tool:search".to_owned()),
            ),
            ("email_verified", ClaimRule::Equals("true".to_owned())),
        ] {
            entry.claims.insert(name.to_owned(), rule);
        }
    };
    provider("https://sso.example.com/realms/corp", rules, &more)
}
