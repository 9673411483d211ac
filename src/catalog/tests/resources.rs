//! Resources: whose a URI is, and what becomes of it where two want it.

use super::*;

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
            route.upstream_index.get(),
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
    assert_eq!(at(&two, "db://users/7"), to("a", "db://users/7"));
    assert_eq!(at(&two, "loose:x"), to("b", "loose:x"));
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
