//! Listings of an earlier run.

use super::*;

#[test]
fn a_stored_listing_is_served_until_the_upstream_answers() {
    let mut run = Run::new();
    assert_eq!(
        run.restored(0, Duration::from_secs(60), &["old"]),
        Did::Publish
    );
    assert_eq!(run.tools(), ["ann__old"]);
    assert_eq!(run.believed, [], "it need not be stored again");
    // It fails as it did before; that is no news.
    assert_eq!(run.fails(0, 1), Did::Nothing);
    assert_eq!(run.lists(0, 2, &["old"]), Did::Nothing);
    assert_eq!(run.believed, [(0, false)]);
    assert_eq!(run.lists(0, 3, &["new"]), Did::Publish);
    assert_eq!(run.believed, [(0, true)]);
    assert_eq!(run.tools(), ["ann__new"]);
}

#[test]
fn a_stored_listing_that_is_too_old_is_not_served() {
    let mut run = Run::new();
    let age = Duration::from_secs(25 * 3600);
    // Published all the same: operators may ask why it is not served.
    assert_eq!(run.restored(0, age, &["old"]), Did::Publish);
    assert!(run.tools().is_empty());
    assert_eq!(run.lists(0, 1, &["old"]), Did::Publish);
}

#[test]
fn a_stored_listing_never_replaces_what_an_upstream_said() {
    let mut run = Run::new();
    run.lists(0, 1, &["new"]);
    assert_eq!(run.restored(0, Duration::ZERO, &["old"]), Did::Nothing);
    assert_eq!(run.tools(), ["ann__new"]);
    assert_eq!(run.fails(1, 1), Did::Nothing);
    assert_eq!(run.restored(1, Duration::ZERO, &["old"]), Did::Nothing);
    assert_eq!(run.restored(9, Duration::ZERO, &["old"]), Did::Nothing);
}

#[test]
fn an_upstream_that_lists_nothing_where_something_is_stored_is_asked_again() {
    let mut run = Run::new();
    run.restored(0, Duration::ZERO, &["old"]);
    assert_eq!(run.lists(0, 1, &[]), Did::Confirm(0));
    assert_eq!(run.tools(), ["ann__old"]);
    assert_eq!(run.lists(0, 2, &[]), Did::Publish);
}
