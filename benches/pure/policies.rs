//! Policies: loaded, validated, and asked.

use std::sync::Arc;

use divan::Bencher;
use weir::caller::{Caller, Identity, Principal};
use weir::catalog::{Catalog, Kind, Listing, Part, Prepared};
use weir::name::UpstreamIndex;
use weir::policy::{Policies, PolicyRequest, PolicyRules};
use weir::protocol::era::Era;

use crate::catalogs::definition;

/// Policies over a catalog, and what it takes to make them.
struct PolicyWorld {
    config: weir::config::Config,
    catalog: Catalog,
}

impl PolicyWorld {
    /// Makes `count` policies over 2,000 tools of 20 upstreams: permits of groups of tools to groups of
    /// callers, and forbids of single tools by an argument.
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = String::new();
        for number in 0..count {
            let (upstream, tool) = (number % 20, number % 100);
            text += &match number % 2 {
                0 => format!(
                    "permit(principal is AgentCore::OAuthUser, action in AgentCore::Action::\"up{upstream}\", resource) when {{ principal.hasTag(\"groups\") && principal.getTag(\"groups\") like \"*\\\"g{upstream}\\\"*\" }};\n"
                ),
                _ => format!(
                    "forbid(principal, action == AgentCore::Action::\"up{upstream}___tool_{tool}\", resource) when {{ context.input has query && context.input.query like \"*drop*\" }};\n"
                ),
            };
        }
        std::fs::write(folder.path().join("a.cedar"), text).expect("a file");
        let mut yaml = "policy: { files: [a.cedar] }\nupstreams:\n".to_owned();
        for number in 0..20 {
            yaml += &format!("  up{number}: {{ command: x }}\n");
        }
        let file = folder.path().join("weir.yaml");
        let config = weir::config::parse(&yaml, &file, &|_| None).expect("a valid config");
        let parts: Vec<_> = (0..)
            .zip(&config.upstreams)
            .map(|(index, (id, upstream))| {
                let mut listing = Listing::of(Era::Modern);
                (0..100).for_each(|tool| {
                    listing.add(Kind::Tools, &definition(tool));
                });
                let listing = listing.finish();
                Part {
                    upstream: id.clone(),
                    upstream_index: UpstreamIndex::new(index),
                    prepared: Arc::new(Prepared::new(upstream.as_ref(), &config.naming, &listing)),
                }
            })
            .collect();
        let catalog = Catalog::merge(&config.naming, 1000, &parts);
        Self { config, catalog }
    }

    fn policies(&self) -> Policies {
        let rules = PolicyRules::of(&self.config).expect("there are policies");
        Policies::new(
            rules,
            &self.config.upstreams,
            &self.catalog,
            self.config.memory,
        )
    }
}

/// A caller of one group.
fn grouped_caller(number: usize) -> Caller {
    let tags = [
        ("groups", format!("[\"g{}\",\"staff\"]", number % 20)),
        ("email", format!("user{number}@example.com")),
        ("scope", "mcp:call".to_owned()),
    ];
    let tags = tags.map(|(name, text)| (name.into(), text.into()));
    Caller::new(Identity {
        tags: tags.into_iter().collect(),
        ..Identity::new(Principal::OAuthUser, &format!("user{number}"))
    })
}

/// Takes policies apart and slices them for a catalog of 2,000 tools.
#[divan::bench(args = [50, 500])]
fn load_policies(bencher: Bencher<'_, '_>, count: usize) {
    let world = PolicyWorld::new(count);
    bencher.bench(|| world.policies());
}

/// Validates policies against the schemas of 2,000 tools.
#[divan::bench(args = [50, 500])]
fn validate_policies(bencher: Bencher<'_, '_>, count: usize) {
    let world = PolicyWorld::new(count);
    let settings = world.config.policy.clone().expect("there are policies");
    bencher
        .with_inputs(|| world.policies())
        .bench_refs(|policies| policies.findings(&settings));
}

/// Decides a call: with a decision that is the same for every call of a class, and with one on
/// arguments.
#[divan::bench(args = ["up0__tool_0", "up1__tool_1"])]
fn decide_a_call(bencher: Bencher<'_, '_>, name: &str) {
    let world = PolicyWorld::new(50);
    let policies = world.policies();
    let route = world.catalog.tool(name).expect("it is listed");
    let callers: Vec<_> = (0..1000).map(grouped_caller).collect();
    let arguments = r#"{"query":"open issues","project":"weir","assignee":"me","label":"bug"}"#;
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % callers.len();
        let request = PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, Some(arguments));
        policies.decide(&callers[next], &request)
    });
}

/// Finds out what a class of callers sees of 2,000 tools under 50 policies, for the first of them.
#[divan::bench]
fn see_as_a_new_class(bencher: Bencher<'_, '_>) {
    let world = PolicyWorld::new(50);
    bencher
        .with_inputs(|| (world.policies(), grouped_caller(1)))
        .bench_refs(|(policies, caller)| policies.visible(caller, Kind::Tools, Era::Modern));
}
