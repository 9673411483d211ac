//! The promise of the gate, over random listings: what is exposed was pinned or accepted.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Listings of a few tools that swap names, words and hints, go and return; and what an operator
/// accepts in between.
#[derive(Clone, Debug)]
enum Step {
    List(BTreeMap<u8, (u8, u8, bool)>),
    Accept(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tool = (0_u8..3, 0_u8..3, any::<bool>());
    let list = prop::collection::btree_map(0_u8..4, tool, 1..4);
    let step = prop_oneof![
        4 => list.prop_map(Step::List),
        1 => (0_u8..4).prop_map(Step::Accept),
    ];
    prop::collection::vec(step, 1..12)
}

proptest! {
    #[test]
    fn what_is_exposed_was_pinned_or_accepted(steps in steps()) {
        // Each name has arguments of its own: none is another one's new name.
        let raw = |name: u8, (text, arguments, hint): (u8, u8, bool)| {
            let arguments = (0..=arguments).map(|at| format!(r#""a{name}{at}":{{}}"#));
            format!(
                r#"{{"name":"t{name}","description":"{text}","annotations":{{"readOnlyHint":{hint}}},"inputSchema":{{"properties":{{{}}}}}}}"#,
                arguments.collect::<Vec<_>>().join(",")
            )
        };
        // Texts that steer a model, and what widening does not touch.
        let steers = |raw: &str| {
            let object = Object::parse(raw).unwrap();
            ["description", "annotations"].map(|key| object.get(key).unwrap().to_owned())
        };
        let mut run = Run::with("drift: hold");
        // By name, what came first under it and what was accepted.
        let mut trusted: BTreeMap<u8, Vec<[String; 2]>> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for step in steps {
            match step {
                Step::List(tools) => {
                    let texts = tools.iter().map(|(name, tool)| (*name, raw(*name, *tool)));
                    let texts: Vec<_> = texts.collect();
                    run.lists(&texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());
                    for (name, text) in &texts {
                        trusted.entry(*name).or_insert_with(|| vec![steers(text)]);
                    }
                    last = tools;
                }
                Step::Accept(name) => {
                    let accepted = run.accepts(Kind::Tools, &format!("t{name}"), None);
                    if let AcceptOutcome::Accepted(_) = accepted {
                        trusted.get_mut(&name).unwrap().push(steers(&raw(name, last[&name])));
                    }
                }
            }
            let Some(catalog) = &run.seen else { continue };
            prop_assert_eq!(catalog.len(Kind::Tools), last.len(), "hold hides nothing");
            let drift = run.drift();
            for (name, tool) in &last {
                let text = run.sees(&format!("t{name}")).unwrap();
                prop_assert!(trusted[name].contains(&steers(&text)), "{}: {:?}", text, trusted[name]);
                if drift.of(Kind::Tools, &format!("t{name}")).is_none() {
                    prop_assert_eq!(text, raw(*name, *tool), "what is not held is what was said");
                }
            }
        }
    }
}
