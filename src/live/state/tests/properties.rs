//! Promises that hold in whatever order upstreams are heard of.

use proptest::prelude::*;

use super::*;

/// The outcome of one attempt of an upstream: tools by name, or a failure.
type Attempt = Option<Vec<String>>;

/// Names that are legal, and names that are not; few enough to meet each other again.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[abc]",
        1 => "[a-c/ ☂.]{1,3}",
        1 => "[ab]{60,80}",
    ]
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        3 => prop::collection::vec(any_name(), 1..4).prop_map(Some),
        1 => Just(Some(Vec::new())),
        1 => Just(None),
    ]
}

/// The attempts of every known upstream, and two orders in which they may be heard of.
fn any_history() -> impl Strategy<Value = (Vec<Vec<Attempt>>, Vec<usize>, Vec<usize>)> {
    prop::collection::vec(prop::collection::vec(any_attempt(), 0..6), KNOWN).prop_flat_map(
        |attempts| {
            let order: Vec<usize> = attempts
                .iter()
                .enumerate()
                .flat_map(|(slot, attempts)| vec![slot; attempts.len()])
                .collect();
            let shuffled = Just(order).prop_shuffle();
            (Just(attempts), shuffled.clone(), shuffled)
        },
    )
}

fn named(names: &[String]) -> Listing {
    tools(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A catalog's digest, and each route of its tools: exposed name, slot, original name.
type Shown = (Digest, Vec<(String, usize, String)>);

/// Everything callers can see.
fn shown(run: &Run) -> Option<Shown> {
    let catalog = run.seen.as_deref()?;
    let route = |route: crate::catalog::Route| {
        let original = route.original().to_string();
        (
            route.exposed.to_string(),
            route.upstream_index.get(),
            original,
        )
    };
    let routes = catalog.routes(Kind::Tools).map(route).collect();
    Some((catalog.digest(), routes))
}

proptest! {
    #[test]
    fn an_older_round_never_replaces_a_newer_one(
        heard in prop::collection::vec((0..KNOWN, 1..9_u64, prop::bool::weighted(0.8)), 1..40)
    ) {
        let mut run = Run::new();
        let (mut newest, mut good) = ([0; KNOWN], [0; KNOWN]);
        for (slot, round, works) in heard {
            // The tool says which round it is from.
            let name = format!("r{round}");
            let did = run.listed(slot, round, works.then(|| tools(&[&name])));
            if round > newest[slot] {
                newest[slot] = round;
                good[slot] = if works { round } else { good[slot] };
            } else {
                prop_assert_eq!(did, Did::Nothing);
            }
            for (slot, id) in ["ann", "bob"].iter().enumerate() {
                let prefix = format!("{id}__");
                let shown: Vec<_> = run.tools().into_iter().filter(|name| name.starts_with(&prefix)).collect();
                let expected: Vec<_> = (good[slot] > 0).then(|| format!("{prefix}r{}", good[slot])).into_iter().collect();
                prop_assert_eq!(shown, expected);
            }
        }
    }

    #[test]
    fn it_does_not_matter_which_upstream_was_heard_of_first((attempts, one, two) in any_history()) {
        let shown = [one, two].map(|order| {
            let mut run = Run::new();
            let mut rounds = [0; KNOWN];
            for slot in order {
                let attempt = &attempts[slot][rounds[slot]];
                rounds[slot] += 1;
                run.listed(slot, rounds[slot] as u64, attempt.as_deref().map(named));
            }
            shown(&run)
        });
        prop_assert_eq!(&shown[0], &shown[1]);
    }

    #[test]
    fn whatever_is_published_has_unique_legal_names_of_known_upstreams(
        heard in prop::collection::vec((0..KNOWN + 2, 1..30_u64, any_attempt()), 1..30)
    ) {
        let mut run = Run::new();
        let mut said = vec![BTreeSet::new(); KNOWN];
        for (slot, round, attempt) in heard {
            let did = run.listed(slot, round, attempt.as_deref().map(named));
            if slot >= KNOWN {
                prop_assert_eq!(did, Did::Nothing);
                continue;
            }
            said[slot].extend(attempt.unwrap_or_default());
            let Some(catalog) = &run.seen else { continue };
            let mut exposed = BTreeSet::new();
            for route in catalog.routes(Kind::Tools) {
                let name = route.exposed.to_string();
                prop_assert!(name.len() <= 64 && name.bytes().all(is_legal), "{}", name);
                prop_assert_eq!(route.upstream.as_str(), ["ann", "bob", "coy"][route.upstream_index.get()]);
                prop_assert!(said[route.upstream_index.get()].contains(route.original().as_ref()));
                let found = catalog.tool(&name).unwrap();
                prop_assert_eq!((found.upstream_index.get(), found.original()), (route.upstream_index.get(), route.original()));
                prop_assert!(exposed.insert(name));
            }
        }
    }
}
