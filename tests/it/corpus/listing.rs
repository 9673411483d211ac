//! Definitions of a hostile upstream: checked, joined into a catalog, called with arguments.
//!
//! The last line of a file is the arguments, what is before it a definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde_json::Value;
use weir::catalog::listing::{self, DEFINITION_BYTES};
use weir::catalog::{
    Catalog, Definition, InvalidReason, Kind, Listing, Part, PerKind, Prepared, Rules,
};
use weir::config::{Instructions, ToolOverride, ToolRules, ValidateSettings};
use weir::json::{self, Object};
use weir::name::{Namespace, Naming, UpstreamId, UpstreamIndex};
use weir::protocol::era::Era;
use weir::protocol::headers::{self, HeaderError, HeaderParam};

/// Lists any text as a definition of each kind.
pub fn check(data: &[u8]) {
    header(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (raw, arguments) = text.rsplit_once('\n').unwrap_or((text, ""));
    let arguments = Some(arguments).filter(|text| is_json(text)).map(str::trim);
    let mut any = false;
    for kind in Kind::ALL {
        match listing::check_definition(kind, raw) {
            Ok(definition) => {
                any = true;
                accepted(kind, raw, &definition);
                mirrored(definition.header_params(), arguments);
            }
            Err(defect) => {
                assert!(defect.to_string().len() < 1000);
                assert!(
                    defect.reason != InvalidReason::Syntax || !is_json(raw) || raw.contains("\\u")
                );
            }
        }
    }
    if any {
        joined(raw, arguments);
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Any header value is decoded or refused; any text is encoded so that it is decoded again.
fn header(data: &[u8]) {
    let name = HeaderName::from_static("mcp-name");
    if let Ok(value) = HeaderValue::from_bytes(data)
        && let Ok(text) = headers::decode(&name, &value)
    {
        let again = headers::encode(&text);
        assert_eq!(headers::decode(&name, &again), Ok(text));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let value = headers::encode(text);
        assert_eq!(headers::decode(&name, &value).as_deref(), Ok(text));
    }
}

fn accepted(kind: Kind, raw: &str, definition: &Definition) {
    let kept = definition.raw();
    assert!(kept.len() <= DEFINITION_BYTES && !kept.contains(['\n', '\r']));
    assert_eq!(kept, raw.trim().replace(['\n', '\r'], " "));
    let object = Object::parse(kept).unwrap();
    assert_eq!(
        object.string(kind.key()).as_deref(),
        Some(&**definition.key())
    );
    // In a list answer, which is an item of a batch at worst, a common parser reads it.
    let answer = format!(r#"[{{"result":{{"tools":[{kept}]}}}}]"#);
    if let Err(error) = serde_json::from_str::<Value>(&answer) {
        assert!(!error.to_string().contains("recursion"), "{error}");
    }
    let names = definition.header_params().iter().map(|param| &param.header);
    let unique: BTreeSet<_> = names.clone().map(HeaderName::as_str).collect();
    assert_eq!(unique.len(), names.count());
}

/// The headers that weir writes for arguments are the ones it asks for.
fn mirrored(params: &[HeaderParam], arguments: Option<&str>) {
    let mut map = HeaderMap::new();
    match headers::write_params(&mut map, params, arguments) {
        Ok(()) => {}
        Err(HeaderError::Arguments(_)) => return,
        Err(error) => panic!("{error}"),
    }
    assert!(map.len() <= params.len());
    match headers::check_params(&map, params, arguments) {
        Ok(()) => {}
        // An object or array where the schema has a scalar: no text stands for it.
        Err(HeaderError::Missing(_)) => {
            let value: Value = serde_json::from_str(arguments.unwrap()).unwrap_or_default();
            let composite = |param: &HeaderParam| {
                let steps = &mut param.path.iter();
                let found = steps.try_fold(&value, |value, step| value.get(&**step));
                found.is_none_or(|value| value.is_object() || value.is_array())
            };
            assert!(params.iter().any(composite));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two upstreams list the same, each in its own era; callers of both eras read it.
fn joined(raw: &str, arguments: Option<&str>) {
    let parts: Vec<Part> = [("a", Era::Legacy), ("b", Era::Modern)]
        .into_iter()
        .zip(0..)
        .map(|((id, era), slot)| part(id, era, slot, raw))
        .collect();
    let catalog = Catalog::merge(&Naming::default(), 1, &parts);
    for kind in Kind::ALL {
        assert!(catalog.len(kind) <= 2);
        for route in catalog.routes(kind) {
            assert_eq!(
                catalog.route(kind, &route.exposed).unwrap().upstream_index,
                route.upstream_index
            );
            let original = json::string(route.original_json()).unwrap();
            assert_eq!(original, **route.original());
            if let Some(rules) = route.argument_rules()
                && let Ok(Some(sent)) = rules.apply(arguments)
            {
                assert!(!Object::parse(&sent).unwrap().contains("hidden"));
            }
        }
        for era in [Era::Legacy, Era::Modern] {
            listed(&catalog, kind, era, raw);
        }
    }
    let _ = catalog.resource(raw);
}

fn part(id: &str, era: Era, slot: usize, raw: &str) -> Part {
    let mut listing = Listing::of(era);
    for kind in Kind::ALL {
        listing.add(kind, raw);
        listing.add(kind, raw);
        assert_eq!(listing.count(kind), 2);
    }
    let listing = listing.finish();
    let mut tools = ToolRules::default();
    if era == Era::Modern {
        for tool in listing.definitions(Kind::Tools) {
            let change = ToolOverride {
                hide_args: vec!["hidden".to_owned()],
                ..ToolOverride::default()
            };
            tools.overrides.insert(tool.key().to_string(), change);
        }
    }
    let upstream = UpstreamId::parse(id).unwrap();
    let rules = Rules {
        instructions: &Instructions::Served,
        instance: None,
        stale: PerKind::default(),
        upstream: &upstream,
        namespace: &Namespace::default(),
        strip: None,
        tools: &tools,
        validate: &ValidateSettings::default(),
        inline_schemas: false,
        search: weir::config::Search::default(),
    };
    let prepared = Prepared::new(rules, &Naming::default(), &listing);
    Part {
        upstream_index: UpstreamIndex::new(slot),
        prepared: Arc::new(prepared),
        upstream,
    }
}

/// Checks what a caller reads: JSON on one line, under the names that lead back, and else as
/// listed.
fn listed(catalog: &Catalog, kind: Kind, era: Era, raw: &str) {
    let mut page = Some(0);
    while let Some(index) = page {
        let Some(content) = catalog.page(kind, era, index) else {
            break;
        };
        let mut out = vec![b'['];
        content.write(&mut out);
        out.push(b']');
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains(['\n', '\r']));
        let items = json::array(&text).unwrap();
        assert_eq!(items.len(), content.items);
        for item in items {
            let item = Object::parse(item).unwrap();
            let exposed = item.string(kind.key()).unwrap();
            let route = catalog.route(kind, &exposed).unwrap();
            assert!(route.is_listed(era));
            unchanged(kind, raw, &item);
        }
        page = content.next;
    }
}

/// All but what weir says it changes keeps its bytes.
fn unchanged(kind: Kind, raw: &str, shown: &Object<'_>) {
    let raw = raw.trim().replace(['\n', '\r'], " ");
    let original = Object::parse(&raw).unwrap();
    let changes = |key: &str| {
        let of_tools = ["execution", "outputSchema", "inputSchema", "_meta"];
        key == kind.key() || kind == Kind::Tools && of_tools.contains(&key)
    };
    for (key, value) in original.iter().filter(|(key, _)| !changes(key)) {
        assert_eq!(shown.get(key), Some(value));
    }
    assert!(shown.iter().all(|(key, _)| original.contains(key)));
    if kind == Kind::Tools {
        assert!(json::is_object(shown.get("inputSchema").unwrap()));
    }
}
