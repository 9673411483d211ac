//! Laws for any policies and callers: what is listed is what is found is what may be called, and what
//! is hidden changes no byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::caller::Identity;
use crate::caller::Principal;
use crate::json::{self, Object};
use crate::metrics::Metrics;
use crate::policy::tests::laws::{ARGUMENTS, CATALOG, callers, policy};
use crate::policy::tests::{Tool, UPSTREAMS, World};
use crate::secret::Secret;

const KINDS: [&str; 3] = [
    "",
    ", covers: [tools, prompts, resources]",
    ", covers: [prompts]",
];

/// Makes a snapshot of these tools under these policies, in pages of two.
fn snapshot(policies: &str, settings: &str, tools: &[Tool<'_>]) -> Snapshot {
    let World {
        config, catalog, ..
    } = World::paged(policies, settings, UPSTREAMS, tools, 2);
    Snapshot::first(
        Arc::new(config),
        Arc::from([]),
        Arc::new(catalog),
        Metrics::new(),
    )
}

/// All pages of a list, and the cursors between them.
fn pages(view: View<'_>, kind: Kind, era: Era) -> Vec<(String, Option<String>)> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let mut chunks = Vec::new();
        let next = view.write_page(kind, era, cursor, &mut chunks).unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        pages.push((text, next.map(|next| next.encode())));
        match next {
            Some(next) => cursor = Some(next),
            None => return pages,
        }
    }
}

/// The names or URIs that are listed.
fn listed(view: View<'_>, kind: Kind, era: Era) -> BTreeSet<String> {
    let pages = pages(view, kind, era);
    let items = pages.iter().flat_map(|(text, _)| {
        let list = format!("[{text}]");
        let items = json::array(&list).unwrap();
        let names = items.into_iter().map(|item| {
            let item = Object::parse(item).unwrap();
            item.string(kind.key()).unwrap().into_owned()
        });
        names.collect::<Vec<_>>()
    });
    items.collect()
}

/// All that a caller is told without naming anything.
fn told(view: View<'_>, era: Era) -> String {
    let lists = Kind::ALL.map(|kind| pages(view, kind, era));
    format!("{lists:?} {:?}", view.instructions(era))
}

fn found(view: View<'_>, kind: Kind, name: &str, era: Era) -> bool {
    match kind {
        Kind::Tools => view.tool(name, era).is_some(),
        Kind::Prompts => view.prompt(name, era).is_some(),
        Kind::Resources | Kind::Templates | Kind::Instructions => true,
    }
}

/// Checks one caller; returns the tools that it does not see.
fn check(
    snapshot: &Snapshot,
    caller: &Caller,
    era: Era,
    reads_context: bool,
) -> Result<BTreeSet<(String, String)>, TestCaseError> {
    let view = snapshot.view(caller);
    let mut hidden = BTreeSet::new();
    for kind in [Kind::Tools, Kind::Prompts] {
        let listed = listed(view, kind, era);
        for route in snapshot.catalog.routes(kind) {
            let policies = snapshot.policies.as_ref().unwrap();
            let callable = ARGUMENTS.iter().any(|arguments| {
                let request = PolicyRequest::of_route(kind, &route, era, Some(arguments));
                policies.decide(caller, &request).is_allowed()
            });
            let name = &*route.exposed;
            let is_listed = listed.contains(name);
            prop_assert_eq!(is_listed, found(view, kind, name, era), "{}", name);
            prop_assert!(is_listed || !callable, "{} may be called", name);
            prop_assert!(reads_context || is_listed == callable, "{}", name);
            if kind == Kind::Tools && !is_listed {
                hidden.insert((route.upstream.to_string(), route.original().to_string()));
            }
        }
    }
    Ok(hidden)
}

fn check_all(
    policies: &[String],
    settings: &str,
    reads_context: bool,
) -> Result<(), TestCaseError> {
    let text = policies.join("\n");
    let all = snapshot(&text, settings, &CATALOG);
    let mut without = BTreeMap::new();
    for caller in callers() {
        for era in [Era::Legacy, Era::Modern] {
            let hidden = check(&all, &caller, era, reads_context)?;
            let some = without.entry(hidden.clone()).or_insert_with(|| {
                let hides =
                    |tool: &&Tool<'_>| hidden.contains(&(tool.0.to_owned(), tool.1.to_owned()));
                let some = CATALOG.iter().filter(|tool| !hides(tool)).copied();
                snapshot(&text, settings, &some.collect::<Vec<_>>())
            });
            let (mine, theirs) = (all.view(&caller), some.view(&caller));
            prop_assert_eq!(told(mine, era), told(theirs, era), "{}\n{:?}", text, caller);
            for uri in ["file://erp/a", "file://crm/a", "file://crm/b", "x:y"] {
                let [mine, theirs] = [mine, theirs].map(|view| view.resource(uri, era, || None));
                prop_assert_eq!(mine, theirs);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn what_is_listed_is_found_and_all_that_may_be_called_is_listed(
        policies in prop::collection::vec(policy(true), 1..6),
        settings in prop::sample::select(KINDS.to_vec()),
    ) {
        check_all(&policies, settings, true)?;
    }

    #[test]
    fn all_that_is_listed_may_be_called_where_nothing_reads_the_context(
        policies in prop::collection::vec(policy(false), 1..6),
        settings in prop::sample::select(KINDS.to_vec()),
    ) {
        check_all(&policies, settings, false)?;
    }
}

const ONLY_CRM: &str = "permit(principal, action in AgentCore::Action::\"crm\", resource) when { principal.hasTag(\"role\") };";

fn caller(subject: &str, tags: &[(&str, &str)]) -> Caller {
    let tags = tags.iter();
    let tags = tags.map(|(name, text)| ((*name).into(), (*text).into()));
    Caller::new(Identity {
        tags: tags.collect(),
        token: Some(Secret::new("planted-token")),
        ..Identity::new(Principal::OAuthUser, subject)
    })
}

#[test]
fn callers_of_one_class_share_a_view_that_keeps_no_token() {
    let snapshot = snapshot(ONLY_CRM, "", &CATALOG);
    let policies = snapshot.policies.as_ref().unwrap();
    let [one, two, other] = [
        caller("one", &[("role", "x")]),
        caller("two", &[("role", "x")]),
        caller("two", &[]),
    ];
    let view = |caller| policies.view(caller, Era::Modern).unwrap();
    assert!(Arc::ptr_eq(&view(&one), &view(&two)));
    assert!(!Arc::ptr_eq(&view(&one), &view(&other)));
    assert!(view(&one).example().0.identity().token.is_none());
    let tools = |caller| listed(snapshot.view(caller), Kind::Tools, Era::Modern).len();
    assert_eq!([tools(&one), tools(&two), tools(&other)], [2, 2, 0]);
    // Its lists were made once, of slices of the catalog's bytes.
    let lists = policies.lists(&view(&one), &snapshot.catalog).digest();
    assert_eq!(view(&two).lists().unwrap().digest(), lists);
}

#[test]
fn what_callers_see_of_the_next_catalog_is_made_before_it_is_published() {
    let before = snapshot(ONLY_CRM, "", &CATALOG);
    let caller = caller("one", &[("role", "x")]);
    told(before.view(&caller), Era::Modern);
    let next = snapshot(ONLY_CRM, "", &CATALOG[1..]);
    let kept = |snapshot: &Snapshot| snapshot.policies.as_ref().unwrap().kept_views().len();
    assert_eq!(kept(&next), 0);
    next.prewarm(&before);
    assert_eq!(kept(&next), 1);
    let tools = listed(next.view(&caller), Kind::Tools, Era::Modern);
    assert_eq!(tools.len(), 2);
    assert_eq!(kept(&next), 1);
}

#[test]
fn views_are_forgotten_when_they_take_more_than_their_share_of_the_memory() {
    let mut config = World::new(ONLY_CRM, UPSTREAMS, &CATALOG).config;
    config.memory = 64 << 10;
    let catalog = Arc::new(World::new(ONLY_CRM, UPSTREAMS, &CATALOG).catalog);
    let snapshot = Snapshot::first(Arc::new(config), Arc::from([]), catalog, Metrics::new());
    let policies = snapshot.policies.as_ref().unwrap();
    for role in 0..100 {
        let caller = caller("s", &[("role", &role.to_string())]);
        told(snapshot.view(&caller), Era::Modern);
        let kept = policies.kept_views();
        let bytes: usize = kept
            .iter()
            .filter_map(|view| view.lists())
            .map(CutCatalog::bytes)
            .sum();
        assert!(bytes <= 8 << 10, "{bytes}");
    }
}
