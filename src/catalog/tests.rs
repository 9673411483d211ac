//! The laws of a catalog: what holds whatever upstreams list, and in whatever order they answer.

mod chains;
mod laws;
mod resources;
mod stamps;

pub(super) use laws::any_ups;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use proptest::prelude::*;
use regex::Regex;
use serde_json::value::RawValue;

use super::*;
use crate::config::{Instructions, Search, ToolOverride, ToolRules, ValidateSettings};
use crate::json;
use crate::name::{Instance, Namespace, Naming, UpstreamId, UpstreamIndex, is_legal};
use crate::protocol::era::Era;

/// An upstream under its config.
#[derive(Debug)]
pub(super) struct Up {
    /// The weir in front of it.
    instance: Option<Instance>,
    /// The stamp on its definitions.
    stale: Option<StaleSince>,
    pub(super) id: UpstreamId,
    namespace: Namespace,
    strip: Option<Regex>,
    tools: ToolRules,
    search: Search,
    era: Era,
    definitions: Vec<(Kind, String)>,
}

impl Up {
    pub(super) fn new(id: &str) -> Self {
        let id = UpstreamId::parse(id).unwrap();
        Self {
            instance: None,
            stale: None,
            namespace: Namespace::of(&id),
            id,
            strip: None,
            tools: ToolRules::default(),
            search: Search::default(),
            era: Era::Legacy,
            definitions: Vec::new(),
        }
    }

    pub(super) fn bare(mut self) -> Self {
        self.namespace = Namespace::default();
        self
    }

    fn raw(mut self, kind: Kind, raw: impl Into<String>) -> Self {
        self.definitions.push((kind, raw.into()));
        self
    }

    pub(super) fn tools(self, names: &[&str]) -> Self {
        names.iter().fold(self, |up, name| {
            up.raw(
                Kind::Tools,
                format!(r#"{{"name":{},"inputSchema":{{}}}}"#, json::quote(name)),
            )
        })
    }

    pub(super) fn resources(self, uris: &[&str]) -> Self {
        uris.iter().fold(self, |up, uri| {
            up.raw(
                Kind::Resources,
                format!(r#"{{"uri":{},"name":"r"}}"#, json::quote(uri)),
            )
        })
    }

    fn templates(self, templates: &[&str]) -> Self {
        templates.iter().fold(self, |up, template| {
            up.raw(
                Kind::Templates,
                format!(r#"{{"uriTemplate":{}}}"#, json::quote(template)),
            )
        })
    }

    fn change(mut self, tool: &str, change: ToolOverride) -> Self {
        self.tools.overrides.insert(tool.to_owned(), change);
        self
    }

    pub(super) fn prepare(&self) -> Prepared {
        let mut listing = Listing::of(self.era);
        for (kind, raw) in &self.definitions {
            listing.add(*kind, raw);
        }
        let rules = Rules {
            instance: self.instance.as_ref(),
            stale: PerKind::from_fn(|_| self.stale),
            upstream: &self.id,
            namespace: &self.namespace,
            strip: self.strip.as_ref(),
            tools: &self.tools,
            validate: &ValidateSettings::default(),
            instructions: &Instructions::Served,
            inline_schemas: false,
            search: self.search,
        };
        Prepared::new(rules, &Naming::default(), &listing.finish())
    }
}

fn parts(ups: &[Up]) -> Vec<Part> {
    ups.iter()
        .enumerate()
        .map(|(slot, up)| Part {
            upstream: up.id.clone(),
            upstream_index: UpstreamIndex::new(slot),
            prepared: Arc::new(up.prepare()),
        })
        .collect()
}

fn catalog(ups: &[Up]) -> Catalog {
    Catalog::merge(&Naming::default(), 1000, &parts(ups))
}

fn exposed(catalog: &Catalog, kind: Kind) -> Vec<String> {
    catalog
        .routes(kind)
        .map(|route| route.exposed.to_string())
        .collect()
}

/// All definitions a caller reads, page by page.
pub(super) fn listed(catalog: &Catalog, kind: Kind, era: Era) -> Vec<String> {
    let (mut all, mut at) = (Vec::new(), Some(0));
    while let Some(index) = at {
        let page = catalog.page(kind, era, index).unwrap();
        let mut text = b"[".to_vec();
        page.write(&mut text);
        text.push(b']');
        let text = String::from_utf8(text).unwrap();
        let items = json::array(&text).unwrap();
        assert_eq!(items.len(), page.items);
        all.extend(items.into_iter().map(str::to_owned));
        at = page.next;
    }
    all
}

fn globs(patterns: &[&str]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).unwrap());
    }
    Some(set.build().unwrap())
}

#[test]
fn each_tool_is_found_under_its_exposed_name_only() {
    let catalog = catalog(&[
        Up::new("jira").tools(&["search", "get issue"]),
        Up::new("github")
            .tools(&["search"])
            .raw(Kind::Prompts, r#"{"name":"search"}"#),
    ]);
    let route = catalog.tool("github__search").unwrap();
    assert_eq!(
        (
            route.upstream.as_str(),
            route.upstream_index.get(),
            &**route.original()
        ),
        ("github", 1, "search")
    );
    assert_eq!(route.original_json(), "\"search\"");
    assert!(catalog.tool("search").is_none());
    assert!(catalog.prompt("jira__search").is_none());
    assert_eq!(
        catalog.prompt("github__search").unwrap().upstream.as_str(),
        "github"
    );
    let names = exposed(&catalog, Kind::Tools);
    assert!(
        names[1].starts_with("jira__get_issue_") && names[1].len() == 24,
        "{names:?}"
    );
    assert_eq!(&**catalog.tool(&names[1]).unwrap().original(), "get issue");
    assert_eq!((catalog.len(Kind::Tools), catalog.is_empty()), (3, false));
}

#[test]
fn the_earlier_upstream_keeps_a_name_and_the_conflict_is_reported() {
    let ups = [
        Up::new("a").bare().tools(&["x", "only-a"]),
        Up::new("b").bare().tools(&["y", "x", "z"]),
    ];
    let catalog = catalog(&ups);
    assert_eq!(catalog.tool("x").unwrap().upstream.as_str(), "a");
    let [conflict] = catalog.conflicts() else {
        panic!("{:?}", catalog.conflicts())
    };
    assert_eq!(
        (
            &*conflict.exposed,
            conflict.kept_by.as_str(),
            conflict.upstream.as_str(),
            &*conflict.original
        ),
        ("x", "a", "b", "x")
    );
    let other = catalog.tool(&conflict.to).unwrap();
    assert_eq!(
        (other.upstream.as_str(), &**other.original(), &other.exposed),
        ("b", "x", &conflict.to)
    );
    let shown = listed(&catalog, Kind::Tools, Era::Legacy);
    assert_eq!(
        shown[3],
        format!(r#"{{"name":"{}","inputSchema":{{}}}}"#, conflict.to)
    );
    assert_eq!(
        exposed(&catalog, Kind::Tools),
        ["x", "only-a", "y", &conflict.to, "z"]
    );
}

#[test]
fn names_of_one_upstream_that_become_the_same_are_told_apart_whatever_its_order() {
    let flattened = |names: &[&str]| {
        let mut up = Up::new("gw").tools(names);
        up.strip = Some(Regex::new("^[^_]+___").unwrap());
        catalog(&[up])
    };
    let one = flattened(&["b___x", "a___x", "a___y"]);
    let two = flattened(&["a___y", "a___x", "b___x"]);
    for catalog in [&one, &two] {
        assert_eq!(&**catalog.tool("gw__x").unwrap().original(), "a___x");
        let [conflict] = catalog.conflicts() else {
            panic!("{:?}", catalog.conflicts())
        };
        assert_eq!(
            (conflict.kept_by.as_str(), conflict.upstream.as_str()),
            ("gw", "gw")
        );
        assert_eq!(&**catalog.tool(&conflict.to).unwrap().original(), "b___x");
    }
    assert_eq!(one.conflicts(), two.conflicts());
}

#[test]
fn a_name_the_operator_gives_comes_before_one_the_upstream_has() {
    let rename = ToolOverride {
        name: Some("list".into()),
        ..ToolOverride::default()
    };
    let catalog = catalog(&[Up::new("a").tools(&["list", "zz"]).change("zz", rename)]);
    assert_eq!(&**catalog.tool("a__list").unwrap().original(), "zz");
    assert_eq!(catalog.conflicts()[0].original.as_ref(), "list");
}

#[test]
fn allow_and_deny_decide_by_original_name_and_deny_wins() {
    let mut up = Up::new("a").tools(&["issue_get", "issue_delete", "admin"]);
    up.tools.allow = globs(&["issue_*"]);
    up.tools.deny = globs(&["*delete*"]);
    let prepared = up.prepare();
    let excluded: Vec<_> = prepared
        .excluded()
        .iter()
        .map(|tool| (&*tool.original, tool.because))
        .collect();
    let expected = [
        ("issue_delete", ExclusionReason::Denied),
        ("admin", ExclusionReason::NotAllowed),
    ];
    assert_eq!(excluded, expected);
    assert_eq!(exposed(&catalog(&[up]), Kind::Tools), ["a__issue_get"]);
}

/// An AgentCore Gateway with its search tool, listed first as they do.
fn gateway(id: &str, search: Search) -> Up {
    let mut up = Up::new(id).tools(&["x_amz_bedrock_agentcore_search", "crm___find"]);
    up.strip = Some(Regex::new("^.*_").unwrap());
    up.search = search;
    up
}

#[test]
fn the_search_tool_of_a_gateway_is_namespaced_kept_or_hidden() {
    let names = |search| exposed(&catalog(&[gateway("corp", search)]), Kind::Tools);
    assert_eq!(names(Search::Namespaced), ["corp__search", "corp__find"]);
    assert_eq!(
        names(Search::Keep),
        ["x_amz_bedrock_agentcore_search", "corp__find"]
    );
    assert_eq!(names(Search::Hide), ["corp__find"]);
    let hidden = gateway("corp", Search::Hide).prepare();
    assert_eq!(hidden.excluded()[0].because, ExclusionReason::SearchHidden);
}

#[test]
fn two_gateways_that_keep_the_search_tool_both_have_one() {
    let both = catalog(&[gateway("a", Search::Keep), gateway("b", Search::Keep)]);
    let names = exposed(&both, Kind::Tools);
    assert_eq!(names[0], "x_amz_bedrock_agentcore_search");
    assert!(names[2].starts_with("x_amz_bedrock_agentcore_search_"));
    let other = both.tool(&names[2]).unwrap();
    assert_eq!(&**other.original(), "x_amz_bedrock_agentcore_search");
    assert_eq!(other.upstream.as_str(), "b");
}

#[test]
fn a_search_tool_with_a_name_of_the_operators_is_like_any_other() {
    let rename = ToolOverride {
        name: Some("find_tools".into()),
        ..ToolOverride::default()
    };
    let up = gateway("corp", Search::Keep).change("x_amz_bedrock_agentcore_search", rename);
    let names = exposed(&catalog(&[up]), Kind::Tools);
    assert_eq!(names, ["corp__find_tools", "corp__find"]);
}

#[test]
fn an_override_renames_describes_and_hides() {
    let change = ToolOverride {
        name: Some("query_orders".into()),
        description: Some("Orders.\nAll of them.".into()),
        hide_args: vec!["debug".into()],
        set_args: IndexMap::from([(
            "tenant".to_owned(),
            RawValue::from_string("\"eu\"".into()).unwrap(),
        )]),
        ..ToolOverride::default()
    };
    let catalog = catalog(&[Up::new("erp")
        .raw(Kind::Tools, r#"{"name":"qry","inputSchema":{"properties":{"q":{},"tenant":{},"debug":{}},"required":["q","tenant"]}}"#)
        .change("qry", change)]);
    let route = catalog.tool("erp__query_orders").unwrap();
    assert!(route.needs_arguments());
    assert_eq!(catalog.head(Kind::Tools, &route.exposed), "Orders.");
    let rules = route.argument_rules().unwrap();
    assert_eq!(rules.hidden().collect::<Vec<_>>(), ["debug", "tenant"]);
    assert_eq!(
        rules.apply(Some(r#"{"q":1}"#)).unwrap().unwrap(),
        r#"{"q":1,"tenant":"eu"}"#
    );
    assert_eq!(
        listed(&catalog, Kind::Tools, Era::Modern),
        [
            r#"{"name":"erp__query_orders","inputSchema":{"properties":{"q":{}},"required":["q"]},"description":"Orders.\nAll of them."}"#
        ]
    );
}

#[test]
fn a_config_that_speaks_of_what_is_not_there_gets_a_warning() {
    let hide = |arg: &str| ToolOverride {
        hide_args: vec![arg.into()],
        ..ToolOverride::default()
    };
    let mut up = Up::new("a")
        .tools(&["x", "y"])
        .change("gone", ToolOverride::default())
        .change("x", hide("nothing"))
        .change("y", ToolOverride::default());
    up.tools.deny = globs(&["y"]);
    assert_eq!(
        up.prepare().warnings(),
        [
            "tools.override: there is no tool `gone`",
            "tools.override: the tool `x` has no argument `nothing` to hide",
            "tools.override: the tool `y` is not exposed (tools.allow, tools.deny)",
        ]
    );
}

#[test]
fn each_era_sees_what_it_can_use() {
    let legacy = Up::new("old")
        .raw(
            Kind::Tools,
            r#"{"name":"now","inputSchema":{},"execution":{"taskSupport":"optional"}}"#,
        )
        .raw(
            Kind::Tools,
            r#"{"name":"later","inputSchema":{},"execution":{"taskSupport":"required"}}"#,
        )
        .raw(Kind::Tools, r#"{"name":"plain","inputSchema":{}}"#);
    let mut modern = Up::new("new").raw(
        Kind::Tools,
        r#"{"name":"any","inputSchema":{},"outputSchema":{"type":"array"}}"#,
    );
    modern.era = Era::Modern;
    let catalog = catalog(&[legacy, modern]);
    assert_eq!(
        listed(&catalog, Kind::Tools, Era::Modern),
        [
            r#"{"name":"old__now","inputSchema":{}}"#,
            r#"{"name":"old__later","inputSchema":{}}"#,
            r#"{"name":"old__plain","inputSchema":{}}"#,
            r#"{"name":"new__any","inputSchema":{},"outputSchema":{"type":"array"}}"#,
        ]
    );
    assert_eq!(
        listed(&catalog, Kind::Tools, Era::Legacy),
        [
            r#"{"name":"old__now","inputSchema":{},"execution":{"taskSupport":"optional"}}"#,
            r#"{"name":"old__later","inputSchema":{},"execution":{"taskSupport":"required"}}"#,
            r#"{"name":"old__plain","inputSchema":{}}"#,
            r#"{"name":"new__any","inputSchema":{}}"#,
        ]
    );
    let later = catalog.tool("old__later").unwrap();
    assert!(later.is_listed(Era::Legacy) && later.is_listed(Era::Modern));
    assert!(later.requires_task() && !catalog.tool("old__now").unwrap().requires_task());
}

#[test]
fn a_conflict_is_rendered_for_both_eras() {
    let tool = r#"{"name":"x","inputSchema":{},"execution":{"taskSupport":"required"}}"#;
    let optional = r#"{"name":"y","inputSchema":{},"execution":{}}"#;
    let up = |id: &str| {
        Up::new(id)
            .bare()
            .raw(Kind::Tools, tool)
            .raw(Kind::Tools, optional)
            .tools(&["z"])
    };
    let catalog = catalog(&[up("a"), up("b")]);
    let legacy = listed(&catalog, Kind::Tools, Era::Legacy);
    let modern = listed(&catalog, Kind::Tools, Era::Modern);
    assert_eq!(
        (legacy.len(), modern.len(), catalog.len(Kind::Tools)),
        (6, 6, 6)
    );
    let name = |text: &str| {
        json::Object::parse(text)
            .unwrap()
            .string("name")
            .unwrap()
            .into_owned()
    };
    for text in legacy.iter().chain(&modern) {
        assert!(catalog.tool(&name(text)).is_some(), "{text}");
    }
    assert!(modern.iter().all(|text| !text.contains("execution")));
    assert!(modern[4].starts_with(r#"{"name":"y_"#), "{modern:?}");
}

#[test]
fn the_digest_changes_with_what_callers_see_and_with_where_it_leads() {
    let base = || vec![Up::new("a").tools(&["x"]), Up::new("b").resources(&["u:1"])];
    let catalog_of = |ups: Vec<Up>| catalog(&ups);
    let before = catalog_of(base());
    assert_eq!(before.digest(), catalog_of(base()).digest());

    let mut more = base();
    more[1] = Up::new("b").resources(&["u:1", "u:2"]);
    let more = catalog_of(more);
    assert_ne!(before.digest(), more.digest());
    assert_ne!(
        before.digest_of(Kind::Resources),
        more.digest_of(Kind::Resources)
    );
    assert_eq!(before.digest_of(Kind::Tools), more.digest_of(Kind::Tools));

    // The same definitions under the same names, but another tool behind them.
    let rename = || ToolOverride {
        name: Some("x".into()),
        ..ToolOverride::default()
    };
    let mut rerouted = base();
    rerouted[0] = Up::new("a").tools(&["y"]).change("y", rename());
    let rerouted = catalog_of(rerouted);
    assert_eq!(
        before.digest_of(Kind::Tools),
        rerouted.digest_of(Kind::Tools)
    );
    assert_ne!(before.digest(), rerouted.digest());

    // An upstream without anything is not seen.
    let mut empty = base();
    empty.push(Up::new("c"));
    let empty = catalog_of(empty);
    assert_eq!(before.digest_of(Kind::Tools), empty.digest_of(Kind::Tools));
}
