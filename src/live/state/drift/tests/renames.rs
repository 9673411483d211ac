//! Definitions that go by another name.

use super::*;

#[test]
fn another_name_alone_passes_and_is_told() {
    for policy in ["hold", "quarantine"] {
        let mut run = Run::with(&format!("drift: {policy}"));
        run.lists(&[SEND]);
        run.lists(&[&called("post", "Sends.")]);
        assert_eq!(run.sees("post"), Some(called("post", "Sends.")));
        let moved = RenamedDefinition {
            kind: Kind::Tools,
            original: "post".into(),
            was: "send".into(),
        };
        assert_eq!(run.effects.renamed, [(ANN, moved.clone())]);
        assert_eq!(run.drift().renamed, [moved]);
        assert!(run.drift().drifted.is_empty());
        assert_eq!(run.effects.pins_changed, [ANN]);
        // Once told is enough, and back is as before.
        run.lists(&[
            &called("post", "Sends."),
            r#"{"name":"other","inputSchema":{}}"#,
        ]);
        assert!(run.effects.renamed.is_empty());
        run.lists(&[SEND]);
        assert!(run.drift().is_empty());
    }
}

#[test]
fn another_name_smuggles_nothing_in() {
    for (policy, expected) in [
        ("hold", Some(called("post", "Sends."))),
        ("quarantine", None),
    ] {
        // At once, and with a listing between.
        for between in [None, Some(r#"{"name":"other","inputSchema":{}}"#)] {
            let mut run = Run::with(&format!("drift: {policy}"));
            run.lists(&[SEND]);
            if let Some(between) = between {
                run.lists(&[between]);
            }
            run.lists(&[&called("post", "Sends all.")]);
            assert_eq!(run.sees("post"), expected, "{policy}");
            let drift = run.drift();
            assert_eq!(drift.drifted[0].was.as_deref(), Some("send"));
            assert_eq!(drift.drifted[0].class(), ChangeClass::Description);
            // And on to a third name.
            run.lists(&[&called("mail", "Sends all.")]);
            assert_eq!(run.drift().drifted[0].was.as_deref(), Some("send"));
            let accepted = run.accepts(Kind::Tools, "mail", None);
            assert!(matches!(accepted, AcceptOutcome::Accepted(_)));
            assert_eq!(run.sees("mail"), Some(called("mail", "Sends all.")));
            assert!(run.drift().is_empty());
        }
    }
}

#[test]
fn a_name_that_was_left_is_still_pinned() {
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    // It goes on under another name, and its own comes back with other words.
    let post = called("post", "Sends.");
    run.lists(&[&post]);
    run.lists(&[&post, &called("send", "Sends all.")]);
    assert_eq!(run.sees("send").as_deref(), Some(SEND));
    assert_eq!(run.sees("post"), Some(post.clone()));
    assert_eq!(run.waits(), [("send".to_owned(), ChangeClass::Description)]);
    // One that went on under another name does not go on under a third as well.
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND]);
    run.lists(&[&post]);
    let third = called("third", "Another one.");
    run.lists(&[&post, &third]);
    assert_eq!(run.sees("third"), Some(third));
    // Also after a restart.
    let pins = run.state.pins(ANN).unwrap();
    let mut stored = Pins::default();
    assert!(pins.rows().all(|row| stored.add(&row)));
    assert!(stored.rows().eq(pins.rows()));
}

#[test]
fn what_cannot_be_told_apart_is_no_other_name() {
    let mut run = Run::with("drift: hold");
    // Two of a kind went, and one came: nobody knows which.
    run.lists(&[SEND, &called("twin", "Twin.")]);
    run.lists(&[&called("post", "Posts.")]);
    assert_eq!(run.sees("post"), Some(called("post", "Posts.")));
    // By their words they can be told.
    let mut run = Run::with("drift: hold");
    run.lists(&[SEND, &called("twin", "Twin.")]);
    run.lists(&[&called("v2_send", "Sends."), &called("v2_twin", "Twin.")]);
    let moved = run.drift().renamed;
    let moved = moved.iter().map(|moved| (&*moved.was, &*moved.original));
    assert_eq!(
        moved.collect::<Vec<_>>(),
        [("send", "v2_send"), ("twin", "v2_twin")]
    );
    // A tool that takes no arguments is known by its words alone.
    let bare = |name: &str, text: &str| {
        format!(r#"{{"name":"{name}","description":"{text}","inputSchema":{{"type":"object"}}}}"#)
    };
    let mut run = Run::with("drift: hold");
    run.lists(&[&bare("a", "One.")]);
    run.lists(&[&bare("b", "Two.")]);
    assert!(run.drift().is_empty());
    let mut run = Run::with("drift: hold");
    run.lists(&[&bare("a", "One.")]);
    run.lists(&[&bare("b", "One.")]);
    assert_eq!(run.drift().renamed.len(), 1);
}
