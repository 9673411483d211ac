//! Known listings under another config.

use super::*;

#[test]
fn under_another_config_links_that_stay_keep_what_is_known_wherever_they_stand() {
    let mut run = Run::new();
    run.lists(ANN, 5, &["a"]);
    run.lists(BOB, 5, &["b"]);
    let yaml = "upstreams:\n  new: { command: x }\n  bob: { url: http://127.0.0.1:2/mcp }\n  ann: { url: http://127.0.0.1:1/mcp }\n";
    assert_eq!(configured(&mut run, yaml, &[7, 1, 0]), Did::Publish);
    assert_eq!(run.tools(), ["bob__b", "ann__a"]);
    // The word of an earlier round is as old as it was.
    assert_eq!(run.lists(ANN, 4, &["old"]), Did::Nothing);
    assert_eq!(run.lists(7, 1, &["n"]), Did::Publish);
    assert_eq!(run.tools(), ["new__n", "bob__b", "ann__a"]);
}

#[test]
fn an_upstream_with_a_new_link_keeps_its_listing_under_its_new_rules_until_the_next() {
    let mut run = Run::new();
    run.lists(ANN, 5, &["a", "b"]);
    let yaml =
        "upstreams:\n  ann: { url: http://127.0.0.1:1/mcp, namespace: x, tools: { deny: [b] } }\n";
    assert_eq!(configured(&mut run, yaml, &[9]), Did::Publish);
    assert_eq!(run.tools(), ["x__a"]);
    // The old link's words come too late, the new one's count from 1 again.
    assert_eq!(run.lists(ANN, 6, &["late"]), Did::Nothing);
    assert_eq!(run.lists(9, 1, &["a", "c"]), Did::Publish);
    assert_eq!(run.tools(), ["x__a", "x__c"]);
}

#[test]
fn an_upstream_that_is_configured_away_is_gone_with_what_it_had() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    run.lists(BOB, 1, &["b"]);
    let without = "upstreams:\n  bob: { url: http://127.0.0.1:2/mcp }\n";
    assert_eq!(configured(&mut run, without, &[1]), Did::Publish);
    assert_eq!(run.tools(), ["bob__b"]);
    assert_eq!(run.lists(ANN, 2, &["a"]), Did::Nothing);
    // It comes back as a stranger.
    assert_eq!(configured(&mut run, UPSTREAMS, &[8, 1, 9]), Did::Publish);
    assert_eq!(run.tools(), ["bob__b"]);
}

#[test]
fn another_naming_renames_what_was_listed_before() {
    let mut run = Run::new();
    run.lists(ANN, 1, &["a"]);
    let yaml = UPSTREAMS.replace("listen:", "naming: { separator: \"-\" }\nlisten:");
    assert_eq!(configured(&mut run, &yaml, &[0, 1, 2]), Did::Publish);
    assert_eq!(run.tools(), ["ann-a"]);
    assert_eq!(run.lists(ANN, 2, &["a"]), Did::Nothing);
}

#[test]
fn what_failed_before_another_config_is_as_stale_after_it() {
    let mut run = Run::new();
    run.lists(COY, 1, &["c"]);
    assert_eq!(run.fails(COY, 2), Did::Publish);
    assert!(run.tools().is_empty(), "hidden while it fails");
    assert_eq!(configured(&mut run, UPSTREAMS, &[0, 1, 12]), Did::Publish);
    assert!(run.tools().is_empty());
    assert_eq!(run.lists(12, 1, &["c"]), Did::Publish);
    assert_eq!(run.tools(), ["coy__c"]);
}
