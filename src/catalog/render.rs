//! Renders definitions for callers: another name, the changes of the operator, without what an era
//! does not know.
//!
//! Where only a value changes, it is replaced in the text and every other byte stays.

use crate::catalog::Kind;
use crate::catalog::edit::{edited, span};
use crate::catalog::inline::RenderedSchema;
use crate::catalog::listing::{self, Definition};
use crate::config::ToolOverride;
use crate::json::{self, Object};
use crate::name::Instance;
use crate::protocol::era::Era;

/// The definition as callers of one era see it under a name and at a weir, if that is a hop of
/// chains; `None` if that era cannot use it. `schemas` stand in place of its own.
pub(crate) fn definition(
    definition: &Definition,
    exposed: &str,
    own: Option<&Instance>,
    change: Option<&ToolOverride>,
    schemas: &[RenderedSchema],
    upstream: Era,
    caller: Era,
) -> Option<String> {
    let facts = &definition.facts;
    let key = (facts.key_at.clone(), json::quote(exposed));
    let raw = definition.raw();
    let renamed = edited(raw, [Some(key), own.map(|own| facts.origin.with(raw, own))]);
    let to_modern = (upstream, caller) == (Era::Legacy, Era::Modern);
    let to_legacy = (upstream, caller) == (Era::Modern, Era::Legacy);
    let drop_execution = to_modern && facts.execution;
    let drop_output = to_legacy && facts.free_output;
    let changed = change.is_some_and(|change| {
        change.description.is_some() || !change.annotations.is_empty() || hides(change)
    });
    if !drop_execution && !drop_output && !changed && schemas.is_empty() {
        return Some(renamed);
    }
    let mut object = Object::parse(&renamed).ok()?;
    for (member, schema) in schemas {
        object.set(member, schema.as_str());
    }
    if drop_execution {
        object.remove("execution");
    }
    if drop_output {
        object.remove("outputSchema");
    }
    if let Some(change) = change {
        if let Some(description) = &change.description {
            object.set("description", json::quote(description));
        }
        if !change.annotations.is_empty() {
            let annotations = annotate(object.get("annotations"), change);
            object.set("annotations", annotations);
        }
        if hides(change)
            && let Some(schema) = object.get("inputSchema").and_then(|s| without(s, change))
        {
            object.set("inputSchema", schema);
        }
    }
    Some(object.to_text())
}

/// Returns the annotations of a tool with those of the config in place of its own.
pub(crate) fn annotate(annotations: Option<&str>, change: &ToolOverride) -> String {
    let own = annotations.and_then(|text| Object::parse(text).ok());
    let mut all = own.unwrap_or_default();
    for (key, value) in &change.annotations {
        all.set(key, value.get().to_owned());
    }
    all.to_text()
}

fn hides(change: &ToolOverride) -> bool {
    !change.hide_args.is_empty() || !change.set_args.is_empty()
}

/// The names of the arguments that callers do not see.
pub(crate) fn hidden(change: &ToolOverride) -> impl Iterator<Item = &str> {
    let set = change.set_args.keys();
    change.hide_args.iter().chain(set).map(String::as_str)
}

/// The input schema without the hidden arguments; `None` if it stays as it is.
fn without(schema: &str, change: &ToolOverride) -> Option<String> {
    let is_hidden = |name: &str| hidden(change).any(|hidden| hidden == name);
    let mut schema = Object::parse(schema).ok()?;
    let properties = schema.get("properties").and_then(|text| {
        let mut properties = Object::parse(text).ok()?;
        properties.retain(|name| !is_hidden(name));
        Some(properties.to_text())
    });
    let required = schema.get("required").and_then(|text| {
        let mut names = json::array(text).ok()?;
        names.retain(|name| !json::string(name).is_some_and(|name| is_hidden(&name)));
        Some(names.join(","))
    });
    if let Some(properties) = properties {
        schema.set("properties", properties);
    }
    match required {
        // Older JSON Schema does not allow an empty `required`.
        Some(names) if names.is_empty() => {
            schema.remove("required");
        }
        Some(names) => schema.set("required", format!("[{names}]")),
        None => {}
    }
    Some(schema.to_text())
}

/// A rendered definition under another key (name or URI) and with another `_meta.ui.resourceUri`.
pub(crate) fn rerender(
    kind: Kind,
    rendered: &str,
    key: Option<&str>,
    ui: Option<&str>,
) -> Option<String> {
    let object = Object::parse(rendered).ok()?;
    let key = key.and_then(|key| {
        let at = span(rendered, object.borrowed(kind.key())?);
        Some((at, json::quote(key)))
    });
    let moved = ui.and_then(|uri| Some((listing::ui(rendered, &object)?.at, json::quote(uri))));
    let [nested, flat] = match moved {
        Some((at, uri)) => at.map(|at| at.map(|at| (at, uri.clone()))),
        None => [None, None],
    };
    Some(edited(rendered, [key, nested, flat]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use serde_json::value::RawValue;

    fn tool(raw: &str) -> Definition {
        listing::check_definition(Kind::Tools, raw).unwrap()
    }

    #[test]
    fn another_name_changes_nothing_else() {
        let raw = r#"{ "x" : 1e400,"name" :"\u0061", "inputSchema":{ }, "execution":{"taskSupport":"required"},"outputSchema":true }"#;
        let tool = tool(raw);
        for era in [Era::Legacy, Era::Modern] {
            assert_eq!(
                definition(&tool, "n\"s__a", None, None, &[], era, era).unwrap(),
                raw.replace(r#""\u0061""#, r#""n\"s__a""#)
            );
        }
    }

    #[test]
    fn an_era_does_not_see_what_it_cannot_use() {
        let both = |raw: &str, upstream| {
            let tool = tool(raw);
            let caller = if upstream == Era::Legacy {
                Era::Modern
            } else {
                Era::Legacy
            };
            definition(&tool, "a", None, None, &[], upstream, caller)
        };
        let optional = r#"{"name":"a","execution":{"taskSupport":"optional"},"inputSchema":{}}"#;
        assert_eq!(
            both(optional, Era::Legacy).unwrap(),
            r#"{"name":"a","inputSchema":{}}"#
        );
        let required = optional.replace("optional", "required");
        assert_eq!(
            both(&required, Era::Legacy).unwrap(),
            r#"{"name":"a","inputSchema":{}}"#
        );
        assert_eq!(both(&required, Era::Modern).unwrap(), required);
        for free in [
            r#"{"type":"array"}"#,
            "{}",
            "true",
            r#"{"type":["object"]}"#,
        ] {
            let raw = format!(r#"{{"name":"a","inputSchema":{{}},"outputSchema":{free}}}"#);
            assert_eq!(
                both(&raw, Era::Modern).unwrap(),
                r#"{"name":"a","inputSchema":{}}"#
            );
            assert_eq!(both(&raw, Era::Legacy).unwrap(), raw);
        }
        let object = r#"{"name":"a","inputSchema":{},"outputSchema":{"type":"object"}}"#;
        assert_eq!(both(object, Era::Modern).unwrap(), object);
    }

    #[test]
    fn hidden_arguments_leave_the_schema_and_nothing_else_does() {
        let change = ToolOverride {
            description: Some("new \"text\"".into()),
            hide_args: vec!["b".into()],
            set_args: IndexMap::from([(
                "c".to_owned(),
                RawValue::from_string("1".into()).unwrap(),
            )]),
            ..ToolOverride::default()
        };
        let raw = r#"{"name":"a","description":"old","inputSchema":{"$x":1e400,"properties":{"a":{ "n":1 },"b":{},"\u0063":{}},"required":["b", "a" ],"z":0},"y":1}"#;
        assert_eq!(
            definition(
                &tool(raw),
                "n",
                None,
                Some(&change),
                &[],
                Era::Legacy,
                Era::Legacy
            )
            .unwrap(),
            r#"{"name":"n","description":"new \"text\"","inputSchema":{"$x":1e400,"properties":{"a":{ "n":1 }},"required":["a"],"z":0},"y":1}"#
        );
        let all = r#"{"name":"a","inputSchema":{"properties":{"b":{}},"required":["b"]}}"#;
        assert_eq!(
            definition(
                &tool(all),
                "n",
                None,
                Some(&change),
                &[],
                Era::Legacy,
                Era::Legacy
            )
            .unwrap(),
            r#"{"name":"n","inputSchema":{"properties":{}},"description":"new \"text\""}"#
        );
        let bare = r#"{"name":"a","inputSchema":{}}"#;
        let hide_only = ToolOverride {
            hide_args: vec!["b".into()],
            ..ToolOverride::default()
        };
        assert_eq!(
            definition(
                &tool(bare),
                "a",
                None,
                Some(&hide_only),
                &[],
                Era::Legacy,
                Era::Legacy
            )
            .unwrap(),
            bare
        );
    }

    #[test]
    fn rendering_again_replaces_two_values_wherever_they_stand() {
        let raw = r#"{"_meta":{"ui": {"resourceUri": "ui://x"},"k":1},"name":"a", "n":2}"#;
        assert_eq!(
            rerender(Kind::Tools, raw, Some("longer"), Some("ui://b+x")).unwrap(),
            r#"{"_meta":{"ui": {"resourceUri": "ui://b+x"},"k":1},"name":"longer", "n":2}"#
        );
        assert_eq!(
            rerender(
                Kind::Resources,
                r#"{"name":"n","uri":"f:1"}"#,
                Some("b+f:1"),
                None
            )
            .unwrap(),
            r#"{"name":"n","uri":"b+f:1"}"#
        );
    }
}
