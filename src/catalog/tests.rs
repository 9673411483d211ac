//! The laws of a catalog: what holds whatever upstreams list, and in whatever order they answer.

mod stamps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use indexmap::IndexMap;
use proptest::prelude::*;
use regex::Regex;
use serde_json::value::RawValue;

use super::*;
use crate::config::{Search, ToolOverride, ToolRules};
use crate::json;
use crate::name::{Instance, Namespace, Naming, UpstreamId, is_legal};

/// An upstream under its config.
#[derive(Debug)]
pub(super) struct Up {
    /// The weir in front of it.
    instance: Option<Instance>,
    /// What it is stamped with.
    stale: Option<Stamp>,
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
            stale: self.stale,
            upstream: &self.id,
            namespace: &self.namespace,
            strip: self.strip.as_ref(),
            tools: &self.tools,
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
            slot,
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
        (route.upstream.as_str(), route.slot, &**route.original()),
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
        ("issue_delete", Because::Denied),
        ("admin", Because::NotAllowed),
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
    assert_eq!(hidden.excluded()[0].because, Because::SearchHidden);
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
    assert!(later.is_listed(Era::Legacy) && !later.is_listed(Era::Modern));
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
        (6, 4, 6)
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
    assert!(modern[2].starts_with(r#"{"name":"y_"#), "{modern:?}");
}

#[test]
fn a_uri_is_wrapped_only_where_another_upstream_lists_it_before() {
    let catalog = catalog(&[
        Up::new("a").resources(&["file:///x", "file:///a"]),
        Up::new("b").resources(&["file:///x", "file:///b", "ui://x/y"]),
        Up::new("c").bare().resources(&["ui://x/y", "file:///x"]),
    ]);
    assert_eq!(
        exposed(&catalog, Kind::Resources),
        [
            "file:///x",
            "file:///a",
            "b+file:///x",
            "file:///b",
            "ui://x/y",
            "ui://c+x/y",
            "c+file:///x"
        ]
    );
    let at = |uri: &str| {
        let route = catalog.resource(uri).unwrap();
        (
            route.upstream.to_string(),
            route.slot,
            route.uri.to_string(),
        )
    };
    assert_eq!(at("file:///x"), ("a".into(), 0, "file:///x".into()));
    assert_eq!(at("b+file:///x"), ("b".into(), 1, "file:///x".into()));
    assert_eq!(at("ui://c+x/y"), ("c".into(), 2, "ui://x/y".into()));
    assert_eq!(catalog.conflicts().len(), 3);
    assert_eq!(
        listed(&catalog, Kind::Resources, Era::Legacy)[2],
        r#"{"uri":"b+file:///x","name":"r"}"#
    );
    assert_eq!(catalog.resource("file:///nobody"), None);
}

#[test]
fn a_tool_follows_the_resource_it_is_shown_with() {
    let tool = r#"{"name":"show","inputSchema":{},"_meta":{"ui":{"resourceUri":"ui://app"}}}"#;
    let up = |id: &str| Up::new(id).raw(Kind::Tools, tool);
    let shown = |ups: &[Up]| {
        let catalog = catalog(ups);
        let tools = listed(&catalog, Kind::Tools, Era::Modern);
        let owner = |uri: &str| {
            let route = catalog.resource(uri)?;
            Some((route.upstream.to_string(), route.uri.to_string()))
        };
        (
            tools[1].contains(r#"{"name":"b__show""#)
                && tools[1].contains(r#""resourceUri":"ui://b+app""#),
            tools[0].contains(r#""resourceUri":"ui://app""#),
            owner("ui://app"),
            owner("ui://b+app"),
        )
    };
    let expected = (
        true,
        true,
        Some(("a".into(), "ui://app".into())),
        Some(("b".into(), "ui://app".into())),
    );
    let both_list = [
        up("a").resources(&["ui://app"]),
        up("b").resources(&["ui://app"]),
    ];
    assert_eq!(shown(&both_list), expected);
    assert_eq!(shown(&[up("a"), up("b")]), expected, "nobody lists it");
    assert_eq!(
        shown(&[up("a").resources(&["ui://app"]), up("b")]),
        expected
    );
}

#[test]
fn a_uri_nobody_lists_goes_by_template_then_to_the_only_upstream_with_resources() {
    let two = catalog(&[
        Up::new("a").templates(&["db://{table}/{id}", "file:///{path}"]),
        Up::new("b").templates(&["db://users/{id}", "file:///{path}", "{+loose}x"]),
        Up::new("c").tools(&["t"]),
    ]);
    let at = |catalog: &Catalog, uri: &str| {
        let route = catalog.resource(uri)?;
        Some((route.upstream.to_string(), route.uri.to_string()))
    };
    let to = |upstream: &str, uri: &str| Some((upstream.to_owned(), uri.to_owned()));
    assert_eq!(at(&two, "db://users/7"), to("b", "db://users/7"));
    assert_eq!(at(&two, "db://rows/7"), to("a", "db://rows/7"));
    assert_eq!(at(&two, "file:///etc/x.txt"), to("a", "file:///etc/x.txt"));
    assert_eq!(at(&two, "b+file:///etc"), to("b", "file:///etc"));
    assert_eq!(
        at(&two, "a+other:1"),
        to("a", "other:1"),
        "a wrap of an earlier catalog"
    );
    assert_eq!(at(&two, "c:nothing"), None);
    assert_eq!(exposed(&two, Kind::Templates)[3], "b+file:///{path}");
    assert_eq!(
        &**two.template("b+file:///{path}").unwrap().original(),
        "file:///{path}"
    );

    let sole = catalog(&[Up::new("a").tools(&["t"]), Up::new("b").resources(&["x:1"])]);
    assert_eq!(at(&sole, "x:2"), to("b", "x:2"));
    assert_eq!(at(&sole, "git+ssh://host"), to("b", "git+ssh://host"));
}

#[test]
fn labels_are_legal_schemes_and_each_upstream_has_its_own() {
    let numbered = |id: &str| {
        let mut up = Up::new(id).resources(&["x:1"]);
        up.namespace = Namespace::parse("9").unwrap();
        up
    };
    let catalog = catalog(&[numbered("a"), numbered("b"), numbered("c")]);
    let uris = exposed(&catalog, Kind::Resources);
    for (uri, upstream) in uris.iter().zip(["a", "b", "c"]) {
        let route = catalog.resource(uri).unwrap();
        assert_eq!((route.upstream.as_str(), &*route.uri), (upstream, "x:1"));
        // Another URI of the same upstream, not listed.
        if upstream != "a" {
            let sibling = uri.replace("x:1", "x:2");
            assert_eq!(
                catalog.resource(&sibling).unwrap().upstream.as_str(),
                upstream
            );
            assert!(uri.starts_with("ns-9-"), "{uri}");
        }
    }
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

/// Any JSON text, with what typed models lose.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        "-?[1-9][0-9]{0,30}",
        any::<String>().prop_map(|text| json::quote(&text)),
        "[a-z]{0,4}".prop_map(|text| format!("\"\\u00e9{text}\\/\"")),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{} : {value}", json::quote(key)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

/// Upstreams that get in each other's way: few names, few namespaces.
pub(super) fn any_ups() -> impl Strategy<Value = Vec<Up>> {
    let name = prop_oneof![
        4 => prop::sample::select(vec!["x", "y", "x y", "x/y", "a__x", "é"]).prop_map(str::to_owned),
        1 => ".{1,90}",
    ];
    let uri = prop::sample::select(vec!["u:1", "u:2", "ui://a", "a+u:1", "u0+u:1", "ns+u:1"]);
    let up = (
        prop::sample::select(vec!["", "a", "b", "9"]),
        prop::collection::vec(name.clone(), 0..6),
        prop::collection::vec(name, 0..3),
        prop::collection::vec(uri.clone(), 0..4),
        prop::option::of(uri),
        any::<bool>(),
    );
    prop::collection::vec(up, 0..6).prop_map(|ups| {
        let build = |(at, (namespace, tools, prompts, uris, ui, modern)): (usize, _)| {
            let (tools, prompts): (Vec<String>, Vec<String>) = (tools, prompts);
            let (uris, ui): (Vec<&str>, Option<&str>) = (uris, ui);
            let mut up = Up::new(&format!("u{at}")).resources(&uris).templates(&uris);
            up.namespace = Namespace::parse(namespace).unwrap();
            up.era = if modern { Era::Modern } else { Era::Legacy };
            for (n, name) in tools.iter().enumerate() {
                let task = ["optional", "required"][n % 2];
                let ui = ui.filter(|_| n % 2 == 0).map(|ui| format!(r#","_meta":{{"ui":{{"resourceUri":"{ui}"}}}}"#));
                up = up.raw(Kind::Tools, format!(
                    r#"{{"inputSchema":{{}},"name":{},"outputSchema":{},"execution":{{"taskSupport":"{task}"}}{}}}"#,
                    json::quote(name), ["{}", r#"{"type":"object"}"#][n % 2], ui.unwrap_or_default(),
                ));
            }
            for name in &prompts {
                up = up.raw(Kind::Prompts, format!(r#"{{"name":{}}}"#, json::quote(name)));
            }
            up
        };
        ups.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #[test]
    fn exposed_names_are_unique_legal_within_budget_and_lead_back(ups in any_ups()) {
        let parts = parts(&ups);
        let catalog = Catalog::merge(&Naming::default(), 3, &parts);
        for kind in Kind::ALL {
            let routes: Vec<_> = catalog.routes(kind).collect();
            let names: BTreeSet<_> = routes.iter().map(|route| route.exposed.clone()).collect();
            prop_assert_eq!(names.len(), routes.len());
            prop_assert_eq!(catalog.len(kind), routes.len());
            let mut expected = Vec::new();
            for (slot, up) in ups.iter().enumerate() {
                let mut seen = BTreeSet::new();
                for (_, raw) in up.definitions.iter().filter(|(of, _)| *of == kind) {
                    let key = json::Object::parse(raw).unwrap().string(kind.key()).unwrap().into_owned();
                    if seen.insert(key.clone()) {
                        expected.push((slot, key));
                    }
                }
            }
            let actual: Vec<_> = routes.iter().map(|route| (route.slot, route.original().to_string())).collect();
            prop_assert_eq!(actual, expected);
            for route in &routes {
                if matches!(kind, Kind::Tools | Kind::Prompts) {
                    prop_assert!(route.exposed.len() <= 64 && route.exposed.bytes().all(is_legal));
                }
                let found = catalog.route(kind, &route.exposed).unwrap();
                prop_assert_eq!((found.slot, found.original()), (route.slot, route.original()));
                prop_assert_eq!(&found.upstream, &ups[route.slot].id);
                if kind == Kind::Resources {
                    let read = catalog.resource(&route.exposed).unwrap();
                    prop_assert_eq!((read.slot, &read.uri), (route.slot, route.original()));
                }
            }
        }
    }

    #[test]
    fn a_merge_does_not_depend_on_who_answered_first(ups in any_ups(), order in any::<prop::sample::Index>()) {
        let first = parts(&ups);
        let mut prepared = BTreeMap::new();
        let start = if ups.is_empty() { 0 } else { order.index(ups.len()) };
        for at in (start..ups.len()).chain(0..start).rev() {
            prepared.insert(at, Arc::new(ups[at].prepare()));
        }
        let second: Vec<Part> = prepared.into_iter().map(|(slot, prepared)| Part {
            upstream: ups[slot].id.clone(), slot, prepared,
        }).collect();
        let (one, two) = (
            Catalog::merge(&Naming::default(), 3, &first),
            Catalog::merge(&Naming::default(), 3, &second),
        );
        prop_assert_eq!(one.digest(), two.digest());
        prop_assert_eq!(one.conflicts(), two.conflicts());
        for kind in Kind::ALL {
            prop_assert_eq!(one.digest_of(kind), two.digest_of(kind));
            for era in [Era::Legacy, Era::Modern] {
                prop_assert_eq!(listed(&one, kind, era), listed(&two, kind, era));
            }
        }
    }

    #[test]
    fn pages_hold_every_listed_definition_once_and_in_order(ups in any_ups(), size in 1_usize..5) {
        let catalog = Catalog::merge(&Naming::default(), size, &parts(&ups));
        for kind in Kind::ALL {
            for era in [Era::Legacy, Era::Modern] {
                let expected: Vec<_> = catalog.routes(kind).filter(|route| route.is_listed(era)).map(|route| route.exposed).collect();
                let mut shown = Vec::new();
                for text in listed(&catalog, kind, era) {
                    let object = json::Object::parse(&text).unwrap();
                    shown.push(Arc::<str>::from(&*object.string(kind.key()).unwrap()));
                }
                prop_assert_eq!(&shown, &expected);
                prop_assert!(catalog.page(kind, era, 0).is_some());
                let pages = expected.len().div_ceil(size).max(1);
                prop_assert!(catalog.page(kind, era, pages - 1).is_some_and(|page| page.next.is_none()));
                prop_assert!(catalog.page(kind, era, pages).is_none());
            }
        }
    }

    #[test]
    fn the_resource_a_tool_is_shown_with_is_its_upstreams(ups in any_ups()) {
        let catalog = Catalog::merge(&Naming::default(), 3, &parts(&ups));
        for text in listed(&catalog, Kind::Tools, Era::Legacy) {
            let tool = json::Object::parse(&text).unwrap();
            let route = catalog.tool(&tool.string("name").unwrap()).unwrap();
            let Some(meta) = tool.get("_meta") else { continue };
            let meta = json::Object::parse(meta).unwrap();
            let ui = json::Object::parse(meta.get("ui").unwrap()).unwrap();
            let read = catalog.resource(&ui.string("resourceUri").unwrap()).unwrap();
            prop_assert_eq!(read.slot, route.slot);
        }
    }

    #[test]
    fn a_tool_arrives_identical_but_for_its_name(
        before in prop::collection::btree_map("[a-z]{1,8}", any_json(), 0..5),
        after in prop::collection::btree_map("[A-Z]{1,8}", any_json(), 0..5),
        name in any::<String>().prop_filter("a name", |name| !name.is_empty()),
        modern: bool,
    ) {
        let member = |(key, value): (&String, &String)| format!("{}: {value}", json::quote(key));
        let reserved = ["name", "execution", "inputschema", "outputschema"];
        let raw = |name: &str| {
            let members: Vec<_> = before.iter().filter(|(key, _)| !reserved.contains(&key.as_str())).map(member)
                .chain([format!("\"name\" : {name}"), r#""inputSchema":{"x":[1e400 , 2]}"#.to_owned()])
                .chain(after.iter().map(member)).collect();
            format!("{{ {} }}", members.join(" ,"))
        };
        let mut up = Up::new("up").raw(Kind::Tools, raw(&json::quote(&name)));
        up.era = if modern { Era::Modern } else { Era::Legacy };
        let catalog = catalog(&[up]);
        let exposed = exposed(&catalog, Kind::Tools);
        prop_assert_eq!(exposed.len(), 1);
        for era in [Era::Legacy, Era::Modern] {
            prop_assert_eq!(listed(&catalog, Kind::Tools, era), [raw(&json::quote(&exposed[0]))]);
        }
        let route = catalog.tool(&exposed[0]).unwrap();
        prop_assert_eq!(&**route.original(), name.as_str());
    }

    #[test]
    fn any_text_is_checked_and_merged_without_panic(texts in prop::collection::vec(any_json(), 0..8), uri in ".{0,40}") {
        let mut up = Up::new("up").bare();
        for text in &texts {
            for kind in Kind::ALL {
                up = up.raw(kind, text.clone());
            }
        }
        let catalog = catalog(&[up]);
        let _ = catalog.resource(&uri);
        prop_assert!(catalog.is_empty() || !texts.is_empty());
    }
}

/// What a weir of this name shows of its own upstream and of the other weirs.
fn weir(name: &str, own: Up, others: &[(&str, &Catalog)]) -> Catalog {
    let mut ups = vec![own];
    for (other, catalog) in others {
        let mut up = Up::new(other);
        for kind in Kind::ALL {
            for raw in listed(catalog, kind, Era::Legacy) {
                up = up.raw(kind, raw);
            }
        }
        ups.push(up);
    }
    ups.iter_mut()
        .for_each(|up| up.instance = Instance::parse(name).ok());
    catalog(&ups)
}

/// Every weir lists the next one, the last one the first, until nothing changes any more.
fn ring(size: usize) -> Vec<Catalog> {
    let name = |at: usize| format!("w{}", at % size);
    let own = |at: usize| {
        let (tool, uri) = (format!("t{at}"), format!("file:///{at}"));
        Up::new("up").tools(&[&tool]).resources(&[&uri])
    };
    let mut ring: Vec<Catalog> = (0..size).map(|at| weir(&name(at), own(at), &[])).collect();
    for _ in 0..=size {
        let before: Vec<_> = ring.iter().map(Catalog::digest).collect();
        for at in 0..size {
            let next = &ring[(at + 1) % size];
            ring[at] = weir(&name(at), own(at), &[(&name(at + 1), next)]);
        }
        if before == ring.iter().map(Catalog::digest).collect::<Vec<_>>() {
            return ring;
        }
    }
    panic!("{size} weirs in a ring never come to rest");
}

#[test]
fn weirs_that_list_each_other_come_to_rest_with_everything_once() {
    let pair = ring(2);
    assert_eq!(exposed(&pair[0], Kind::Tools), ["up__t0", "w1__up__t1"]);
    assert_eq!(exposed(&pair[1], Kind::Tools), ["up__t1", "w0__up__t0"]);
    for size in [2, 3, 8] {
        for (at, catalog) in ring(size).iter().enumerate() {
            for kind in [Kind::Tools, Kind::Resources] {
                assert_eq!(catalog.len(kind), size, "weir {at} of {size}: {kind}");
            }
        }
    }
    // Nine in a ring: what is nine weirs away is out of reach.
    for catalog in ring(9) {
        assert_eq!(catalog.len(Kind::Tools), 8);
    }
}

#[test]
fn each_weir_puts_itself_before_the_origin_of_a_definition() {
    let far = weir("b", Up::new("up").tools(&["t"]), &[]);
    let near = weir("a", Up::new("up").tools(&["t"]), &[("b", &far)]);
    let expected = [
        r#"{"name":"up__t","inputSchema":{},"_meta":{"weir/origin":["a"]}}"#,
        r#"{"name":"b__up__t","inputSchema":{},"_meta":{"weir/origin":["a","b"]}}"#,
    ];
    assert_eq!(listed(&near, Kind::Tools, Era::Modern), expected);
}
