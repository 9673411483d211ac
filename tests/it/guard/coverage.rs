//! The table of where messages carry text, compared with the JSON schemas of all revisions: a member that a
//! revision has and the table does not know fails the test.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use weir::guard::coverage::{ANSWER, ASKED, ERROR, RESULT, Shape, notification, params};

const REVISIONS: [(&str, &str); 4] = [
    ("2025-03-26", include_str!("schemas/2025-03-26.json")),
    ("2025-06-18", include_str!("schemas/2025-06-18.json")),
    ("2025-11-25", include_str!("schemas/2025-11-25.json")),
    ("2026-07-28", include_str!("schemas/2026-07-28.json")),
];

/// Requests that weir answers itself.
const OWN_REQUESTS: [&str; 8] = [
    "InitializeRequest",
    "PingRequest",
    "DiscoverRequest",
    "SubscriptionsListenRequest",
    "ListResourcesRequest",
    "ListResourceTemplatesRequest",
    "ListPromptsRequest",
    "ListToolsRequest",
];

/// Results of requests that weir sends for itself: definitions that operators accept.
const OWN_RESULTS: [&str; 7] = [
    "InitializeResult",
    "DiscoverResult",
    "SubscriptionsListenResult",
    "ListResourcesResult",
    "ListResourceTemplatesResult",
    "ListPromptsResult",
    "ListToolsResult",
];

struct Schema {
    revision: &'static str,
    definitions: Map<String, Value>,
    seen: BTreeSet<(String, usize)>,
    missing: BTreeSet<String>,
}

impl Schema {
    /// The definitions of a union; none if the revision has none of that name.
    fn union(&self, name: &str) -> Vec<String> {
        let members = self
            .definitions
            .get(name)
            .and_then(|union| union["anyOf"].as_array());
        let members = members.into_iter().flatten();
        let names = members.map(|member| member["$ref"].as_str().unwrap());
        names
            .map(|name| name.rsplit('/').next().unwrap().to_owned())
            .collect()
    }

    fn walk_named(&mut self, name: &str, shape: &'static Shape) {
        let place = std::ptr::from_ref(shape).addr();
        if self.seen.insert((name.to_owned(), place)) {
            let definition = self.definitions[name].clone();
            self.walk(&definition, shape, name);
        }
    }

    /// Compares the members of a schema with those of a shape.
    fn walk(&mut self, schema: &Value, shape: &'static Shape, path: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            return self.walk_named(name.rsplit('/').next().unwrap(), shape);
        }
        for union in ["anyOf", "allOf", "oneOf"] {
            for one in schema[union].as_array().into_iter().flatten() {
                self.walk(one, shape, path);
            }
        }
        if schema["items"].is_object() {
            self.walk(&schema["items"], shape.item(), path);
        }
        match shape {
            // All of it is text.
            Shape::Text | Shape::Fields | Shape::AnyForm(_) => {}
            Shape::Structure | Shape::Blob => {
                if schema["properties"]
                    .as_object()
                    .is_some_and(|members| !members.is_empty())
                {
                    let revision = self.revision;
                    self.missing
                        .insert(format!("{revision} {path} is an object"));
                }
            }
            Shape::ById(inner) => self.walk(&schema["additionalProperties"], inner, path),
            Shape::Object(known) => {
                for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                    let path = format!("{path}.{name}");
                    if known.iter().any(|(known, _)| known == name) {
                        self.walk(member, shape.member(name), &path);
                    } else {
                        self.missing.insert(format!("{} {path}", self.revision));
                    }
                }
            }
        }
    }

    /// The method and the params of a request or notification.
    fn message(&self, name: &str) -> (String, Value) {
        let members = &self.definitions[name]["properties"];
        let method = members["method"]["const"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} has no method"));
        (method.to_owned(), members["params"].clone())
    }
}

#[test]
fn every_member_of_every_revision_is_text_or_structure() {
    let mut missing = BTreeSet::new();
    for (revision, text) in REVISIONS {
        let definitions: Map<String, Value> = serde_json::from_str(text).unwrap();
        let mut schema = Schema {
            revision,
            definitions,
            seen: BTreeSet::new(),
            missing: BTreeSet::new(),
        };
        for name in schema.union("ClientRequest") {
            if !OWN_REQUESTS.contains(&&*name) {
                let (method, inside) = schema.message(&name);
                schema.walk(&inside, params(&method), &name);
            }
        }
        for name in schema.union("ServerResult") {
            if !OWN_RESULTS.contains(&&*name) {
                schema.walk_named(&name, &RESULT);
            }
        }
        for name in schema.union("ServerNotification") {
            let (method, inside) = schema.message(&name);
            schema.walk(&inside, notification(&method), &name);
        }
        let asked = [schema.union("ServerRequest"), schema.union("InputRequest")].concat();
        for name in asked {
            let (_, inside) = schema.message(&name);
            schema.walk(&inside, &ASKED, &name);
        }
        let answers = [schema.union("ClientResult"), schema.union("InputResponse")].concat();
        for name in answers {
            schema.walk_named(&name, &ANSWER);
        }
        let (method, inside) = schema.message("ProgressNotification");
        schema.walk(&inside, notification(&method), "ProgressNotification");
        if schema.definitions.contains_key("Error") {
            schema.walk_named("Error", &ERROR);
        }
        assert!(schema.seen.len() > 15, "{revision}: {:?}", schema.seen);
        missing.extend(schema.missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
