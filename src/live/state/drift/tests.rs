//! The gate, change by change: what callers see, what waits, what is pinned.

mod names;
mod pins;
mod properties;
mod renames;

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::catalog::{Catalog, ChangeClass, Digest, Kind, RenamedDefinition, Repetition};
use crate::json::Object;
use crate::live::state::{State, StateChange};
use crate::protocol::era::Era;

const ANN: u64 = 0;

/// The listings of one upstream under one setting, and what callers see of them.
struct Run {
    state: State,
    seen: Option<Arc<Catalog>>,
    effects: Effects,
    round: u64,
    now: Instant,
}

fn config(drift: &str) -> Config {
    let yaml =
        format!("version: 1\nupstreams:\n  ann: {{ url: \"http://127.0.0.1:1/mcp\", {drift} }}\n");
    config::parse(&yaml, Path::new("weir.yaml"), &|_| None).unwrap()
}

fn listing(definitions: &[&str]) -> Arc<Listing> {
    let mut listing = Listing::of(Era::Modern);
    for raw in definitions {
        let kind = match raw.contains("inputSchema") {
            true => Kind::Tools,
            false => Kind::Prompts,
        };
        listing.add(kind, raw);
    }
    let listing = listing.finish();
    assert_eq!(listing.invalid(), []);
    Arc::new(listing)
}

impl Run {
    fn with(drift: &str) -> Self {
        Self {
            state: State::new(Arc::new(config(drift)), [ANN]),
            seen: None,
            effects: Effects::default(),
            round: 0,
            now: Instant::now(),
        }
    }

    /// Whether callers or operators see something else now.
    fn apply(&mut self, change: StateChange) -> bool {
        self.effects = self.state.apply([change]);
        let publish = self.effects.publish.take();
        let published = publish.is_some();
        if let Some(catalog) = publish {
            self.seen = Some(catalog);
        }
        published
    }

    fn lists(&mut self, definitions: &[&str]) -> bool {
        self.lists_over(ANN, definitions)
    }

    fn lists_over(&mut self, link: u64, definitions: &[&str]) -> bool {
        self.round += 1;
        self.now += Duration::from_secs(1);
        self.apply(StateChange::Listed {
            link,
            round: self.round,
            at: self.now,
            on: SystemTime::UNIX_EPOCH,
            listing: Some(listing(definitions)),
        })
    }

    fn configured(&mut self, link: u64, yaml: &str) {
        let config = config::parse(yaml, Path::new("weir.yaml"), &|_| None).unwrap();
        self.apply(StateChange::Configured {
            config: Arc::new(config),
            links: vec![link],
            now: self.now,
        });
        self.round = 0;
    }

    fn accepts(&mut self, kind: Kind, original: &str, digest: Option<Digest>) -> AcceptOutcome {
        self.apply(StateChange::Accepted {
            request: AcceptRequest {
                link: ANN,
                kind,
                original: original.into(),
                digest,
            },
            now: self.now,
        });
        self.effects.accepted.pop().unwrap()
    }

    /// Returns what callers see of a tool or prompt, as its upstream would list it.
    fn sees(&self, name: &str) -> Option<String> {
        let catalog = self.seen.as_ref().unwrap();
        let exposed = format!("ann__{name}");
        let mut kinds = [Kind::Tools, Kind::Prompts].into_iter();
        let text = kinds.find_map(|kind| catalog.definition(kind, &exposed))?;
        Some(text.replace(&exposed, name))
    }

    fn drift(&self) -> DriftReport {
        let entry = self.state.upstreams.first().unwrap();
        let listed = entry.listed.as_ref().unwrap();
        listed.prepared.drift().clone()
    }

    /// Returns what waits: the name, and the class of the change.
    fn waits(&self) -> Vec<(String, ChangeClass)> {
        let drift = self.drift();
        let drifted = drift.drifted.iter();
        drifted
            .map(|drifted| (drifted.original.to_string(), drifted.class()))
            .collect()
    }
}

const SEND: &str = r#"{"name":"send","description":"Sends.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"to":{"type":"string","description":"Whom."}},"required":["to"]}}"#;

/// [`SEND`] under another name and with another text.
fn called(name: &str, text: &str) -> String {
    let named = SEND.replace("\"send\"", &format!("\"{name}\""));
    named.replace("Sends.", text)
}

/// Changes of [`SEND`], one of each class.
fn redefinitions() -> [(ChangeClass, String); 6] {
    let of = |from: &str, to: &str| {
        assert!(SEND.contains(from));
        SEND.replacen(from, to, 1)
    };
    [
        (ChangeClass::Cosmetic, of("\"Sends.\"", "\"Send\\u0073.\"")),
        (ChangeClass::Widened, of(",\"required\":[\"to\"]", "")),
        (
            ChangeClass::Narrowed,
            of("\"type\":\"string\"", "\"type\":\"string\",\"maxLength\":3"),
        ),
        (
            ChangeClass::NewRequired,
            of(
                "\"properties\":{",
                "\"properties\":{\"key\":{\"type\":\"string\"},",
            )
            .replace("[\"to\"]", "[\"to\",\"key\"]"),
        ),
        (ChangeClass::Annotation, of("true", "false")),
        (ChangeClass::Description, of("Sends.", "Sends all.")),
    ]
}

#[test]
fn each_class_under_each_setting() {
    let thresholds = [
        ("", ChangeClass::Widened),
        ("cosmetic", ChangeClass::Cosmetic),
        ("widened", ChangeClass::Widened),
        ("narrowed", ChangeClass::Narrowed),
        ("new_required", ChangeClass::NewRequired),
        ("annotation", ChangeClass::Annotation),
    ];
    for policy in ["accept", "hold", "quarantine"] {
        for (threshold, most) in thresholds {
            for (class, after) in redefinitions() {
                let what = format!("{policy} {threshold}: {class:?}");
                let mut run = Run::with(&match threshold {
                    "" => format!("drift: {policy}"),
                    threshold => format!("drift: {{ policy: {policy}, threshold: {threshold} }}"),
                });
                assert!(run.lists(&[SEND]), "{what}");
                assert_eq!(run.sees("send").as_deref(), Some(SEND), "{what}");
                run.lists(&[&after]);
                let passes = policy == "accept" || class <= most;
                let expected = match policy {
                    _ if passes => Some(after.as_str()),
                    "hold" => Some(SEND),
                    _ => None,
                };
                assert_eq!(run.sees("send").as_deref(), expected, "{what}");
                let waits = match passes {
                    true => vec![],
                    false => vec![("send".to_owned(), class)],
                };
                assert_eq!(run.waits(), waits, "{what}");
                assert_eq!(run.effects.drifted.len(), waits.len(), "{what}");
                // The same again is no news.
                assert!(!run.lists(&[&after]), "{what}");
                // The definition that passed is the measure from now on.
                run.lists(&[SEND]);
                let back = policy == "accept" || !passes || {
                    let back = crate::catalog::compare_definitions(Kind::Tools, &after, SEND);
                    back.iter().all(|change| change.class <= most)
                };
                assert_eq!(run.waits().is_empty(), back, "{what}");
            }
        }
    }
}

#[test]
fn accept_pins_nothing_and_drops_what_is_pinned() {
    let mut run = Run::with("drift: accept");
    run.lists(&[SEND]);
    assert!(run.state.pins(ANN).is_none());
    assert!(run.effects.pins_changed.is_empty());
    let yaml = |drift: &str| {
        format!("upstreams:\n  ann: {{ url: \"http://127.0.0.1:1/mcp\", drift: {drift} }}\n")
    };
    // From then on what was listed last is the measure.
    run.configured(1, &yaml("hold"));
    assert_eq!(run.effects.pins_changed, [1]);
    let after = SEND.replace("Sends.", "Sends all.");
    run.lists_over(1, &[&after]);
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    run.configured(2, &yaml("accept"));
    assert_eq!(run.sees("send"), Some(after.clone()));
    assert_eq!(run.effects.pins_changed, [2]);
    assert!(run.state.pins(2).is_none());
    // Back again: what is said then.
    run.configured(3, &yaml("quarantine"));
    assert_eq!(run.sees("send"), Some(after.clone()));
    run.lists_over(3, &[SEND]);
    assert_eq!(run.sees("send"), None);
    // Another policy, and another threshold, are about what is listed already.
    run.configured(4, &yaml("hold"));
    assert_eq!(run.sees("send"), Some(after));
    run.configured(5, &yaml("{ policy: hold, threshold: annotation }"));
    assert_eq!(run.sees("send"), Some(SEND.replace("Sends.", "Sends all.")));
}

#[test]
fn what_is_new_is_no_redefinition() {
    let mut run = Run::with("drift: quarantine");
    run.lists(&[SEND]);
    run.lists(&[SEND, r#"{"name":"other","inputSchema":{}}"#]);
    assert!(run.sees("other").is_some());
    assert!(run.drift().is_empty());
    assert_eq!(run.effects.pins_changed, [ANN]);
}

#[test]
fn prompts_are_held_and_resources_are_not() {
    let mut run = Run::with("drift: hold");
    let prompt = r#"{"name":"ask","description":"Asks."}"#;
    run.lists(&[prompt]);
    run.lists(&[r#"{"name":"ask","description":"Tells."}"#]);
    assert_eq!(run.sees("ask").as_deref(), Some(prompt));
    let with = |name: &str| {
        let mut listing = Listing::of(Era::Modern);
        listing.add(
            Kind::Resources,
            &format!(r#"{{"uri":"f:1","name":"{name}"}}"#),
        );
        Some(Arc::new(listing.finish()))
    };
    for (round, name) in [(10, "one"), (11, "one"), (12, "two")] {
        run.apply(StateChange::Listed {
            link: ANN,
            round,
            at: run.now,
            on: SystemTime::UNIX_EPOCH,
            listing: with(name),
        });
    }
    let text = run
        .seen
        .as_ref()
        .unwrap()
        .definition(Kind::Resources, "f:1");
    assert!(text.unwrap().contains("two"));
}

#[test]
fn two_tools_that_swap_their_definitions_are_both_held() {
    let tool = |name: &str, text: &str| {
        format!(r#"{{"name":"{name}","description":"{text}","inputSchema":{{}}}}"#)
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[&tool("a", "Reads."), &tool("b", "Deletes.")]);
    run.lists(&[&tool("a", "Deletes."), &tool("b", "Reads.")]);
    assert_eq!(run.sees("a"), Some(tool("a", "Reads.")));
    assert_eq!(run.sees("b"), Some(tool("b", "Deletes.")));
    assert_eq!(run.waits().len(), 2);
}

#[test]
fn what_goes_and_returns_with_other_words_is_held() {
    let mut run = Run::with("drift: hold");
    let other = r#"{"name":"other","inputSchema":{}}"#;
    let after = SEND.replace("Sends.", "Sends all.");
    run.lists(&[SEND, other]);
    run.lists(&[other]);
    assert_eq!(run.sees("send"), None);
    // It can still be told where it went: a pin of what is listed no more is stored too.
    assert_eq!(run.effects.pins_changed, [ANN]);
    run.lists(&[&after, other]);
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    run.lists(&[SEND, other]);
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    assert!(run.drift().is_empty());
}

#[test]
fn of_many_changes_the_worst_are_told() {
    let tool = |types: &str, text: &str| {
        let arguments = (0..20).map(|at| format!(r#""a{at}":{{"type":{types}}}"#));
        let arguments = arguments.collect::<Vec<_>>().join(",");
        format!(
            r#"{{"name":"send","inputSchema":{{"properties":{{{arguments}}}}},"description":"{text}"}}"#
        )
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[&tool("\"string\"", "Sends.")]);
    run.lists(&[&tool("\"null\"", "Sends all.")]);
    let changes = run.drift().drifted[0].changes.clone();
    assert_eq!(changes.len(), 9);
    assert_eq!(changes[7].class, ChangeClass::Description);
    assert_eq!(changes[8].what, "and 13 more");
    assert!(changes[0].what.contains("`a0`"), "{changes:?}");
    // They are as many when it is looked at again.
    let other = r#"{"name":"other","inputSchema":{}}"#;
    run.lists(&[&tool("\"null\"", "Sends all."), other]);
    assert_eq!(run.drift().drifted[0].changes, changes);
}

#[test]
fn what_is_held_is_called_again_only_if_its_upstream_still_allows_it() {
    let tool = |hint: bool, text: &str| {
        format!(
            r#"{{"name":"send","description":"{text}","annotations":{{"idempotentHint":{hint}}},"inputSchema":{{}}}}"#
        )
    };
    let repeatable = |run: &Run| {
        let route = run.seen.as_ref().unwrap().tool("ann__send");
        route.unwrap().repetition() != Repetition::Unknown
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[&tool(true, "Sends.")]);
    assert!(repeatable(&run));
    run.lists(&[&tool(true, "Sends all.")]);
    assert!(repeatable(&run));
    run.lists(&[&tool(false, "Sends all.")]);
    assert_eq!(run.sees("send"), Some(tool(true, "Sends.")));
    assert!(!repeatable(&run));
    run.lists(&[&tool(true, "Sends all.")]);
    assert!(repeatable(&run));
    // It does not get by being held what it was pinned without.
    let mut run = Run::with("drift: hold");
    run.lists(&[&tool(false, "Sends.")]);
    run.lists(&[&tool(true, "Sends.")]);
    assert_eq!(run.sees("send"), Some(tool(false, "Sends.")));
    assert!(!repeatable(&run));
}

#[test]
fn a_drift_is_as_old_as_what_it_says() {
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    run.lists(&[&called("send", "One.")]);
    let since = run.drift().drifted[0].since;
    run.lists(&[
        &called("send", "One."),
        r#"{"name":"other","inputSchema":{}}"#,
    ]);
    assert_eq!(run.drift().drifted[0].since, since);
    assert!(run.effects.drifted.is_empty(), "told once");
    run.lists(&[&called("send", "Two.")]);
    assert!(run.drift().drifted[0].since > since);
    assert_eq!(run.effects.drifted.len(), 1);
}

#[test]
fn a_stored_listing_is_held_to_the_pins_of_its_run() {
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    let pins = run.state.pins(ANN).unwrap();
    let after = SEND.replace("Sends.", "Sends all.");
    let mut again = Run::with("drift: hold");
    let mut stored = Pins::default();
    assert!(pins.rows().all(|row| stored.add(&row)));
    again.state.restore_pins(ANN, stored);
    again.apply(StateChange::Restored {
        link: ANN,
        at: again.now,
        on: SystemTime::UNIX_EPOCH,
        now: again.now,
        listing: listing(&[&after]),
    });
    assert_eq!(again.sees("send").as_deref(), Some(SEND));
    assert_eq!(again.waits().len(), 1);
    again.lists(&[&after]);
    assert_eq!(again.sees("send").as_deref(), Some(SEND));
    // Without pins it is the stored listing that is pinned.
    let mut first = Run::with("drift: hold");
    first.apply(StateChange::Restored {
        link: ANN,
        at: first.now,
        on: SystemTime::UNIX_EPOCH,
        now: first.now,
        listing: listing(&[SEND]),
    });
    assert_eq!(first.effects.pins_changed, [ANN]);
    first.lists(&[&after]);
    assert_eq!(first.sees("send").as_deref(), Some(SEND));
}

#[test]
fn a_server_at_another_address_is_held_to_nothing() {
    let at = |port: u16| {
        format!("upstreams:\n  ann: {{ url: \"http://127.0.0.1:{port}/mcp\", drift: hold }}\n")
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    run.lists(&[&called("send", "Held.")]);
    run.configured(1, &at(2));
    // The definition from before is shown until it answers.
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    assert!(run.state.pins(1).is_none());
    run.configured(
        2,
        &at(2).replace("hold", "{ policy: hold, threshold: narrowed }"),
    );
    assert!(run.state.pins(2).is_none());
    let there = called("send", "There.");
    run.lists_over(2, &[&there]);
    assert_eq!(run.sees("send"), Some(there.clone()));
    run.lists_over(2, &[SEND]);
    assert_eq!(run.sees("send"), Some(there));
    // One that lists the same is pinned all the same.
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    run.configured(1, &at(2));
    run.lists_over(1, &[SEND]);
    assert!(run.state.pins(1).is_some());
}

#[test]
fn what_nobody_sees_is_nobodys_concern() {
    let mut run = Run::with("drift: hold, tools: { deny: [send] }");
    run.lists(&[SEND]);
    run.lists(&[&called("send", "Other.")]);
    assert!(run.drift().is_empty());
    assert!(run.state.pins(ANN).is_none_or(|pins| pins.is_empty()));
    // Nor does it lose its pin while nobody sees it.
    let yaml = |rules: &str| {
        format!(
            "upstreams:\n  ann: {{ url: \"http://127.0.0.1:1/mcp\", drift: hold, tools: {rules} }}\n"
        )
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    run.configured(1, &yaml("{ deny: [send] }"));
    run.lists_over(1, &[&called("send", "Other.")]);
    assert!(run.drift().is_empty());
    run.configured(2, &yaml("{}"));
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
}

#[test]
fn the_way_through_weirs_is_no_drift() {
    let through =
        |way: &str| SEND.replacen('{', &format!(r#"{{"_meta":{{"weir/origin":[{way}]}},"#), 1);
    let mut run = Run::with("drift: { policy: quarantine, threshold: cosmetic }");
    run.lists(&[&through("\"a\"")]);
    run.lists(&[&through("\"b\",\"a\"")]);
    run.lists(&[SEND]);
    assert!(run.drift().is_empty());
    // And it does not keep anybody from accepting what was looked at.
    let other = through("\"a\"").replace("Sends.", "Other.");
    run.lists(&[&other]);
    let looked_at = run.drift().drifted[0].digest;
    run.lists(&[&other.replace("[\"a\"]", "[\"b\",\"a\"]")]);
    let accepted = run.accepts(Kind::Tools, "send", Some(looked_at));
    assert!(matches!(accepted, AcceptOutcome::Accepted(_)));
}

#[test]
fn what_is_held_is_as_old_as_what_is_said_in_its_place() {
    let on = |day: u8, raw: &str| {
        let stamp = format!(r#"{{"_meta":{{"weir/stale":"2026-11-{day:02}T00:00:00Z"}},"#);
        raw.replacen('{', &stamp, 1)
    };
    let other = SEND.replace("Sends.", "Other.");
    let mut run = Run::with("drift: hold");
    run.lists(&[&on(1, SEND)]);
    run.lists(&[&other]);
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    run.lists(&[&on(7, &other)]);
    let seen = run.sees("send").unwrap();
    assert!(
        seen.contains("Sends.") && seen.contains("2026-11-07"),
        "{seen}"
    );
    assert!(!seen.contains("2026-11-01"), "{seen}");
}
