//! Listings and catalogs: checked, prepared, merged, served.

use std::sync::Arc;

use divan::{Bencher, black_box};
use weir::catalog::{Catalog, Kind, Listing, Part, PerKind, Prepared, Rules, listing};
use weir::config::{Instructions, Search, ToolRules, ValidateSettings};
use weir::json;
use weir::name::{Instance, Namespace, Naming, UpstreamId, UpstreamIndex};
use weir::protocol::era::Era;

/// A definition of about 900 bytes, as servers in use have them.
pub(crate) fn definition(tool: usize) -> String {
    let property = |name: &str| {
        format!(
            r#""{name}":{{"type":"string","description":"The {name} to look for, as the tracker spells it.","maxLength":200}}"#
        )
    };
    format!(
        r#"{{"name":"tool_{tool}","title":"Tool {tool}","description":"Looks for issues and gives them back newest first.\nArguments narrow the search down.","inputSchema":{{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{{{},{},{},{}}},"required":["query"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":true}}}}"#,
        property("query"),
        property("project"),
        property("assignee"),
        property("label"),
    )
}

fn listing_of(tools: usize, salt: usize) -> Listing {
    let mut listing = Listing::of(Era::Legacy);
    for tool in 0..tools {
        listing.add(Kind::Tools, &definition(tool + salt));
    }
    listing.finish()
}

fn prepare(at: usize, listing: &Listing) -> Prepared {
    let upstream = UpstreamId::parse(&format!("upstream-{at}")).expect("a legal key");
    let instance = Instance::parse("eu-edge-1").expect("a legal name");
    let rules = Rules {
        instructions: &Instructions::Served,
        instance: Some(&instance),
        stale: PerKind::default(),
        upstream: &upstream,
        namespace: &Namespace::of(&upstream),
        strip: None,
        tools: &ToolRules::default(),
        validate: &ValidateSettings::default(),
        inline_schemas: false,
        search: Search::default(),
    };
    Prepared::new(rules, &Naming::default(), listing)
}

fn part(at: usize, prepared: Prepared) -> Part {
    Part {
        upstream: prepared.upstream().clone(),
        upstream_index: UpstreamIndex::new(at),
        prepared: Arc::new(prepared),
    }
}

fn parts(upstreams: usize, tools: usize) -> Vec<Part> {
    let listing = listing_of(tools, 0);
    (0..upstreams)
        .map(|at| part(at, prepare(at, &listing)))
        .collect()
}

#[divan::bench]
fn check_a_definition(bencher: Bencher<'_, '_>) {
    let raw = definition(7);
    bencher
        .counter(divan::counter::BytesCount::of_str(&raw))
        .bench(|| listing::check_definition(Kind::Tools, black_box(&raw)));
}

/// The first listing, one that says the same again, and one that says it but for one tool.
#[divan::bench(args = ["first", "same", "one changed"])]
fn list_100_tools(bencher: Bencher<'_, '_>, which: &str) {
    let items: Vec<String> = (0..100).map(definition).collect();
    let page = format!("[{}]", items.join(","));
    let list = |page: &str, earlier: Option<&Arc<Listing>>| {
        let mut listing = Listing::of(Era::Legacy);
        if let Some(earlier) = earlier {
            listing = listing.after(Arc::clone(earlier));
        }
        for raw in json::array(page).unwrap_or_default() {
            listing.add(Kind::Tools, raw);
        }
        listing.finish()
    };
    let earlier = match which {
        "first" => None,
        "same" => Some(page.clone()),
        _ => Some(page.replace("\"Tool 7\"", "\"Tool seven\"")),
    };
    let earlier = earlier.map(|page| Arc::new(list(&page, None)));
    bencher.bench(|| list(black_box(&page), earlier.as_ref()));
}

#[divan::bench]
fn prepare_100_tools(bencher: Bencher<'_, '_>) {
    let listing = listing_of(100, 0);
    bencher.bench(|| prepare(3, black_box(&listing)));
}

/// Everything joined afresh, as at the start and under another config.
#[divan::bench(args = [(20, 100), (1000, 100)], sample_count = 20)]
fn merge_all(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let (parts, naming) = (parts(upstreams, tools), Naming::default());
    bencher.bench_local(|| Catalog::merge(&naming, 1000, black_box(&parts)).digest());
}

/// One of many upstreams has one tool more than in its listing before, or one less: prepare it, merge, and drop the
/// catalog before.
#[divan::bench(args = [(20, 100), (100, 100), (1000, 100)], sample_count = 50)]
fn after_one_changed(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    after(
        bencher,
        upstreams,
        [tools, tools + 1].map(|tools| listing_of(tools, 0)),
    );
}

/// One of many upstreams lists only tools that it did not have before.
#[divan::bench(args = [(20, 100), (1000, 100)], sample_count = 50)]
fn after_one_changed_all_names(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    after(
        bencher,
        upstreams,
        [0, tools].map(|salt| listing_of(tools, salt)),
    );
}

/// One of many upstreams goes and comes back: the cost of hiding stale listings.
#[divan::bench(args = [(1000, 100)], sample_count = 50)]
fn after_one_went_or_came(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let all = parts(upstreams, tools);
    let mut others = all.clone();
    others.remove(upstreams / 2);
    let mut current = Catalog::merge(&Naming::default(), 1000, &all);
    let mut rounds = [others, all].into_iter().cycle();
    bencher.bench_local(|| {
        current = current.after(&rounds.next().expect("no end"));
        current.digest()
    });
}

fn after(bencher: Bencher<'_, '_>, upstreams: usize, listings: [Listing; 2]) {
    let (mut parts, middle) = (parts(upstreams, 100), upstreams / 2);
    let mut current = Catalog::merge(&Naming::default(), 1000, &parts);
    let mut rounds = listings.iter().cycle();
    bencher.bench_local(|| {
        parts[middle] = part(middle, prepare(middle, rounds.next().expect("no end")));
        current = current.after(&parts);
        current.digest()
    });
}

/// The worst merge: the second half wants the names of the first, so each of its tools is rendered again.
#[divan::bench(args = [(20, 100), (200, 100)], sample_count = 20)]
fn all_in_conflict(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let (parts, naming) = (conflicting(upstreams, tools), Naming::default());
    bencher.bench_local(|| Catalog::merge(&naming, 1000, black_box(&parts)));
}

/// One of the first half has one tool more or one less, where the second half wants the names of the first.
#[divan::bench(args = [(200, 100), (1000, 100)], sample_count = 20)]
fn after_one_changed_all_in_conflict(bencher: Bencher<'_, '_>, (upstreams, tools): (usize, usize)) {
    let mut parts = conflicting(upstreams, tools);
    let mut current = Catalog::merge(&Naming::default(), 1000, &parts);
    let listings = [tools - 1, tools].map(|tools| listing_of(tools, 0));
    let mut rounds = listings.iter().cycle();
    bencher.bench_local(|| {
        parts[7] = part(7, prepare(7, rounds.next().expect("no end")));
        current = current.after(&parts);
        current.digest()
    });
}

fn conflicting(upstreams: usize, tools: usize) -> Vec<Part> {
    let mut parts = parts(upstreams / 2, tools);
    let again: Vec<Part> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| Part {
            upstream_index: UpstreamIndex::new(upstreams / 2 + at),
            ..part.clone()
        })
        .collect();
    parts.extend(again);
    parts
}

#[divan::bench]
fn serve_a_page_of_1000_tools(bencher: Bencher<'_, '_>) {
    let catalog = Catalog::merge(&Naming::default(), 1000, &parts(20, 100));
    let page = catalog
        .page(Kind::Tools, Era::Modern, 0)
        .expect("the first page");
    bencher
        .counter(divan::counter::BytesCount::new(page.bytes()))
        .bench(|| {
            let mut out = Vec::new();
            black_box(page).write(&mut out);
            out
        });
}

#[divan::bench]
fn look_a_tool_up_among_100_000(bencher: Bencher<'_, '_>) {
    let catalog = Catalog::merge(&Naming::default(), 1000, &parts(1000, 100));
    bencher.bench(|| catalog.tool(black_box("upstream-517__tool_42")));
}
