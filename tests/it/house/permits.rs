//! Requests of callers reach an upstream on one way: a permit, minted in one place, leads to the link, and one module
//! sends over it.

use super::{Source, files_with, sources};

/// The rooms that act on behalf of callers.
const ROOMS: &[&str] = &["front", "relay", "session"];

/// A text that only some files of [`ROOMS`] may have in their code.
struct Reserved {
    text: &'static str,
    files: &'static [&'static str],
    reason: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        text: "Permit::",
        files: &["relay/scope.rs"],
        reason: "permits are minted in one place",
    },
    Reserved {
        text: "snapshot.link(",
        files: &["relay/scope.rs"],
        reason: "a permit leads to a link through `Scope::link`",
    },
    Reserved {
        text: ".links()",
        files: &["front/probes.rs", "front/startup.rs"],
        reason: "only what belongs to no caller reads the links without a permit: the readiness probe, and the wait for the same",
    },
    Reserved {
        text: ".link_with_id(",
        files: &[],
        reason: "that is the keepers' way to a link",
    },
    Reserved {
        text: ".catalog",
        files: &[],
        reason: "a caller sees a view, `Scope::view`",
    },
    Reserved {
        text: "link.send(",
        files: &["relay/send/in_flight.rs"],
        reason: "requests leave for upstreams in `relay/send`",
    },
    Reserved {
        text: "link.post(",
        files: &[],
        reason: "messages that nobody waits for go through the outbox of their peer",
    },
    Reserved {
        text: "link.post_later(",
        files: &["relay/send/notices.rs"],
        reason: "messages leave for upstreams in `relay/send`",
    },
    Reserved {
        text: "upstream::ask",
        files: &["relay/send/own.rs", "session/upstream_session.rs"],
        reason: "requests of weir's own leave in `relay/send`; a session that is opened again repeats what was sent there",
    },
];

/// Returns every place that has a reserved text and may not.
fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources
        .iter()
        .filter(|source| ROOMS.contains(&source.module()))
    {
        for rule in RESERVED {
            let has = source.code().any(|line| line.contains(rule.text));
            if has && !rule.files.contains(&&*source.path) {
                found.push(format!("{}: `{}`: {}", source.path, rule.text, rule.reason));
            }
        }
    }
    found
}

#[test]
fn a_caller_reaches_an_upstream_with_a_permit_only() {
    let sources = sources();
    assert_eq!(breaches(&sources), [""; 0]);
    assert_eq!(files_with("Permit::open("), ["relay/scope.rs"]);
    // Each file that is named still has the text, so that the rule still says something.
    for rule in RESERVED {
        for path in rule.files {
            let source = sources.iter().find(|source| source.path == *path);
            let source = source.unwrap_or_else(|| panic!("{path} is gone"));
            let has = source.code().any(|line| line.contains(rule.text));
            assert!(has, "{path} has no `{}`", rule.text);
        }
    }
}

#[test]
fn a_link_without_a_permit_is_found() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let text = "fn call() {\n    let link = scope.snapshot.links().get(0);\n}\n";
    let sources = [
        source("relay/tasks.rs", text),
        source("admin.rs", text),
        source("front/probes.rs", text),
        source(
            "front/legacy.rs",
            "// like snapshot.links()\nPermit::open(caller)",
        ),
    ];
    let found = breaches(&sources);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("relay/tasks.rs: `.links()`"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("front/legacy.rs: `Permit::`"),
        "{found:?}"
    );
}
