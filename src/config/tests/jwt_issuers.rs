//! `listen.auth.jwt`: what may be written, and its defaults.

use super::*;

fn listen_errors(auth: &str) -> String {
    errors(&format!("listen: {{ auth: {auth} }}\nupstreams: {{}}\n"))
}

/// The one issuer of this entry.
fn issuer(entry: &str) -> JwtIssuer {
    let text = format!(
        "listen: {{ auth: {{ public_url: 'https://w.example/mcp', jwt: [{entry}] }} }}\nupstreams: {{}}\n"
    );
    match config(&text).listen.auth {
        Some(ListenAuth::Callers(auth)) => auth.jwt.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_an_issuer_are_at_one_place() {
    let origin = |entry: &str| {
        let issuer = issuer(entry);
        (issuer.issuer.to_string(), issuer.keys)
    };
    let url = |text: &str| text.parse().unwrap();
    let (issuer, keys) = origin("{ issuer: 'https://i.example/t/' }");
    assert_eq!(issuer, "https://i.example/t/");
    assert_eq!(keys, JwksOrigin::Issuer(url("https://i.example/t/")));
    // As AgentCore writes it: the issuer follows.
    for (discovery, issuer) in [
        (
            "https://i.example/.well-known/openid-configuration",
            "https://i.example",
        ),
        (
            "https://i.example/t/v2.0/.well-known/openid-configuration",
            "https://i.example/t/v2.0",
        ),
        (
            "https://i.example/.well-known/oauth-authorization-server/t",
            "https://i.example/t",
        ),
    ] {
        let (found, keys) = origin(&format!("{{ discovery_url: '{discovery}' }}"));
        assert_eq!(found, issuer);
        assert_eq!(keys, JwksOrigin::Metadata(url(discovery)));
    }
    let (issuer, keys) = origin("{ issuer: i, jwks: { url: 'http://127.0.0.1:9/keys' } }");
    assert_eq!(issuer, "i");
    assert_eq!(keys, JwksOrigin::Url(url("http://127.0.0.1:9/keys")));
}

#[test]
fn an_issuer_has_defaults() {
    let one = issuer("{ issuer: 'https://i.example' }");
    assert_eq!(one.audience, AudienceRule::PublicUrl);
    assert_eq!(one.leeway, Duration::from_secs(60));
    assert_eq!(one.keys_max_age, Duration::from_secs(86_400));
    let client =
        issuer("{ issuer: 'https://i.example', clients: [4abc], all_scopes: [a], scopes: [b] }");
    assert_eq!(client.audience, AudienceRule::Any);
    assert_eq!(client.needed_scopes().collect::<Vec<_>>(), ["b", "a"]);
    let both = issuer("{ issuer: 'https://i.example', clients: [4abc], audiences: [w] }");
    assert_eq!(both.audience, AudienceRule::OneOf(vec!["w".to_owned()]));
    let rules = issuer(
        "{ issuer: 'https://i.example', claims: { 'cognito:groups': { contains_any: [a, 7] }, level: { equals: 3 }, roles: { contains: x } } }",
    );
    assert_eq!(
        rules.claims.into_values().collect::<Vec<_>>(),
        [
            ClaimRule::ContainsAny(vec!["a".to_owned(), "7".to_owned()]),
            ClaimRule::Equals("3".to_owned()),
            ClaimRule::Contains("x".to_owned()),
        ]
    );
}

/// Whether there is a `public_url`, a wrong entry of `jwt`, and what is said of it.
const WRONG_ISSUERS: [(bool, &str, &str); 17] = [
    (
        true,
        "{}",
        "listen.auth.jwt[0]: `issuer` or `discovery_url` is missing",
    ),
    (
        true,
        "{ issuer: '' }",
        "listen.auth.jwt[0].issuer: must not be empty",
    ),
    (
        true,
        "{ issuer: i.example }",
        "listen.auth.jwt[0].issuer: not a URL",
    ),
    (true, "{ issuer: 'http://i.example' }", "use https"),
    (true, "{ issuer: 'https://i.example?x' }", "no `?` part"),
    (
        true,
        "{ discovery_url: 'https://i.example/config' }",
        "`discovery_url` needs `issuer`",
    ),
    (
        true,
        "{ issuer: i, jwks: { url: 'http://10.0.0.1/k' } }",
        "listen.auth.jwt[0].jwks.url: keys that come over plain http",
    ),
    (
        true,
        "{ issuer: i, jwks: { file: no.json } }",
        "listen.auth.jwt[0].jwks.file: file",
    ),
    (
        true,
        "{ issuer: 'https://i.example', jwks: { file: a, url: b } }",
        "jwks",
    ),
    (
        true,
        "{ issuer: 'https://i.example', discovery_url: 'https://i.example/x', jwks: { file: a } }",
        "cannot be used together",
    ),
    (
        true,
        "{ issuer: 'https://i.example', audiences: [] }",
        "audiences: must not be empty",
    ),
    (
        true,
        "{ issuer: 'https://i.example', audience: [a] }",
        "did you mean `audiences`",
    ),
    (
        true,
        "{ issuer: 'https://i.example', scopes: ['a b'] }",
        "a scope has no spaces",
    ),
    (
        true,
        "{ issuer: 'https://i.example', leeway: 10m }",
        "5m at most",
    ),
    (
        true,
        "{ issuer: 'https://i.example', claims: { a: { starts_with: x } } }",
        "claims.a",
    ),
    (
        true,
        "{ issuer: 'https://i.example', claims: { a: x } }",
        "claims.a",
    ),
    (
        false,
        "{ issuer: 'https://i.example' }",
        "listen.auth.jwt[0]: tokens for other servers must not be accepted",
    ),
];

#[test]
fn what_is_wrong_with_an_issuer_is_said() {
    for (has_url, entry, error) in WRONG_ISSUERS {
        let url = if has_url {
            "public_url: 'https://w.example/mcp', "
        } else {
            ""
        };
        let found = listen_errors(&format!("{{ {url}jwt: [{entry}] }}"));
        assert!(found.contains(error), "{entry}: {found}");
        assert_eq!(found.lines().count(), 1, "{entry}: {found}");
    }
}
