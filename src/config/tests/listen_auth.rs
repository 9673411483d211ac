//! `listen.auth`: what may be written, and its defaults.

use super::*;

fn callers(auth: &str) -> CallerAuth {
    let text = format!("listen: {{ address: '127.0.0.1:1', auth: {auth} }}\nupstreams: {{}}\n");
    match config(&text).listen.auth {
        Some(ListenAuth::Callers(auth)) => *auth,
        other => panic!("{other:?}"),
    }
}

fn listen_errors(listen: &str) -> String {
    errors(&format!("listen: {listen}\nupstreams: {{}}\n"))
}

#[test]
fn a_mapping_needs_a_way_in() {
    for auth in [
        "{}",
        "{ jwt: [] }",
        "{ public_url: 'https://w.example/mcp' }",
    ] {
        let found = listen_errors(&format!("{{ auth: {auth} }}"));
        assert!(
            found.contains("listen.auth: nothing says how callers"),
            "{auth}: {found}"
        );
    }
    // One mistake is one error.
    let found = listen_errors("{ auth: { jtw: [{ issuer: 'https://i.example' }] } }");
    assert!(found.contains("did you mean `jwt`"), "{found}");
    assert!(!found.contains("nothing says"), "{found}");
    let found = listen_errors("{ auth: off }");
    assert!(found.contains("listen.auth"), "{found}");
}

#[test]
fn tokens_need_a_public_url_off_loopback() {
    let jwt = "jwt: [{ issuer: 'https://i.example' }]";
    let found = listen_errors(&format!("{{ address: '0.0.0.0:1', auth: {{ {jwt} }} }}"));
    assert!(found.contains("`jwt` needs `public_url`"), "{found}");
    let url = "public_url: 'https://w.example/mcp'";
    let found = listen_errors(&format!(
        "{{ address: '0.0.0.0:1', auth: {{ {url}, {jwt} }} }}"
    ));
    assert_eq!(found, "no error");
}

#[test]
fn a_public_url_stays_as_it_is_written() {
    for url in [
        "https://W.example",
        "https://w.example/mcp/",
        "http://w.example:80/mcp",
    ] {
        let auth = callers(&format!(
            "{{ public_url: '{url}', api_keys: {{ file: k }} }}"
        ));
        assert_eq!(auth.public_url.as_deref(), Some(url));
    }
    for (url, error) in [
        ("https://w.example/mcp?x=1", "has no `?` part"),
        ("https://w.example/mcp#x", "no `#` part"),
        ("ftp://w.example/mcp", "not an `https://`"),
        ("w.example", "not a URL"),
    ] {
        let found = listen_errors(&format!(
            "{{ auth: {{ public_url: '{url}', api_keys: {{ file: k }} }} }}"
        ));
        assert!(found.contains(error), "{url}: {found}");
    }
}

#[test]
fn metadata_follows_from_the_tokens_unless_it_is_written() {
    // On loopback too a token is for an audience: that of `Host` is what its sender likes.
    let jwt = "public_url: 'https://w.example/mcp', jwt: [{ issuer: 'https://i.example' }, { issuer: 'https://i.example' }]";
    let found = callers(&format!("{{ {jwt} }}")).metadata;
    assert_eq!(&*found.name, "weir");
    assert_eq!(found.authorization_servers.concat(), "https://i.example");
    let written = "metadata: { name: n, scopes: [a, b, a], authorization_servers: ['https://j.example'], documentation: 'https://d.example/' }";
    let found = callers(&format!("{{ {jwt}, {written} }}")).metadata;
    let expected = ResourceMetadata {
        name: "n".into(),
        scopes: vec!["a".into(), "b".into()],
        authorization_servers: vec!["https://j.example".into()],
        documentation: Some("https://d.example/".into()),
    };
    assert_eq!(found, expected);
}
