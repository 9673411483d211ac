//! Differences of whole catalogs: complete, and with the cause of each new name.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use crate::catalog::diff::*;
use crate::catalog::{Part, Prepared};
use crate::name::UpstreamIndex;

/// An upstream: number, namespace, tools (name, what it says).
type Up = (u8, u8, Vec<(u8, u8)>);

/// A world of a few upstreams whose names, rules and definitions get in each other's way.
fn side(upstreams: &[Up], max_length: usize) -> Side {
    with(upstreams, max_length, |_, tools| {
        let mut listing = Listing::of(Era::Modern);
        for (name, what) in tools {
            let name = ["a", "b", "a b", "abcdefghijklmnopqrstuvwxyz"][usize::from(name % 4)];
            listing.add(
                Kind::Tools,
                &format!(r#"{{"name":"{name}","description":"{what}","inputSchema":{{}}}}"#),
            );
            listing.add(
                Kind::Resources,
                &format!(r#"{{"uri":"f:{name}","name":"{what}"}}"#),
            );
        }
        listing.finish()
    })
}

fn with(
    upstreams: &[Up],
    max_length: usize,
    listing: impl Fn(&UpstreamId, &[(u8, u8)]) -> Listing,
) -> Side {
    let mut yaml = format!("version: 1\nnaming: {{ max_length: {max_length} }}\nupstreams:\n");
    let mut known = Vec::new();
    for (id, namespace, _) in upstreams {
        if !known.contains(id) {
            known.push(*id);
            yaml.push_str(&format!(
                "  up{id}: {{ url: \"http://127.0.0.1:1/mcp\", namespace: \"{}\" }}\n",
                ["", "n", "m"][usize::from(namespace % 3)]
            ));
        }
    }
    let config = config::parse(&yaml, Path::new("weir.yaml"), &|_| None).unwrap();
    let mut parts = Vec::new();
    for (slot, upstream) in config.upstreams.values().enumerate() {
        let (.., tools) = upstreams
            .iter()
            .find(|(id, ..)| upstream.id.as_str() == format!("up{id}"))
            .unwrap();
        let listing = listing(&upstream.id, tools);
        parts.push(Part {
            upstream: upstream.id.clone(),
            upstream_index: UpstreamIndex::new(slot),
            prepared: Arc::new(Prepared::new(upstream.as_ref(), &config.naming, &listing)),
        });
    }
    Side::of(
        &config.upstreams,
        &config.naming,
        &Catalog::merge(&config.naming, 1000, &parts),
    )
}

type ExposedNames = BTreeMap<(Kind, String, String), String>;

fn names(side: &Side) -> ExposedNames {
    let entries = side.entries.iter();
    entries
        .map(|entry| {
            let key = (
                entry.kind,
                entry.upstream.to_string(),
                entry.original.to_string(),
            );
            (key, entry.exposed.to_string())
        })
        .collect()
}

/// The names after a diff was applied to those before it.
fn applied(mut names: ExposedNames, diff: &Diff) -> ExposedNames {
    for found in &diff.upstreams {
        let key = |kind, original: &String| (kind, found.upstream.clone(), original.clone());
        for item in &found.removed {
            assert_eq!(
                names.remove(&key(item.kind, &item.original)),
                Some(item.name.clone())
            );
        }
        for item in &found.renamed {
            let then = names.insert(key(item.kind, &item.original), item.to.clone());
            assert_eq!(then, Some(item.from.clone()));
            assert!(!item.causes.is_empty());
        }
        for item in &found.added {
            let then = names.insert(key(item.kind, &item.original), item.name.clone());
            assert_eq!(then, None);
        }
    }
    names
}

fn world() -> impl Strategy<Value = (Vec<Up>, usize)> {
    let tools = prop::collection::vec((0_u8..4, 0_u8..2), 0..4);
    let upstreams = prop::collection::vec((0_u8..4, 0_u8..3, tools), 0..4);
    (upstreams, 24_usize..40)
}

proptest! {
    #[test]
    fn what_is_exposed_can_be_listed_again((upstreams, length) in world()) {
        let before = side(&upstreams, length);
        let after = with(&upstreams, length, |id, _| before.listing(id));
        prop_assert_eq!(Diff::between(&before, &after), Diff::default());
        prop_assert_eq!(names(&before), names(&after));
    }

    #[test]
    fn nothing_differs_from_itself((upstreams, length) in world()) {
        let side = side(&upstreams, length);
        prop_assert_eq!(Diff::between(&side, &side), Diff::default());
    }

    #[test]
    fn a_difference_leads_from_one_to_the_other(one in world(), other in world()) {
        let (before, after) = (side(&one.0, one.1), side(&other.0, other.1));
        let diff = Diff::between(&before, &after);
        prop_assert_eq!(applied(names(&before), &diff), names(&after));
        let says = |side: &Side| {
            let entries = side.entries.iter();
            entries.map(|entry| {
                let text = crate::json::Object::parse(&entry.definition).unwrap();
                let says = text.string("description").or_else(|| text.string("name")).map(|text| text.into_owned());
                ((entry.kind, entry.upstream.to_string(), entry.original.to_string()), says)
            }).collect::<BTreeMap<_, _>>()
        };
        let (then, now) = (says(&before), says(&after));
        for (key, says) in &now {
            let told = diff.of(&key.1).is_some_and(|found| {
                found.redefined.iter().any(|item| item.kind == key.0 && item.original == key.2)
            });
            let differs = then.get(key).is_some_and(|then| then != says);
            prop_assert_eq!(told, differs, "{:?}", key);
        }
    }
}

/// The names that a config exposes of one tool with a dot in its name.
fn dotted_side(yaml: &str) -> Side {
    let yaml = format!("version: 1\n{yaml}");
    let config = config::parse(&yaml, Path::new("weir.yaml"), &|_| None).unwrap();
    let mut parts = Vec::new();
    for (slot, upstream) in config.upstreams.values().enumerate() {
        let mut listing = Listing::of(Era::Modern);
        listing.add(
            Kind::Tools,
            r#"{"name":"p.search_for_many_things","inputSchema":{}}"#,
        );
        let listing = listing.finish();
        parts.push(Part {
            upstream: upstream.id.clone(),
            upstream_index: UpstreamIndex::new(slot),
            prepared: Arc::new(Prepared::new(upstream.as_ref(), &config.naming, &listing)),
        });
    }
    Side::of(
        &config.upstreams,
        &config.naming,
        &Catalog::merge(&config.naming, 1000, &parts),
    )
}

#[test]
fn a_new_name_has_a_cause() {
    let url = "url: \"http://127.0.0.1:1/mcp\"";
    let mcp = "naming: { charset: mcp }\n";
    let base = dotted_side(&format!("{mcp}upstreams:\n  up: {{ {url} }}\n"));
    let causes = |yaml: &str| {
        let diff = Diff::between(&base, &dotted_side(yaml));
        let found = diff.of("up").map(|found| found.renamed.clone());
        found
            .unwrap_or_default()
            .iter()
            .flat_map(|item| item.causes.clone())
            .collect::<Vec<_>>()
    };
    let bare = |more: &str| format!("upstreams:\n  up: {{ {url}, {more} }}\n");
    let up = |more: &str| format!("{mcp}{}", bare(more));
    assert_eq!(causes(&up("namespace: other")), [RenameCause::Namespace]);
    assert_eq!(
        causes(&up("names: { strip: \"^p[.]\" }")),
        [RenameCause::Rule]
    );
    assert_eq!(
        causes(&up(
            "tools: { override: { p.search_for_many_things: { name: s } } }"
        )),
        [RenameCause::Rule]
    );
    assert_eq!(
        causes(&format!(
            "naming: {{ charset: mcp, separator: \"-\" }}\n{}",
            bare("")
        )),
        [RenameCause::Separator]
    );
    assert_eq!(
        causes(&format!(
            "naming: {{ charset: mcp, max_length: 24 }}\n{}",
            bare("")
        )),
        [RenameCause::Budget]
    );
    assert_eq!(causes(&bare("")), [RenameCause::Charset]);
    let before =
        format!("{mcp}upstreams:\n  earlier: {{ {url}, namespace: up }}\n  up: {{ {url} }}\n");
    assert_eq!(causes(&before), [RenameCause::Conflict]);
}
