//! Laws that hold of any listings.

use super::*;

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
pub(in crate::catalog) fn any_ups() -> impl Strategy<Value = Vec<Up>> {
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
            let actual: Vec<_> = routes.iter().map(|route| (route.upstream_index.get(), route.original().to_string())).collect();
            prop_assert_eq!(actual, expected);
            for route in &routes {
                if matches!(kind, Kind::Tools | Kind::Prompts) {
                    prop_assert!(route.exposed.len() <= 64 && route.exposed.bytes().all(is_legal));
                }
                let found = catalog.route(kind, &route.exposed).unwrap();
                prop_assert_eq!((found.upstream_index.get(), found.original()), (route.upstream_index.get(), route.original()));
                prop_assert_eq!(&found.upstream, &ups[route.upstream_index.get()].id);
                if kind == Kind::Resources {
                    let read = catalog.resource(&route.exposed).unwrap();
                    prop_assert_eq!((read.upstream_index.get(), &read.uri), (route.upstream_index.get(), route.original()));
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
            upstream: ups[slot].id.clone(), upstream_index: UpstreamIndex::new(slot), prepared,
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
            prop_assert_eq!(read.upstream_index.get(), route.upstream_index.get());
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
