//! The reference of settings, from the JSON Schema of the config.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

use super::GENERATED;

/// The whole page: the keys at the top of a config, then each definition of the schema in the order in which they are met.
pub fn page() -> String {
    let schema = weir::config::schema();
    let definitions = schema["definitions"].as_object().unwrap();
    let mut page = format!(
        "{GENERATED}\n# Settings\n\nEvery key of a config. [Write a config](../configuration.md) is the way in; \
         `weir schema` prints the same as a JSON Schema.\n\n## The file\n\n"
    );
    object(&schema, &mut page);
    for name in reachable(&schema, definitions) {
        let places: Vec<_> = places(&name, &schema, definitions);
        page.push_str(&format!("\n## {name}\n\n"));
        definition(&definitions[&name], &places, &mut page);
    }
    page
}

/// Returns the keys whose values a definition describes, such as `upstreams.NAME.tls`.
fn places(wanted: &str, schema: &Value, definitions: &Map<String, Value>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), schema)];
    while let Some((prefix, schema)) = open.pop() {
        let objects = alternatives(schema).iter().chain([schema]);
        for (key, of) in objects.flat_map(properties) {
            // The same as `upstreams`.
            if key == "mcpServers" {
                continue;
            }
            let is_mapping = of["additionalProperties"].is_object();
            let path = format!("{prefix}{key}{}", if is_mapping { ".NAME" } else { "" });
            for name in references(of) {
                open.push((format!("{path}."), &definitions[&name]));
                if name == wanted {
                    found.insert(path.clone());
                }
            }
        }
    }
    found.into_iter().collect()
}

/// Returns every key outside of upstreams whose default is documented, with that default:
/// `defaults.timeouts.call`, `120s`.
pub fn defaults() -> Vec<(String, String)> {
    let schema = weir::config::schema();
    let definitions = schema["definitions"].as_object().unwrap();
    let mut found = Vec::new();
    let mut open = vec![(String::new(), &schema)];
    while let Some((prefix, schema)) = open.pop() {
        let objects = alternatives(schema).iter().chain([schema]);
        for (key, of) in objects.flat_map(properties) {
            if of["additionalProperties"].is_object() {
                continue;
            }
            let path = format!("{prefix}{key}");
            let text = description(of).unwrap_or_default();
            let default = default(&text);
            if !default.is_empty() {
                found.push((path.clone(), default.trim_matches('`').to_owned()));
            }
            // An item of a list is more than the setting that has the default.
            if of["items"].is_object() {
                continue;
            }
            let next = references(of).into_iter();
            open.extend(next.map(|name| (format!("{path}."), &definitions[&name])));
        }
    }
    found
}

/// Returns the names of the definitions in the order in which a reader meets them.
fn reachable(schema: &Value, definitions: &Map<String, Value>) -> Vec<String> {
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    let mut root = schema.clone();
    root.as_object_mut().unwrap().remove("definitions");
    let mut next = references(&root);
    while !next.is_empty() {
        let name = next.remove(0);
        if seen.insert(name.clone()) {
            next.splice(0..0, references(&definitions[&name]));
            order.push(name);
        }
    }
    order
}

/// Returns the definitions that a schema refers to, in order.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.map(|target| target.trim_start_matches("#/definitions/").to_owned());
            own.into_iter()
                .chain(members.values().flat_map(references))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Returns the keys of an object, or of the alternatives of a definition.
pub fn keys(schema: &Value) -> Vec<&str> {
    let alternatives = alternatives(schema).iter();
    let objects = alternatives.chain([schema]);
    objects
        .flat_map(|object| properties(object))
        .map(|(key, _)| key)
        .collect()
}

/// Returns the keys of an object with their schemas.
fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let members = schema["properties"].as_object().into_iter().flatten();
    members.map(|(key, of)| (key.as_str(), of)).collect()
}

fn alternatives(schema: &Value) -> &[Value] {
    let list = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Most places that are worth naming.
const PLACES: usize = 4;

/// Writes a definition: where it occurs, its description, then its keys or what it may be.
fn definition(schema: &Value, places: &[String], page: &mut String) {
    if (1..=PLACES).contains(&places.len()) {
        let places: Vec<_> = places.iter().map(|place| format!("`{place}`")).collect();
        page.push_str(&format!("Written at {}.\n\n", places.join(", ")));
    }
    if let Some(text) = description(schema) {
        page.push_str(&format!("{text}\n"));
    }
    if !properties(schema).is_empty() {
        page.push('\n');
        return object(schema, page);
    }
    let alternatives = alternatives(schema);
    if alternatives.is_empty() {
        return;
    }
    if alternatives
        .iter()
        .any(|one| !one["properties"]["type"].is_null())
    {
        return alternatives.iter().for_each(|one| tagged(one, page));
    }
    if alternatives.iter().all(|one| description(one).is_none()) {
        let values: Vec<_> = alternatives.iter().map(value).collect();
        return page.push_str(&format!("\nOne of: {}.\n", values.join(", ")));
    }
    page.push_str("\n| value | meaning |\n|---|---|\n");
    for one in alternatives {
        let text = description(one).unwrap_or_default();
        page.push_str(&format!("| {} | {text} |\n", value(one)));
    }
}

/// Writes one of several objects that a `type` tells apart.
fn tagged(schema: &Value, page: &mut String) {
    let name = schema["properties"]["type"]["const"].as_str().unwrap();
    let text = description(schema).unwrap_or_default();
    page.push_str(&format!("\n### `type: {name}`\n\n{text}\n"));
    if properties(schema).len() > 1 {
        page.push('\n');
        object(schema, page);
    }
}

/// Writes the table of an object's keys.
fn object(schema: &Value, page: &mut String) {
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, of) in properties(schema) {
        // The heading says it.
        if key == "type" && !of["const"].is_null() {
            continue;
        }
        let required = schema["required"].as_array();
        let required = required.is_some_and(|keys| keys.iter().any(|name| name == key));
        let text = description(of).unwrap_or_default();
        let default = if required {
            "required".to_owned()
        } else {
            default(&text)
        };
        page.push_str(&format!(
            "| `{key}` | {} | {default} | {text} |\n",
            kind(of)
        ));
    }
}

fn description(schema: &Value) -> Option<String> {
    let text = schema["description"].as_str()?;
    Some(text.replace('\n', " ").replace('|', "\\|"))
}

/// Returns the default that a description names, if it is a value: "by default 3s", "Default: `x`".
/// It has to end a sentence or a part of one. "By default `a` with a secret, `b` with a key" is not
/// one default.
fn default(description: &str) -> String {
    let value = Regex::new(
        r"(?i)\bdefaults?(?: to| is|:)? (?:every )?(`[^`]+`|[0-9/][^\s,;)]*?)(?:[.,;:)]+(?:\s|$)|$)",
    );
    let found = value.unwrap().captures(description);
    found.map_or_else(String::new, |found| {
        format!("`{}`", found[1].trim_matches('`'))
    })
}

/// Returns the type of a key's value.
fn kind(schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        let text = value.as_str().map(str::to_owned);
        return format!("`{}`", text.unwrap_or_else(|| value.to_string()));
    }
    let types = schema["type"].as_array();
    let types = types.map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    let types = types.iter().filter_map(Value::as_str);
    let types: Vec<_> = types.filter(|name| *name != "null").map(word).collect();
    if let [name, ..] = references(schema).as_slice() {
        let link = format!("[{name}](#{})", name.to_lowercase());
        return match types.as_slice() {
            [word] => format!("{word} of {link}"),
            _ => link,
        };
    }
    match types.as_slice() {
        ["list"] => format!("list of {}", kind(&schema["items"])),
        types => types.join(" or "),
    }
}

/// Returns a JSON type as people who write YAML call it.
fn word(name: &str) -> &str {
    match name {
        "string" => "text",
        "object" => "mapping",
        "array" => "list",
        "boolean" => "`true` or `false`",
        other => other,
    }
}

/// Returns one of the values that a definition allows.
fn value(schema: &Value) -> String {
    if let Some((key, of)) = properties(schema).into_iter().next() {
        return match references(of).first() {
            Some(name) => format!("`{{ {key}: … }}`, [{name}](#{})", name.to_lowercase()),
            None => format!("`{{ {key}: … }}`"),
        };
    }
    kind(schema)
}
