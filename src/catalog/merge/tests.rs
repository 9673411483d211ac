//! A merge after a change is the merge of everything, and that is asking for names in the order of
//! the config.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::catalog::resources::UriLabels;
use crate::catalog::tests::{Up, any_ups, listed};
use crate::catalog::{Catalog, Kind, NameOwner, Part, PerKind, PinnedNames, ReservedNames, naming};
use crate::name::{Naming, UpstreamIndex};
use crate::protocol::era::Era;

const SLOTS: usize = 6;

/// Everything that can be asked of a catalog.
fn told(catalog: &Catalog) -> impl PartialEq + std::fmt::Debug {
    let routes = Kind::ALL.map(|kind| {
        let routes = catalog.routes(kind).map(|route| {
            let found = catalog.route(kind, &route.exposed);
            (
                route.upstream_index.get(),
                route.original().to_string(),
                route.exposed.to_string(),
                found.map(|found| (found.upstream_index.get(), found.original().to_string())),
                catalog.definition(kind, &route.exposed),
            )
        });
        (catalog.len(kind), routes.collect::<Vec<_>>())
    });
    let lists = Kind::ALL.map(|kind| {
        let pages = |era| (0..).map_while(move |page| Some(catalog.page(kind, era, page)?.clone()));
        let sizes = [Era::Legacy, Era::Modern].map(|era| {
            let pages = pages(era).map(|page| (page.items, page.next, page.bytes()));
            (pages.collect::<Vec<_>>(), listed(catalog, kind, era))
        });
        (sizes, catalog.digest_of(kind))
    });
    let uris = [
        "u:1",
        "u:2",
        "ui://a",
        "a+u:1",
        "u0+u:1",
        "ns+u:1",
        "b+u:2",
        "u1+u:2",
        "ui://u2+a",
        "ui://a+a",
        "ns-9+u:1",
        "x:1",
    ];
    let read = uris.map(|uri| catalog.resource(uri));
    (
        routes,
        lists,
        read,
        catalog.conflicts().to_vec(),
        catalog.digest(),
    )
}

/// The names of a kind by slot and original, as they are given out one by one in the order of the
/// config.
fn one_by_one(
    kind: Kind,
    parts: &[Part],
    reserved: &ReservedNames,
) -> BTreeMap<(usize, String), String> {
    let (naming, mut taken, mut names) = (Naming::default(), BTreeSet::new(), BTreeMap::new());
    let labels = UriLabels::of(parts.iter().map(|part| (part.upstream_index, part)));
    for part in parts {
        for (original, wanted) in part.prepared.wanted(kind) {
            let others = (0..).map(|before| match kind {
                Kind::Tools | Kind::Prompts | Kind::Instructions => {
                    naming::make_alternative(&naming, wanted, &part.upstream, original, before)
                        .into()
                }
                Kind::Resources | Kind::Templates => {
                    labels.wrap(part.upstream_index, &part.upstream, wanted, before)
                }
            });
            let names_of_it = std::iter::once(Arc::clone(wanted)).chain(others);
            let name = names_of_it
                .filter(|name| !reserved.is_barred(kind, name, part.upstream_index))
                .find(|name| taken.insert(Arc::clone(name)))
                .unwrap();
            names.insert(
                (part.upstream_index.get(), original.to_string()),
                name.to_string(),
            );
        }
    }
    names
}

fn parts_of(prepared: &[Option<Part>]) -> Vec<Part> {
    prepared.iter().flatten().cloned().collect()
}

/// The changes of upstreams at some slots at once: each lists something else, or goes.
fn any_steps() -> impl Strategy<Value = Vec<Vec<(usize, Option<Up>)>>> {
    let one = (0..SLOTS, any_ups(), prop::bool::weighted(0.8));
    let one = one.prop_map(|(slot, ups, stays)| {
        let up = ups.into_iter().next().filter(|_| stays);
        let called = |mut up: Up| {
            up.id = Up::new(&format!("u{slot}")).id;
            up
        };
        (slot, up.map(called))
    });
    prop::collection::vec(prop::collection::vec(one, 1..4), 1..10)
}

/// The names of tools and prompts that the upstreams at some slots want now are pinned from now on.
fn pinned(slots: &[Option<Part>], which: &BTreeSet<usize>) -> Vec<(NameOwner, PinnedNames)> {
    let parts = slots.iter().flatten();
    let parts = parts.filter(|part| which.contains(&part.upstream_index.get()));
    let owned = parts.map(|part| {
        let owner = NameOwner {
            index: part.upstream_index,
            upstream: part.upstream.clone(),
            is_restored: false,
        };
        let names = |kind| {
            let wanted = part.prepared.wanted(kind);
            wanted.map(|(_, name)| Arc::clone(name)).collect()
        };
        let names = PerKind::from_fn(|kind| match kind {
            Kind::Tools | Kind::Prompts => names(kind),
            Kind::Resources | Kind::Templates | Kind::Instructions => Vec::new(),
        });
        (owner, PinnedNames::these(names))
    });
    owned.collect()
}

proptest! {
    /// Names that are reserved change what a merge makes, and not that it does not matter how one
    /// came there.
    #[test]
    fn a_merge_with_reserved_names_is_the_merge_of_everything(
        steps in any_steps(),
        pins in prop::collection::vec(prop::collection::btree_set(0..SLOTS, 0..3), 10),
    ) {
        let naming = Naming::default();
        let (mut slots, mut kept) = (vec![None; SLOTS], Vec::new());
        let mut catalog = Catalog::merge(&naming, 3, &[]);
        for (changes, pins) in steps.into_iter().zip(pins) {
            for (slot, up) in changes {
                slots[slot] = up.map(|up| Part {
                    upstream: up.id.clone(),
                    upstream_index: UpstreamIndex::new(slot),
                    prepared: Arc::new(up.prepare()),
                });
            }
            if !pins.is_empty() {
                kept = pinned(&slots, &pins);
            }
            let names = || kept.iter().map(|(owner, names)| (owner.clone(), names));
            let reserved = Arc::new(ReservedNames::of(names()));
            let parts = parts_of(&slots);
            catalog = catalog.after_reserving(&parts, &reserved);
            let afresh = Catalog::merge(&naming, 3, &[]).after_reserving(&parts, &reserved);
            prop_assert_eq!(told(&catalog), told(&afresh));
            for kind in [Kind::Tools, Kind::Prompts] {
                let names = catalog.routes(kind).map(|route| {
                    ((route.upstream_index.get(), route.original().to_string()), route.exposed.to_string())
                });
                prop_assert_eq!(names.collect::<BTreeMap<_, _>>(), one_by_one(kind, &parts, &reserved));
            }
        }
    }

    #[test]
    fn a_merge_after_changes_is_the_merge_of_everything(steps in any_steps(), size in 1_usize..5) {
        let naming = Naming::default();
        let mut slots = vec![None; SLOTS];
        let mut catalog = Catalog::merge(&naming, size, &[]);
        for changes in steps {
            for (slot, up) in changes {
                slots[slot] = up.map(|up| Part {
                    upstream: up.id.clone(),
                    upstream_index: UpstreamIndex::new(slot),
                    prepared: Arc::new(up.prepare()),
                });
            }
            let parts = parts_of(&slots);
            catalog = catalog.after(&parts);
            let afresh = Catalog::merge(&naming, size, &parts);
            prop_assert_eq!(told(&catalog), told(&afresh));
            for kind in Kind::ALL {
                let names = catalog.routes(kind).map(|route| {
                    ((route.upstream_index.get(), route.original().to_string()), route.exposed.to_string())
                });
                prop_assert_eq!(names.collect::<BTreeMap<_, _>>(), one_by_one(kind, &parts, &ReservedNames::default()));
            }
        }
    }
}

#[test]
fn names_are_passed_on_when_those_before_go_and_come() {
    let up = |id: &str, tools: &[&str]| Up::new(id).bare().tools(tools).prepare();
    let part = |slot: usize, id: &str, tools: &[&str]| Part {
        upstream: Up::new(id).id,
        upstream_index: UpstreamIndex::new(slot),
        prepared: Arc::new(up(id, tools)),
    };
    let (a, b, c) = (
        part(0, "a", &["x"]),
        part(1, "b", &["x"]),
        part(2, "c", &["x"]),
    );
    let naming = Naming::default();
    let all = Catalog::merge(&naming, 10, &[a.clone(), b.clone(), c.clone()]);
    let owner = |catalog: &Catalog, name: &str| Some(catalog.tool(name)?.upstream.to_string());
    let other_of_b = all.conflicts()[0].to.clone();
    // Wants for itself what `b` got instead.
    let thief = part(0, "a", &[&other_of_b]);

    let without_a = all.after(&[b.clone(), c.clone()]);
    assert_eq!(owner(&without_a, "x").as_deref(), Some("b"));
    assert_eq!(owner(&without_a, &other_of_b), None);
    let stolen = all.after(&[thief, b.clone(), c.clone()]);
    assert_eq!(owner(&stolen, "x").as_deref(), Some("b"));
    assert_eq!(owner(&stolen, &other_of_b).as_deref(), Some("a"));
    let back = stolen.after(&[a, b, c]);
    assert_eq!(owner(&back, "x").as_deref(), Some("a"));
    assert_eq!(owner(&back, &other_of_b).as_deref(), Some("b"));
    assert_eq!(back.digest(), all.digest());
}

#[test]
fn what_did_not_change_is_shared_with_the_catalog_before() {
    let part = |slot: usize, id: &str, tools: &[&str]| Part {
        upstream: Up::new(id).id,
        upstream_index: UpstreamIndex::new(slot),
        prepared: Arc::new(Up::new(id).tools(tools).resources(&[id]).prepare()),
    };
    let (a, b) = (part(0, "a", &["x", "y"]), part(1, "b", &["x"]));
    let before = Catalog::merge(&Naming::default(), 10, &[a.clone(), b.clone()]);
    let after = before.after(&[a, part(1, "b", &["x", "z"])]);
    let shared = |kind| Arc::ptr_eq(before.names.get(kind), after.names.get(kind));
    assert!(!shared(Kind::Tools) && shared(Kind::Resources));
    assert!(Arc::ptr_eq(&before.labels, &after.labels));
    let (then, now) = (
        before.page(Kind::Tools, Era::Modern, 0),
        after.page(Kind::Tools, Era::Modern, 0),
    );
    let (then, now) = (then.unwrap(), now.unwrap());
    assert_eq!(then.chunks[0].as_ptr(), now.chunks[0].as_ptr());
}
