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
            "{{ public_url: '{url}', platform: {{ subject_header: X-User, from: ['10.0.0.0/8'] }} }}"
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
            "{{ auth: {{ public_url: '{url}', platform: {{ subject_header: X-User, from: ['10.0.0.0/8'] }} }} }}"
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

#[test]
fn a_file_of_keys_is_checked_with_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callers.yaml");
    let hash = format!("sha256:{}", "0a".repeat(32));
    let found = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let found = listen_errors(&format!(
            "{{ auth: {{ api_keys: {{ file: '{}' }} }} }}",
            file.display()
        ));
        found.replace(&folder.path().display().to_string(), "")
    };
    let good = format!(
        "ci: {{ subject: builds, hash: '{hash}', scopes: [a], tags: {{ n: 1 }}, expires: 2030-01-31 }}\n"
    );
    assert_eq!(found(&good), "no error");
    assert_eq!(found("{}\n"), "no error");
    let wrong = format!(
        "\
a_b: {{ subject: s, hash: '{hash}' }}
b: {{ subject: '', hash: 'sha256:12' }}
c: {{ subject: s, hash: '{hash}', expires: tomorrow, scopes: ['a b'], x: 1 }}
d: {{ hash: '{hash}' }}
e: {{ subject: \"a\\nb\", hash: '{hash}', tags: {{ t: '' }} }}
"
    );
    insta::assert_snapshot!(found(&wrong), @r"
    /callers.yaml:1:1: a_b: the id of a key has 1 to 32 letters, digits and `-`
    /callers.yaml:2:15: b.subject: must not be empty
    /callers.yaml:2:25: b.hash: not a hash of a key, which `weir key new` writes: `sha256:` and 64 digits of hex
    /callers.yaml:3:108: c.expires: not a time: write a day such as 2027-02-01, or 2027-02-01T12:00:00Z
    /callers.yaml:3:127: c.scopes[0]: a scope has no spaces, quotes or control characters, and is not empty
    /callers.yaml:3:135: c.x: unknown key; the keys here are subject, hash, scopes, tags, expires
    /callers.yaml:4:4: d: `subject` is missing
    /callers.yaml:5:15: e.subject: has a tab, a line break or the like, as `\t` and `\n` are in double quotes: write a Windows path in single quotes
    /callers.yaml:5:115: e.tags.t: must not be empty
    ");
    std::fs::remove_file(&file).unwrap();
    let missing = listen_errors(&format!(
        "{{ auth: {{ api_keys: {{ file: '{}' }} }} }}",
        file.display()
    ));
    assert!(
        missing.contains("listen.auth.api_keys.file: file"),
        "{missing}"
    );
}

#[test]
fn the_headers_of_a_platform_are_its_own_and_its_networks_are_named() {
    let found = |platform: &str| listen_errors(&format!("{{ auth: {{ platform: {platform} }} }}"));
    let good = "{ subject_header: X-User, issuer: 'https://i', scopes_header: X-Scopes, claims: { a: X-A }, from: [127.0.0.0/8, '::1', 10.1.2.3] }";
    assert_eq!(found(good), "no error");
    for (platform, error) in [
        (
            "{ subject_header: X-User, from: [] }",
            "name the networks of the platform",
        ),
        (
            "{ subject_header: X-User, from: [10.0.0.0/33] }",
            "not a network",
        ),
        (
            "{ subject_header: X-User, from: [localhost] }",
            "not a network",
        ),
        (
            "{ subject_header: Authorization, from: [10.0.0.1] }",
            "has another meaning",
        ),
        (
            "{ subject_header: Mcp-Name, from: [10.0.0.1] }",
            "weir sets this header itself",
        ),
        (
            "{ subject_header: 'a b', from: [10.0.0.1] }",
            "not a header name",
        ),
        (
            "{ subject_header: X-User, scopes_header: x-user, from: [10.0.0.1] }",
            "this header is set twice",
        ),
        ("{ subject_header: X-User }", "`from` is missing"),
    ] {
        let found = found(platform);
        assert!(found.contains(error), "{platform}: {found}");
    }
}

#[test]
fn client_certificates_need_tls_and_files_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap().pem();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &cert);
    write("key.pem", &key.serialize_pem());
    let at = folder.path().display();
    let tls = format!("tls: {{ cert: '{at}/ca.pem', key: {{ file: '{at}/key.pem' }} }}");
    let found = |certificates: &str, tls: &str| {
        listen_errors(&format!(
            "{{ {tls} auth: {{ client_certificates: {certificates} }} }}"
        ))
    };
    let tls = format!("{tls},");
    let good = format!("{{ ca: '{at}/ca.pem', required: true }}");
    assert_eq!(found(&good, &tls), "no error");
    let plain = found(&good, "");
    assert!(
        plain.contains("`client_certificates` needs `listen.tls`"),
        "{plain}"
    );
    let wrong = found(
        &format!("{{ ca: '{at}/key.pem', crl: '{at}/ca.pem' }}"),
        &tls,
    );
    assert!(
        wrong.contains("client_certificates.ca: there is no certificate"),
        "{wrong}"
    );
    assert!(
        wrong.contains("client_certificates.crl: there is no list"),
        "{wrong}"
    );
}

#[test]
fn a_workload_token_comes_with_the_sessions_of_the_platform_and_with_another_way_in() {
    let found = |members: &str| listen_errors(&format!("{{ {members} }}"));
    let user = "subject_header: X-User, from: [127.0.0.1]";
    let with = |more: &str| format!("sessions: platform, auth: {{ platform: {{ {more} }} }}");
    let good = with(&format!("{user}, workload_token: true"));
    assert_eq!(found(&good), "no error");
    let with_jwt = "sessions: platform, auth: { jwt: [{ issuer: 'https://i.example', audiences: [a] }], platform: { workload_token: true, from: [127.0.0.1] } }";
    assert_eq!(found(with_jwt), "no error");
    for (members, error) in [
        (
            format!("auth: {{ platform: {{ {user}, workload_token: true }} }}"),
            "listen.auth.platform.workload_token: `workload_token` needs `listen.sessions: platform`",
        ),
        (
            with("workload_token: true, from: [127.0.0.1]"),
            "listen.auth: nothing says how callers",
        ),
        (
            with("from: [127.0.0.1]"),
            "listen.auth.platform: `subject_header` is missing",
        ),
        (
            with_jwt.replace("workload_token: true", "workload_token: true, issuer: i"),
            "listen.auth.platform.issuer: `issuer` needs `subject_header`",
        ),
    ] {
        let found = found(&members);
        assert!(found.contains(error), "{members}: {found}");
    }
}
