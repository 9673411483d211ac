//! Pins: how many are kept, which are forgotten first, and what accepting pins.

use super::*;

#[test]
fn what_went_longest_ago_is_forgotten_first() {
    let tool = |name: &str, text: &str| {
        format!(r#"{{"name":"{name}","description":"{text}","inputSchema":{{}}}}"#)
    };
    let mut run = Run::with("drift: hold, limits: { tools: 2 }");
    let stays = tool("stays", "Stays.");
    for name in ["a", "b", "c"] {
        run.lists(&[&stays, &tool(name, name)]);
    }
    run.lists(&[&stays]);
    let back = ["a", "b", "c"].map(|name| tool(name, "Other words."));
    run.lists(&[&stays, &back[0], &back[1], &back[2]]);
    let waits: Vec<_> = run.waits().into_iter().map(|(name, _)| name).collect();
    assert_eq!(waits, ["b", "c"], "a is a stranger again");
    assert_eq!(run.state.pins(ANN).unwrap().rows().len(), 4);
}

#[test]
fn pins_take_no_more_room_than_there_is() {
    let tool = |name: usize, bytes: usize| {
        let text = "x".repeat(bytes);
        format!(r#"{{"name":"t{name}","description":"{text}","inputSchema":{{}}}}"#)
    };
    let mut run = Run::with("drift: hold");
    // In tests there is room for 1 MiB, and for a quarter of it of what is gone.
    let (mut all, mut shown) = (Vec::new(), 0);
    for name in 0..40 {
        all.push(tool(name, 100_000));
        let texts: Vec<_> = all.iter().map(String::as_str).collect();
        run.lists(&texts);
        shown = run.seen.as_ref().unwrap().len(Kind::Tools);
    }
    assert_eq!(shown, 10);
    assert_eq!(run.waits().len(), 30);
    let reason = &run.drift().drifted[0].changes[0].what;
    assert_eq!(reason, "there is no room left to pin it");
    run.lists(&[&tool(99, 1)]);
    assert_eq!(run.state.pins(ANN).unwrap().rows().len(), 3);
}

#[test]
fn what_is_accepted_is_pinned_and_only_what_was_looked_at() {
    for policy in ["hold", "quarantine"] {
        let mut run = Run::with(&format!("drift: {policy}"));
        let (one, two) = (
            SEND.replace("Sends.", "One."),
            SEND.replace("Sends.", "Two."),
        );
        run.lists(&[SEND]);
        let nothing = run.accepts(Kind::Tools, "send", None);
        assert!(matches!(nothing, AcceptOutcome::NotFound));
        run.lists(&[&one]);
        let looked_at = run.drift().drifted[0].digest;
        run.lists(&[&two]);
        let other = run.accepts(Kind::Tools, "send", Some(looked_at));
        let AcceptOutcome::Changed(other) = other else {
            panic!("{other:?}");
        };
        assert!(other.changes[0].what.contains("Two."));
        assert!(run.effects.pins_changed.is_empty());
        let done = run.accepts(Kind::Tools, "send", Some(other.digest));
        assert!(matches!(done, AcceptOutcome::Accepted(_)));
        assert_eq!(run.effects.pins_changed, [ANN]);
        assert_eq!(run.sees("send"), Some(two.clone()));
        assert!(run.drift().is_empty());
        // Then again: what was trusted at first is a redefinition now.
        run.lists(&[SEND]);
        assert_eq!(run.waits(), [("send".to_owned(), ChangeClass::Description)]);
    }
}
