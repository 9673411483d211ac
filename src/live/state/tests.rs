//! Every race as a table: changes in some order, and what callers see after each.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

mod parts;
mod properties;
mod reload;
mod stale;
mod stored;

use super::*;
use crate::catalog::{Digest, Kind};
use crate::json;
use crate::name::is_legal;
use crate::protocol::era::Era;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_nanos(1);

/// Two upstreams that are served while they fail, for an hour and unstamped, and one that is
/// hidden.
const UPSTREAMS: &str = "
version: 1
listen: { page_size: 3 }
upstreams:
  ann: { url: http://127.0.0.1:1/mcp, stale: { policy: serve, max_age: 1h, mark_after: 1h } }
  bob: { url: http://127.0.0.1:2/mcp, stale: { policy: serve, max_age: 1h, mark_after: 1h } }
  coy: { url: http://127.0.0.1:3/mcp, stale: { policy: hide } }
";
const ANN: usize = 0;
const BOB: usize = 1;
const COY: usize = 2;
const KNOWN: usize = 3;

/// A state, and what callers saw last.
struct Run {
    state: State,
    seen: Option<Arc<Catalog>>,
    /// Of the last change.
    believed: Vec<(u64, bool)>,
    now: Instant,
    started: (Instant, SystemTime),
}

/// An effect without its catalog, which goes to [`Run::seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Nothing,
    Confirm(usize),
    Publish,
}

impl State {
    /// The links are numbered as the upstreams stand.
    fn numbered(config: config::Config) -> Self {
        Self::new(Arc::new(config), 0..)
    }
}

impl Run {
    fn new() -> Self {
        Self::with(UPSTREAMS)
    }

    fn with(yaml: &str) -> Self {
        let config = config::parse(yaml, Path::new("weir.yaml"), &|_| None).unwrap();
        Self {
            state: State::numbered(config),
            seen: None,
            believed: Vec::new(),
            now: Instant::now(),
            started: (Instant::now(), SystemTime::now()),
        }
    }

    /// The time of the other clock then.
    fn on(&self, at: Instant) -> SystemTime {
        let (then, on) = self.started;
        match at.checked_duration_since(then) {
            Some(later) => on + later,
            None => on - (then - at),
        }
    }

    fn apply(&mut self, change: StateChange) -> Did {
        let Effects {
            confirm,
            publish,
            believed,
            ..
        } = self.state.apply([change]);
        self.believed = believed;
        match (confirm.as_slice(), publish) {
            ([], None) => Did::Nothing,
            ([link], None) => Did::Confirm(usize::try_from(*link).unwrap()),
            ([], Some(catalog)) => {
                self.seen = Some(catalog);
                Did::Publish
            }
            (confirm, Some(_)) | (confirm, None) => panic!("one change, doubts {confirm:?}"),
        }
    }

    fn listed(&mut self, slot: usize, round: u64, listing: Option<Listing>) -> Did {
        let (at, listing) = (self.now, listing.map(Arc::new));
        self.apply(StateChange::Listed {
            link: slot as u64,
            round,
            at,
            on: self.on(at),
            listing,
        })
    }

    /// A listing of an earlier run, made so long ago.
    fn restored(&mut self, slot: usize, age: Duration, names: &[&str]) -> Did {
        self.apply(StateChange::Restored {
            link: slot as u64,
            at: self.now - age,
            on: self.on(self.now - age),
            now: self.now,
            listing: Arc::new(tools(names)),
        })
    }

    fn lists(&mut self, slot: usize, round: u64, names: &[&str]) -> Did {
        self.listed(slot, round, Some(tools(names)))
    }

    fn fails(&mut self, slot: usize, round: u64) -> Did {
        self.listed(slot, round, None)
    }

    fn clock(&mut self) -> Did {
        self.apply(StateChange::Clock(self.now))
    }

    /// The exposed names of one kind.
    fn names(&self, kind: Kind) -> Vec<String> {
        let catalog = self.seen.iter();
        catalog
            .flat_map(|catalog| catalog.routes(kind))
            .map(|route| route.exposed.to_string())
            .collect()
    }

    fn tools(&self) -> Vec<String> {
        self.names(Kind::Tools)
    }
}

/// A listing of definitions, given by what each kind knows them by.
fn listing(ttl: Option<Duration>, definitions: &[(Kind, &str)]) -> Listing {
    let mut listing = Listing::of(Era::Modern);
    ttl.into_iter().for_each(|ttl| listing.fresh_for(ttl));
    for (kind, key) in definitions {
        let (member, key) = (kind.key(), json::quote(key));
        let raw = format!("{{\"{member}\":{key},\"name\":\"n\",\"inputSchema\":{{}}}}");
        let named = format!("{{\"{member}\":{key},\"inputSchema\":{{}}}}");
        listing.add(*kind, if member == "name" { &named } else { &raw });
    }
    listing.finish()
}

fn tools(names: &[&str]) -> Listing {
    let definitions: Vec<_> = names.iter().map(|name| (Kind::Tools, *name)).collect();
    listing(None, &definitions)
}

/// Another config; `links` in the order of its upstreams.
fn configured(run: &mut Run, yaml: &str, links: &[u64]) -> Did {
    let config = config::parse(yaml, Path::new("weir.yaml"), &|_| None).unwrap();
    run.apply(StateChange::Configured {
        config: Arc::new(config),
        links: links.to_vec(),
        now: run.now,
    })
}

const FULL: [(Kind, &str); 4] = [
    (Kind::Tools, "t"),
    (Kind::Prompts, "p"),
    (Kind::Resources, "file:///r"),
    (Kind::Templates, "note://{id}"),
];

/// All four kinds but these.
fn without(missing: &[Kind]) -> Listing {
    let left: Vec<_> = FULL
        .into_iter()
        .filter(|(kind, _)| !missing.contains(kind))
        .collect();
    assert_eq!(left.len() + missing.len(), FULL.len());
    listing(None, &left)
}

#[test]
fn a_failure_keeps_the_last_good_listing() {
    let mut run = Run::new();
    assert_eq!(run.lists(ANN, 1, &["a"]), Did::Publish);
    assert_eq!(run.lists(BOB, 1, &["b"]), Did::Publish);
    assert_eq!(run.fails(ANN, 2), Did::Nothing);
    assert_eq!(run.fails(ANN, 3), Did::Nothing);
    assert_eq!(run.lists(BOB, 2, &["b", "c"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a", "bob__b", "bob__c"]);
}

#[test]
fn an_upstream_that_never_answered_has_nothing_and_holds_up_nobody() {
    let mut run = Run::new();
    // Callers see an empty list from the start: a failure tells them nothing new.
    assert_eq!(run.fails(ANN, 1), Did::Nothing);
    assert_eq!(run.tools(), [""; 0]);
    assert_eq!(run.fails(COY, 1), Did::Nothing);
    assert_eq!(run.lists(BOB, 1, &["b"]), Did::Publish);
    assert_eq!(run.tools(), ["bob__b"]);
}

#[test]
fn after_a_failure_the_next_listing_counts_again() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.fails(ANN, 2);
    assert!(run.state.next_expiry().is_some());
    assert_eq!(run.lists(ANN, 3, &["a"]), Did::Nothing, "nothing changed");
    assert_eq!(run.state.next_expiry(), None);
    run.fails(ANN, 4);
    assert_eq!(run.lists(ANN, 5, &["a", "b"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a", "ann__b"]);
}

#[test]
fn hide_hides_while_failing_and_no_longer() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.lists(COY, 1, &["c"]);
    assert_eq!(run.tools(), ["ann__a", "coy__c"]);
    assert_eq!(run.fails(COY, 2), Did::Publish);
    assert_eq!(run.tools(), ["ann__a"]);
    assert_eq!(run.fails(COY, 3), Did::Nothing);
    assert_eq!(run.lists(COY, 4, &["c"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a", "coy__c"]);
}

#[test]
fn what_fails_for_longer_than_max_age_is_not_served_any_more() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.lists(BOB, 1, &["b"]);
    let listed = run.now;
    run.now += HOUR / 2;
    assert_eq!(run.lists(ANN, 2, &["a"]), Did::Nothing);
    assert_eq!(run.fails(BOB, 2), Did::Nothing);
    assert_eq!(run.state.next_expiry(), Some(listed + HOUR));
    run.now = listed + HOUR - MOMENT;
    assert_eq!(run.clock(), Did::Nothing);
    run.now = listed + HOUR;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(run.tools(), ["ann__a"]);
    assert_eq!(
        run.state.next_expiry(),
        None,
        "an alarm that rings for ever"
    );
    assert_eq!(run.clock(), Did::Nothing);
    assert_eq!(run.lists(BOB, 3, &["b"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a", "bob__b"]);
}

#[test]
fn an_unchanged_listing_is_as_young_as_its_last_confirmation() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.now += HOUR * 2;
    let confirmed = run.now;
    assert_eq!(run.lists(ANN, 2, &["a"]), Did::Nothing);
    run.fails(ANN, 3);
    assert_eq!(run.state.next_expiry(), Some(confirmed + HOUR));
    assert_eq!(run.tools(), ["ann__a"]);
}

#[test]
fn time_takes_nothing_from_an_upstream_that_does_not_fail() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.lists(COY, 1, &["c"]);
    run.now += HOUR * 1000;
    assert_eq!(run.state.next_expiry(), None);
    assert_eq!(run.clock(), Did::Nothing);
    assert_eq!(run.tools(), ["ann__a", "coy__c"]);
}

#[test]
fn an_empty_listing_of_any_kind_is_confirmed_before_it_is_believed() {
    for (kind, _) in FULL {
        let mut run = Run::new();
        run.listed(BOB, 1, Some(without(&[])));
        let full = Kind::ALL.map(|kind| run.names(kind));
        assert!(full.iter().all(|names| names.len() == 1), "{full:?}");
        assert_eq!(
            run.listed(BOB, 2, Some(without(&[kind]))),
            Did::Confirm(BOB),
            "{kind}"
        );
        assert_eq!(Kind::ALL.map(|kind| run.names(kind)), full, "{kind}");
        assert_eq!(
            run.listed(BOB, 3, Some(without(&[kind]))),
            Did::Publish,
            "{kind}"
        );
        for other in Kind::ALL {
            let left = usize::from(other != kind);
            assert_eq!(run.names(other).len(), left, "{kind} {other}");
        }
    }
}

#[test]
fn a_doubt_that_is_not_confirmed_is_forgotten() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    assert_eq!(run.lists(ANN, 2, &[]), Did::Confirm(ANN));
    assert_eq!(run.lists(ANN, 3, &["a"]), Did::Nothing);
    assert_eq!(run.lists(ANN, 4, &[]), Did::Confirm(ANN));
    assert_eq!(run.lists(ANN, 5, &["b"]), Did::Publish);
    assert_eq!(run.lists(ANN, 6, &[]), Did::Confirm(ANN));
    assert_eq!(run.tools(), ["ann__b"]);
}

#[test]
fn an_empty_kind_does_not_vouch_for_another_empty_kind() {
    let mut run = Run::new();
    run.listed(ANN, 1, Some(without(&[])));
    assert_eq!(
        run.listed(ANN, 2, Some(without(&[Kind::Tools]))),
        Did::Confirm(ANN)
    );
    assert_eq!(
        run.listed(ANN, 3, Some(without(&[Kind::Prompts]))),
        Did::Confirm(ANN),
        "nobody said twice that there are no prompts"
    );
    assert_eq!(run.names(Kind::Prompts), ["ann__p"]);
    assert_eq!(
        run.listed(ANN, 4, Some(without(&[Kind::Tools, Kind::Prompts]))),
        Did::Confirm(ANN),
        "the tools were there in between"
    );
    assert_eq!(
        run.listed(ANN, 5, Some(without(&[Kind::Tools, Kind::Prompts]))),
        Did::Publish
    );
    assert_eq!(run.names(Kind::Prompts), [""; 0]);
    assert_eq!(run.tools(), [""; 0]);
}

#[test]
fn an_empty_listing_where_nothing_was_is_believed_at_once() {
    let mut run = Run::new();
    assert_eq!(run.lists(ANN, 1, &[]), Did::Publish);
    assert_eq!(run.lists(ANN, 2, &[]), Did::Nothing);
    assert_eq!(run.lists(ANN, 3, &["a"]), Did::Publish);
    assert_eq!(run.lists(ANN, 4, &["b"]), Did::Publish, "not empty");
    assert_eq!(run.tools(), ["ann__b"]);
}

#[test]
fn a_doubtful_listing_brings_nothing_back_that_is_hidden() {
    let mut run = Run::new();
    run.lists(COY, 1, &["c"]);
    run.fails(COY, 2);
    assert_eq!(run.lists(COY, 3, &[]), Did::Confirm(COY));
    assert_eq!(run.lists(ANN, 1, &["a"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a"]);
    assert_ne!(run.lists(COY, 4, &[]), Did::Confirm(COY));
    assert_eq!(run.tools(), ["ann__a"]);
    assert_eq!(run.lists(COY, 5, &["c"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__a", "coy__c"]);
}

#[test]
fn the_same_again_publishes_nothing() {
    let mut run = Run::new();
    assert_eq!(run.listed(ANN, 1, Some(without(&[]))), Did::Publish);
    for round in 2..5 {
        assert_eq!(run.listed(ANN, round, Some(without(&[]))), Did::Nothing);
    }
    assert_eq!(run.clock(), Did::Nothing);
}

#[test]
fn a_listing_in_another_order_is_another_list() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a", "b"]);
    assert_eq!(run.lists(ANN, 2, &["b", "a"]), Did::Publish);
    assert_eq!(run.tools(), ["ann__b", "ann__a"]);
}

#[test]
fn an_older_listing_changes_nothing() {
    let mut run = Run::new();
    assert_eq!(run.lists(ANN, 5, &["new"]), Did::Publish);
    assert_eq!(run.lists(ANN, 4, &["old"]), Did::Nothing);
    assert_eq!(run.lists(ANN, 5, &["old"]), Did::Nothing);
    assert_eq!(run.fails(ANN, 3), Did::Nothing);
    assert_eq!(run.state.next_expiry(), None, "an old failure is no news");
    assert_eq!(run.tools(), ["ann__new"]);
    assert_eq!(run.lists(BOB, 1, &["b"]), Did::Publish, "rounds are apart");
}

#[test]
fn a_slot_that_is_nobodys_changes_nothing() {
    let mut run = Run::new();
    for slot in [KNOWN, 99, usize::MAX] {
        assert_eq!(run.lists(slot, 1, &["x"]), Did::Nothing);
        assert_eq!(run.fails(slot, 2), Did::Nothing);
        assert_eq!(run.state.warnings(slot as u64), [""; 0]);
    }
    run.lists(ANN, 1, &["a"]);
    assert_eq!(run.tools(), ["ann__a"]);
}

#[test]
fn lists_are_fresh_for_the_shortest_time_that_anybody_promises() {
    let mut run = Run::with(
        "
version: 1
upstreams:
  slow: { url: http://127.0.0.1:1/mcp, resync: 10m }
  timed: { url: http://127.0.0.1:2/mcp, resync: \"0 0 * * * *\" }
  quick: { url: http://127.0.0.1:3/mcp, resync: 5m }
",
    );
    assert_eq!(run.state.ttl(), CRON_TTL);
    let fresh = |seconds| {
        let ttl = Duration::from_secs(seconds);
        Some(listing(Some(ttl), &FULL))
    };
    run.listed(0, 1, fresh(7));
    assert_eq!(run.state.ttl(), Duration::from_secs(7));
    run.listed(0, 2, fresh(0));
    assert_eq!(run.state.ttl(), CRON_TTL, "zero is no promise");
    run.listed(0, 3, fresh(1_000_000));
    assert_eq!(run.state.ttl(), CRON_TTL);
}
