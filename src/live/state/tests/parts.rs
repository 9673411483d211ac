//! Listings that lack a kind because its list failed: that kind keeps what it had.

use super::*;
use crate::catalog::StaleSince;

/// The full listing, where the lists of these kinds failed.
fn missing(kinds: &[Kind]) -> Listing {
    let mut listing = Listing::of(Era::Modern);
    for definition in FULL.iter().filter(|(kind, _)| !kinds.contains(kind)) {
        let (kind, key) = (definition.0, json::quote(definition.1));
        let raw = match kind.key() {
            "name" => format!("{{\"name\":{key},\"inputSchema\":{{}}}}"),
            member => format!("{{\"{member}\":{key},\"name\":\"n\",\"inputSchema\":{{}}}}"),
        };
        listing.add(kind, &raw);
    }
    kinds.iter().for_each(|kind| listing.miss(*kind));
    listing.finish()
}

/// How many of each kind callers see.
fn seen(run: &Run) -> [usize; 4] {
    Kind::ALL.map(|kind| run.names(kind).len())
}

/// The stamp on the only prompt.
fn stamp(run: &Run) -> Option<StaleSince> {
    let page = run
        .seen
        .as_ref()
        .unwrap()
        .definition(Kind::Prompts, "ann__p");
    StaleSince::on(&page.unwrap())
}

#[test]
fn a_kind_whose_list_fails_keeps_what_it_had() {
    for kind in Kind::ALL {
        let mut run = Run::new();
        assert_eq!(run.listed(ANN, 1, Some(without(&[]))), Did::Publish);
        let digest = run.seen.as_ref().unwrap().digest();
        assert_eq!(run.listed(ANN, 2, Some(missing(&[kind]))), Did::Nothing);
        assert_eq!(run.believed, [(0, false)]);
        assert_eq!(run.state.listing(0).unwrap().definitions(kind).len(), 1);
        assert_eq!(run.seen.as_ref().unwrap().digest(), digest);
        // It comes again, and is empty: that is doubted as ever.
        assert_eq!(
            run.listed(ANN, 3, Some(without(&[kind]))),
            Did::Confirm(ANN)
        );
    }
}

#[test]
fn a_kind_that_never_came_has_nothing_and_costs_the_others_nothing() {
    for kind in Kind::ALL {
        let mut run = Run::new();
        assert_eq!(run.listed(ANN, 1, Some(missing(&[kind]))), Did::Publish);
        let expected = Kind::ALL.map(|one| usize::from(one != kind));
        assert_eq!(seen(&run), expected);
        assert_eq!(run.listed(ANN, 2, Some(without(&[]))), Did::Publish);
        assert_eq!(seen(&run), [1; 4]);
    }
}

#[test]
fn what_a_kind_keeps_is_stamped_and_ends_like_any_stale_listing() {
    let mut run = Run::with(
        "upstreams:\n  ann: { url: http://127.0.0.1:1/mcp, stale: { mark_after: 10m, max_age: 1h } }\n",
    );
    run.listed(ANN, 1, Some(without(&[])));
    let listed = run.on(run.now);
    let minute = Duration::from_secs(60);
    run.now += 5 * minute;
    assert_eq!(
        run.listed(ANN, 2, Some(missing(&[Kind::Prompts]))),
        Did::Nothing
    );
    assert_eq!(stamp(&run), None);
    assert_eq!(run.state.next_expiry(), Some(run.now + 5 * minute));
    run.now += 5 * minute;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(stamp(&run), Some(StaleSince::of(listed)));
    // Another listing without it renews the others alone.
    run.now += 49 * minute;
    assert_eq!(
        run.listed(ANN, 3, Some(missing(&[Kind::Prompts]))),
        Did::Nothing
    );
    assert_eq!(run.state.next_expiry(), Some(run.now + minute));
    run.now += minute;
    assert_eq!(run.clock(), Did::Publish);
    assert_eq!(seen(&run), [1, 0, 1, 1]);
    assert_eq!(run.state.next_expiry(), None);
    assert_eq!(run.listed(ANN, 4, Some(without(&[]))), Did::Publish);
    assert_eq!((seen(&run), stamp(&run)), ([1; 4], None));
}

#[test]
fn what_is_not_to_be_served_stale_is_not_kept_for_callers() {
    let mut run =
        Run::with("upstreams:\n  ann: { url: http://127.0.0.1:1/mcp, stale: { policy: hide } }\n");
    run.listed(ANN, 1, Some(without(&[])));
    assert_eq!(
        run.listed(ANN, 2, Some(missing(&[Kind::Tools]))),
        Did::Publish
    );
    assert_eq!(seen(&run), [0, 1, 1, 1]);
    assert_eq!(run.listed(ANN, 3, Some(without(&[]))), Did::Publish);
    assert_eq!(seen(&run), [1; 4]);
}

#[test]
fn a_part_shows_what_came_and_the_whole_listing_counts_after_it() {
    let mut run = Run::new();
    let part = |run: &mut Run, round, listing| {
        run.apply(StateChange::ListedPart {
            link: ANN as u64,
            round,
            at: run.now,
            on: run.on(run.now),
            listing: Arc::new(listing),
        })
    };
    assert_eq!(part(&mut run, 1, missing(&[Kind::Templates])), Did::Publish);
    assert_eq!(run.listed(ANN, 1, Some(without(&[]))), Did::Publish);
    assert_eq!(seen(&run), [1; 4]);
    // A part of a round that has ended, and one that would take something away.
    assert_eq!(part(&mut run, 1, missing(&[Kind::Tools])), Did::Nothing);
    let mut empty = Listing::of(Era::Modern);
    empty.miss(Kind::Tools);
    assert_eq!(part(&mut run, 2, empty.finish()), Did::Nothing);
    assert_eq!(
        run.listed(ANN, 2, Some(without(&[Kind::Prompts]))),
        Did::Confirm(ANN)
    );
    assert_eq!(seen(&run), [1; 4]);
}
