//! Listings that cannot be renewed, as callers see them.

use super::*;
use crate::catalog::StaleSince;

const MINUTE: Duration = Duration::from_secs(60);

/// Stamped after ten minutes, as is usual; after twenty; hidden.
const MARKED: &str = "
version: 1
instance: w
upstreams:
  ann: { url: http://127.0.0.1:1/mcp, stale: { max_age: 1h } }
  bob: { url: http://127.0.0.1:2/mcp, stale: { max_age: 1h, mark_after: 20m } }
  coy: { url: http://127.0.0.1:3/mcp, stale: { policy: hide } }
";

impl Run {
    /// Each tool with the time that it is stamped with.
    fn stamps(&self) -> Vec<(String, Option<StaleSince>)> {
        let catalog = self.seen.as_ref().unwrap();
        let stamp = |name: String| {
            let definition = catalog.definition(Kind::Tools, &name).unwrap();
            (name, StaleSince::on(&definition))
        };
        self.tools().into_iter().map(stamp).collect()
    }

    fn stamp_of(&self, tool: &str) -> Option<StaleSince> {
        let stamps = self.stamps();
        let found = stamps.into_iter().find(|(name, _)| name == tool);
        found.unwrap_or_else(|| panic!("no {tool}")).1
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// The stamp of this moment.
    fn this(&self) -> Option<StaleSince> {
        Some(StaleSince::of(self.on(self.now)))
    }
}

#[test]
fn what_cannot_be_renewed_is_stamped_once_and_until_it_is() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    run.lists(BOB, 1, &["b"]);
    let (listed, then) = (run.now, run.this());
    run.wait(MINUTE);
    assert_eq!(run.fails(ANN, 2), Did::Nothing, "it is young");
    assert_eq!(run.state.next_expiry(), Some(listed + 10 * MINUTE));
    run.now = listed + 10 * MINUTE - MOMENT;
    assert_eq!(run.clock(), Did::Nothing);
    run.now = listed + 10 * MINUTE;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), then, "when it was listed, not now");
    assert_eq!(run.stamp_of("bob__b"), None);
    // Once: what comes next is that it is hidden.
    assert_eq!(run.state.next_expiry(), Some(listed + HOUR));
    assert_eq!(run.fails(ANN, 3), Did::Nothing);
    run.wait(MINUTE);
    assert_eq!(run.clock(), Did::Nothing);
    // The same listing again is news where callers were told.
    assert_eq!(run.lists(ANN, 4, &["a"]), Did::Publish);
    assert_eq!(run.believed, [(0, false)], "it need not be stored again");
    assert_eq!(run.stamp_of("ann__a"), None);
    assert_eq!(run.state.next_expiry(), None);
    assert_eq!(run.lists(ANN, 5, &["a"]), Did::Nothing);
}

#[test]
fn another_listing_after_a_stamp_is_one_publication() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    run.fails(ANN, 2);
    run.wait(11 * MINUTE);
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(run.lists(ANN, 3, &["a", "c"]), Did::Publish);
    assert_eq!(
        run.stamps(),
        [("ann__a".to_owned(), None), ("ann__c".to_owned(), None)]
    );
    assert_eq!(run.clock(), Did::Nothing);
}

#[test]
fn what_is_old_already_when_it_first_fails_is_stamped_at_once() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    let then = run.this();
    run.wait(30 * MINUTE);
    assert_eq!(run.clock(), Did::Nothing, "nobody says that it changed");
    assert_eq!(run.fails(ANN, 2), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), then);
}

#[test]
fn a_listing_that_was_confirmed_is_as_old_as_that() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    run.wait(9 * MINUTE);
    run.lists(ANN, 2, &["a"]);
    let (confirmed, then) = (run.now, run.this());
    run.fails(ANN, 3);
    assert_eq!(run.state.next_expiry(), Some(confirmed + 10 * MINUTE));
    run.now = confirmed + 10 * MINUTE;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), then);
}

#[test]
fn each_upstream_is_stamped_in_its_own_time() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    run.lists(BOB, 1, &["b"]);
    let (listed, then) = (run.now, run.this());
    run.fails(ANN, 2);
    run.fails(BOB, 2);
    for (minutes, ann, bob) in [(10, then, None), (20, then, then)] {
        assert_eq!(run.state.next_expiry(), Some(listed + minutes * MINUTE));
        run.now = listed + minutes * MINUTE;
        assert_eq!(run.clock(), Did::Publish);
        assert_eq!((run.stamp_of("ann__a"), run.stamp_of("bob__b")), (ann, bob));
    }
    run.now = listed + HOUR;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(run.tools(), [""; 0]);
    assert_eq!(run.state.next_expiry(), None);
    assert_eq!(run.lists(ANN, 3, &["a"]), Did::Publish);
    assert_eq!(run.stamps(), [("ann__a".to_owned(), None)]);
}

#[test]
fn a_stored_listing_is_stamped_at_once_or_later_as_it_is_old_or_young() {
    let mut run = Run::with(MARKED);
    assert_eq!(run.restored(ANN, 30 * MINUTE, &["a"]), Did::Publish);
    assert_eq!(
        run.stamp_of("ann__a"),
        Some(StaleSince::of(run.on(run.now - 30 * MINUTE)))
    );
    assert_eq!(run.restored(BOB, 15 * MINUTE, &["b"]), Did::Publish);
    assert_eq!(run.stamp_of("bob__b"), None);
    assert_eq!(run.state.next_expiry(), Some(run.now + 5 * MINUTE));
    run.wait(5 * MINUTE);
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(
        run.stamp_of("bob__b"),
        Some(StaleSince::of(run.on(run.now - 20 * MINUTE)))
    );
    // They come up as they were, one after the other.
    assert_eq!(run.lists(ANN, 1, &["a"]), Did::Publish);
    assert_eq!(run.lists(BOB, 1, &["b"]), Did::Publish);
    assert!(run.stamps().iter().all(|(_, stamp)| stamp.is_none()));
}

#[test]
fn what_is_hidden_while_it_fails_is_never_stamped() {
    let mut run = Run::with(MARKED);
    run.lists(COY, 1, &["c"]);
    assert_eq!(run.fails(COY, 2), Did::Publish);
    assert_eq!(run.state.next_expiry(), None);
    run.wait(HOUR);
    assert_eq!(run.clock(), Did::Nothing);
    assert_eq!(run.lists(COY, 3, &["c"]), Did::Publish);
    assert_eq!(run.stamps(), [("coy__c".to_owned(), None)]);
}

#[test]
fn an_upstream_that_has_nothing_rings_no_alarm_for_ever() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &[]);
    let listed = run.now;
    run.fails(ANN, 2);
    run.now = listed + 10 * MINUTE;
    assert_eq!(run.clock(), Did::Nothing);
    assert_eq!(run.state.next_expiry(), Some(listed + HOUR));
}

#[test]
fn a_doubtful_listing_takes_no_stamp_away() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    let then = run.this();
    run.fails(ANN, 2);
    run.wait(10 * MINUTE);
    run.clock();
    assert_eq!(run.lists(ANN, 3, &[]), Did::Confirm(ANN));
    assert_eq!(run.lists(BOB, 1, &["b"]), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), then);
}

#[test]
fn another_config_stamps_by_its_own_measure() {
    let mut run = Run::with(MARKED);
    run.lists(ANN, 1, &["a"]);
    let then = run.this();
    run.fails(ANN, 2);
    run.wait(10 * MINUTE);
    assert_eq!(run.clock(), Did::Publish);
    let later = MARKED.replace("max_age: 1h }", "max_age: 1h, mark_after: 30m }");
    assert_eq!(configured(&mut run, &later, &[7, 1, 2]), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), None);
    assert_eq!(configured(&mut run, MARKED, &[8, 1, 2]), Did::Publish);
    assert_eq!(run.stamp_of("ann__a"), then);
}
