//! Stamps of what may be out of date, through weirs.

use std::time::{Duration, SystemTime};

use super::chains::weir;
use super::*;

fn stamp(seconds: u64) -> StaleSince {
    StaleSince::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The stamp on the only tool.
fn on(catalog: &Catalog) -> Option<StaleSince> {
    let tools = listed(catalog, Kind::Tools, Era::Modern);
    assert_eq!(tools.len(), 1, "{tools:?}");
    StaleSince::on(&tools[0])
}

#[test]
fn every_kind_of_a_stale_upstream_is_stamped_and_no_other_upstream() {
    let all = |name| {
        Up::new(name)
            .tools(&["t"])
            .resources(&["file:///r"])
            .templates(&["note://{id}"])
            .raw(Kind::Prompts, r#"{"name":"p"}"#)
    };
    let fresh = all("fresh").bare();
    let stale = Up {
        stale: Some(stamp(1)),
        ..all("stale")
    };
    let seen = catalog(&[fresh, stale]);
    for kind in Kind::ALL {
        for era in [Era::Legacy, Era::Modern] {
            let stamps = listed(&seen, kind, era);
            let stamps: Vec<_> = stamps.iter().map(|text| StaleSince::on(text)).collect();
            assert_eq!(stamps, [None, Some(stamp(1))], "{kind} {era}");
        }
    }
}

#[test]
fn a_definition_is_as_old_as_its_oldest_part() {
    let inner = |stale| {
        let up = Up::new("up").tools(&["t"]);
        weir("b", Up { stale, ..up }, &[])
    };
    let through = |inner: &Catalog, stale| {
        let mut up = Up {
            instance: Instance::parse("a").ok(),
            stale,
            ..Up::new("b")
        };
        for raw in listed(inner, Kind::Tools, Era::Legacy) {
            up = up.raw(Kind::Tools, raw);
        }
        on(&catalog(&[up]))
    };
    let (older, newer) = (Some(stamp(5)), Some(stamp(9)));
    assert_eq!(through(&inner(None), None), None);
    assert_eq!(through(&inner(newer), None), newer);
    assert_eq!(through(&inner(None), newer), newer);
    assert_eq!(through(&inner(older), newer), older);
    assert_eq!(through(&inner(newer), older), older);
}

#[test]
fn weirs_that_list_each_other_come_to_rest_with_what_is_stamped() {
    let own = |name, stale| {
        let up = Up::new("up").tools(&[name]);
        Up { stale, ..up }
    };
    let (mut one, mut two) = (
        weir("w1", own("a", None), &[]),
        weir("w2", own("b", None), &[]),
    );
    let mut rounds = 0;
    let mut settle = |stale| {
        for _ in 0..4 {
            let before = (one.digest(), two.digest());
            one = weir("w1", own("a", stale), &[("w2", &two)]);
            two = weir("w2", own("b", None), &[("w1", &one)]);
            rounds += 1;
            if before == (one.digest(), two.digest()) {
                let stamps = |catalog| {
                    let tools = listed(catalog, Kind::Tools, Era::Modern);
                    tools
                        .iter()
                        .map(|text| StaleSince::on(text))
                        .collect::<Vec<_>>()
                };
                return (stamps(&one), stamps(&two));
            }
        }
        panic!("they never come to rest");
    };
    assert_eq!(settle(None), (vec![None, None], vec![None, None]));
    let stale = Some(stamp(5));
    assert_eq!(settle(stale), (vec![stale, None], vec![None, stale]));
    assert_eq!(settle(None), (vec![None, None], vec![None, None]));
}

#[test]
fn a_stamp_is_no_redefinition() {
    let seen = |stale| {
        let up = Up::new("up").tools(&["t"]);
        let seen = weir("w", Up { stale, ..up }, &[]);
        let tools = listed(&seen, Kind::Tools, Era::Modern);
        (seen.digest(), tools[0].clone())
    };
    let (fresh, stale) = (seen(None), seen(Some(stamp(5))));
    assert_ne!(fresh.0, stale.0, "callers see it");
    assert_eq!(compare_definitions(Kind::Tools, &fresh.1, &stale.1), []);
    assert_eq!(compare_definitions(Kind::Tools, &stale.1, &fresh.1), []);
}
