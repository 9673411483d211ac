//! `replicas`: what is read, and what is said of mistakes.

use super::*;

const SHARED: &str = "instance: edge\nsealing_key: { value: 0123456789-0123456789-0123456789 }\n";

fn read(replicas: &str) -> Arc<ReplicaSettings> {
    let config = config(&format!("replicas: {replicas}\n{SHARED}"));
    config.replicas.unwrap()
}

fn mistakes(replicas: &str) -> String {
    errors(&format!("replicas: {replicas}\n{SHARED}"))
}

#[test]
fn a_store_has_defaults() {
    let read = read("{ store: { url: 'redis://127.0.0.1' } }");
    let store = read.store.as_ref().unwrap();
    assert_eq!((&*store.host, store.port), ("127.0.0.1", 6379));
    assert_eq!(store.database, 0);
    assert!(store.tls.is_none() && store.password.is_none());
    assert_eq!(store.timeout, Duration::from_millis(250));
    assert!(read.peers.is_empty());
    assert_eq!(&*read.prefix, "weir:edge");
    assert_eq!(read.when_lost, WhenLost::Local);
}

#[test]
fn a_store_has_everything() {
    let read = read(
        "{ store: { url: 'rediss://${HOST}:7000/3', username: u, password: { env: TOKEN }, timeout: 1s, tls: { min_version: '1.3' } }, \
         prefix: mine, when_lost: refuse }",
    );
    let store = read.store.as_ref().unwrap();
    assert_eq!(
        (&*store.host, store.port, store.database),
        ("api.example.com", 7000, 3)
    );
    assert_eq!(store.username.as_deref(), Some("u"));
    assert_eq!(store.tls.as_ref().unwrap().min_version, TlsVersion::V1_3);
    assert_eq!((&*read.prefix, read.when_lost), ("mine", WhenLost::Refuse));
    assert!(!format!("{read:?}").contains("t0ken"), "{read:?}");
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    for (url, words) in [
        ("http://a", "not the URL of a store"),
        ("redis://u:p@127.0.0.1", "must not hold credentials"),
        ("redis://127.0.0.1/x", "the number of a database"),
        ("redis://127.0.0.1/0?a=b", "the number of a database"),
        (
            "redis://store.example.com",
            "can be read and changed on the way",
        ),
        (
            "redis://169.254.169.254",
            "can be read and changed on the way",
        ),
        ("nothing", "not the URL of a store"),
    ] {
        let said = mistakes(&format!("{{ store: {{ url: '{url}' }} }}"));
        assert!(
            said.contains("replicas.store.url: ") && said.contains(words),
            "{url}: {said}"
        );
        assert!(!said.contains("u:p"), "{said}");
    }
    for near in [
        "localhost",
        "10.1.2.3",
        "valkey",
        "[::1]",
        "valkey.svc.cluster.local",
    ] {
        let said = mistakes(&format!("{{ store: {{ url: 'redis://{near}' }} }}"));
        assert_eq!(said, "no error", "{near}");
    }
    let said = mistakes("{ store: { url: 'redis://a', username: u }, prefix: 'a b' }");
    assert!(
        said.contains("replicas.store.username: a user logs in with a `password`"),
        "{said}"
    );
    assert!(said.contains("replicas.prefix: "), "{said}");
    let said = mistakes("{ store: { url: 'redis://a', tls: {} } }");
    assert!(
        said.contains("replicas.store.tls: `redis://` has no TLS"),
        "{said}"
    );
}

#[test]
fn peers_are_listeners_that_are_reached_in_private_or_by_tls() {
    let read = read("{ peers: ['http://10.0.0.1:8000', 'https://${HOST}', 'http://[::1]:81/'] }");
    assert!(read.store.is_none());
    let peers = read.peers.iter().map(|peer| {
        let ReplicaUrl {
            host,
            port,
            has_tls,
        } = peer;
        (&**host, *port, *has_tls)
    });
    assert_eq!(
        peers.collect::<Vec<_>>(),
        [
            ("10.0.0.1", 8000, false),
            ("api.example.com", 443, true),
            ("::1", 81, false)
        ]
    );
    for (url, words) in [
        ("redis://10.0.0.1", "not the listener of a replica"),
        ("http://10.0.0.1/mcp", "not the listener of a replica"),
        ("10.0.0.1:8000", "not the listener of a replica"),
        ("http://u:p@10.0.0.1", "must not hold credentials"),
        (
            "http://weir.example.com",
            "can be read and changed on the way",
        ),
    ] {
        let said = mistakes(&format!("{{ peers: ['{url}'] }}"));
        assert!(
            said.contains("replicas.peers[0]: ") && said.contains(words),
            "{url}: {said}"
        );
    }
    let many = vec!["'http://10.0.0.1'"; 65].join(", ");
    let said = mistakes(&format!("{{ peers: [{many}] }}"));
    assert!(said.contains("at most 64 replicas"), "{said}");
    let said = mistakes("{ when_lost: local }");
    assert!(said.contains("write one of them"), "{said}");
}

#[test]
fn replicas_have_one_key_and_one_name() {
    let said = errors("replicas: { store: { url: 'redis://a' } }\n");
    assert!(said.contains("write `sealing_key`"), "{said}");
    assert!(said.contains("write `instance`"), "{said}");
}
