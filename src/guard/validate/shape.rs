//! The shape of a schema: what it can cost to apply, found before anything is compiled.
//!
//! Schemas come from upstreams, which may be hostile or careless. A schema is a graph: each
//! subschema applies to the same value as the one around it (`allOf`, `$ref`, …) or to a part of it
//! (`properties`, `items`, …). Without bounds, references that fan out make 2^n applications of n
//! definitions, references in a circle on the same value never end, and a chain of them needs as
//! much stack as it is long.

use std::collections::HashMap;

use serde_json::Value;

use crate::printable;

/// Most subschemas that are reached.
const NODES: usize = 20_000;
/// Most applications of subschemas, each counted as often as it is reached.
const WEIGHT: u64 = 50_000;
/// Most subschemas inside each other, where each reference goes on inside the schema it names.
const NESTED: usize = 1_000;
/// Most patterns.
const PATTERNS: usize = 500;
/// Most characters of a reference in a message.
const REFERENCE: usize = 100;

/// The cost of applying a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchemaShape {
    /// Applications of subschemas to one value and its parts, each part counted once.
    pub(super) weight: u64,
    /// Most subschemas that apply to one value inside each other.
    pub(super) height: usize,
    /// How many references lead back to a schema around them.
    pub(super) returns: u32,
    /// Regular expressions.
    pub(super) patterns: usize,
}

/// Why a schema is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncheckable {
    /// It is no JSON object.
    #[error("it is not a JSON object")]
    NotObject,
    /// It has more bytes than are looked at.
    #[error("it has {bytes} bytes, more than {most}")]
    Large {
        /// How many.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// A reference to something that is not in it. Nothing is fetched.
    #[error("it refers to `{0}`, which is not in it")]
    Reference(String),
    /// Schemas that refer to each other for the same value, without end.
    #[error("its references go round in a circle")]
    Circle,
    /// More of everything than is applied to each call.
    #[error("it is too complex: {0}")]
    Complex(&'static str),
    /// The compiler's message.
    #[error("{0}")]
    Invalid(String),
}

/// A subschema: its edges, and how often what applies to the same value is applied.
struct Node {
    edges: Vec<Edge>,
    factor: u64,
    own: u64,
}

#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    /// It applies to the same value.
    is_in_place: bool,
    is_reference: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit<T> {
    Not,
    Open,
    Done(T),
}

/// Measures a schema. It needs stack for [`NESTED`] levels.
///
/// # Errors
/// It is beyond a bound, or has a reference that leads out of it.
pub(super) fn measure(root: &Value) -> Result<SchemaShape, Uncheckable> {
    let mut graph = Graph::gather(root)?;
    if graph.nested() > NESTED {
        return Err(Uncheckable::Complex("its references are too long a chain"));
    }
    let mut visits = vec![Visit::Not; graph.nodes.len()];
    let mut height = 0;
    for node in 0..graph.nodes.len() {
        height = height.max(graph.height(node, &mut visits)?);
    }
    let mut visits = vec![Visit::Not; graph.nodes.len()];
    let weight = graph.weigh(0, &mut visits);
    if weight > WEIGHT {
        return Err(Uncheckable::Complex("its alternatives multiply"));
    }
    Ok(SchemaShape {
        weight,
        height,
        returns: graph.returns,
        patterns: graph.patterns,
    })
}

/// The subschemas that are reached; the first one is the root.
struct Graph<'s> {
    root: &'s Value,
    nodes: Vec<Node>,
    known: HashMap<*const Value, usize>,
    pending: Vec<(usize, &'s Value)>,
    patterns: usize,
    returns: u32,
}

impl<'s> Graph<'s> {
    fn gather(root: &'s Value) -> Result<Self, Uncheckable> {
        let mut graph = Self {
            root,
            nodes: Vec::new(),
            known: HashMap::new(),
            pending: Vec::new(),
            patterns: 0,
            returns: 0,
        };
        graph.add(root);
        while let Some((node, schema)) = graph.pending.pop() {
            graph.read(node, schema)?;
            if graph.nodes.len() > NODES {
                return Err(Uncheckable::Complex("it has too many parts"));
            }
            if graph.patterns > PATTERNS {
                return Err(Uncheckable::Complex("it has too many patterns"));
            }
        }
        Ok(graph)
    }

    /// Returns the number of a subschema, which is to be read if it is new.
    fn add(&mut self, schema: &'s Value) -> usize {
        let key = std::ptr::from_ref(schema);
        if let Some(node) = self.known.get(&key) {
            return *node;
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            edges: Vec::new(),
            factor: 1,
            own: 1,
        });
        self.known.insert(key, node);
        self.pending.push((node, schema));
        node
    }

    fn read(&mut self, node: usize, schema: &'s Value) -> Result<(), Uncheckable> {
        let Value::Object(members) = schema else {
            return Ok(());
        };
        let mut edges = Vec::new();
        let (mut factor, mut own) = (1, 1);
        for (keyword, value) in members {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    let target = self.resolve(value)?;
                    edges.push(Edge {
                        to: self.add(target),
                        is_in_place: true,
                        is_reference: true,
                    });
                }
                "$id" | "id" if node != 0 && value.is_string() => {
                    return Err(Uncheckable::Complex("a part of it has an `$id` of its own"));
                }
                "anyOf" | "oneOf" | "not" | "if" => {
                    factor *= 2;
                    self.below(value, true, &mut edges);
                }
                "allOf" | "then" | "else" => self.below(value, true, &mut edges),
                "dependentSchemas" | "dependencies" => self.members(value, true, &mut edges),
                "unevaluatedItems" | "unevaluatedProperties" => {
                    factor *= 2;
                    self.below(value, false, &mut edges);
                }
                "items"
                | "additionalItems"
                | "prefixItems"
                | "contains"
                | "additionalProperties"
                | "propertyNames" => self.below(value, false, &mut edges),
                "properties" => self.members(value, false, &mut edges),
                "patternProperties" => {
                    self.patterns += value.as_object().map_or(0, serde_json::Map::len);
                    self.members(value, false, &mut edges);
                }
                "pattern" => self.patterns += 1,
                "enum" | "required" => {
                    own += value.as_array().map_or(0, Vec::len) as u64 / 8;
                }
                _ => {}
            }
        }
        if let Some(known) = self.nodes.get_mut(node) {
            *known = Node { edges, factor, own };
        }
        Ok(())
    }

    /// Adds a subschema, or a list of them.
    fn below(&mut self, value: &'s Value, is_in_place: bool, edges: &mut Vec<Edge>) {
        let mut add = |schema: &'s Value| {
            edges.push(Edge {
                to: self.add(schema),
                is_in_place,
                is_reference: false,
            });
        };
        match value {
            Value::Object(_) => add(value),
            Value::Array(items) => items.iter().filter(|item| item.is_object()).for_each(add),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Adds the subschemas of a mapping.
    fn members(&mut self, value: &'s Value, is_in_place: bool, edges: &mut Vec<Edge>) {
        for schema in value.as_object().into_iter().flat_map(|all| all.values()) {
            if schema.is_object() {
                self.below(schema, is_in_place, edges);
            }
        }
    }

    /// Finds the subschema that a reference names: by pointer or anchor, in the same document.
    fn resolve(&self, reference: &Value) -> Result<&'s Value, Uncheckable> {
        let text = reference.as_str().unwrap_or_default();
        let outside = || {
            let cut: String = text.chars().take(REFERENCE).collect();
            Uncheckable::Reference(printable::line(&cut).into_owned())
        };
        let own = self.root.get("$id").and_then(Value::as_str);
        let own = own.map(|own| own.split('#').next().unwrap_or_default());
        let local = own.and_then(|own| text.strip_prefix(own)).unwrap_or(text);
        let fragment = local.strip_prefix('#').ok_or_else(outside)?;
        if fragment.is_empty() {
            return Ok(self.root);
        }
        let found = match fragment.starts_with('/') {
            true => self.root.pointer(&decode(fragment)),
            false => find_anchor(self.root, fragment),
        };
        found.ok_or_else(outside)
    }

    /// Returns how many subschemas can be inside each other at most: each reference once, and what
    /// is written inside each other below it.
    fn nested(&self) -> usize {
        let mut written = vec![Visit::Not; self.nodes.len()];
        let edges = self.nodes.iter().flat_map(|node| &node.edges);
        let targets = edges.filter(|edge| edge.is_reference).map(|edge| edge.to);
        let roots: std::collections::BTreeSet<_> = targets.chain([0]).collect();
        let heights = roots.into_iter();
        heights
            .map(|root| self.written_height(root, &mut written))
            .sum()
    }

    /// Returns how many subschemas are written inside each other.
    fn written_height(&self, node: usize, visits: &mut [Visit<usize>]) -> usize {
        if let Some(Visit::Done(height)) = visits.get(node) {
            return *height;
        }
        let edges = self.nodes.get(node).map(|node| node.edges.as_slice());
        let inside = edges.unwrap_or_default().iter();
        let inside = inside.filter(|edge| !edge.is_reference);
        let inside = inside
            .map(|edge| self.written_height(edge.to, visits))
            .max();
        let height = 1 + inside.unwrap_or(0);
        set(visits, node, Visit::Done(height));
        height
    }

    /// Returns how many subschemas apply to the value of one inside each other.
    fn height(&self, node: usize, visits: &mut [Visit<usize>]) -> Result<usize, Uncheckable> {
        match visits.get(node) {
            Some(Visit::Done(height)) => return Ok(*height),
            Some(Visit::Open) | None => return Err(Uncheckable::Circle),
            Some(Visit::Not) => {}
        }
        set(visits, node, Visit::Open);
        let mut height = 0;
        let edges = self.nodes.get(node).map(|node| node.edges.as_slice());
        for edge in edges.unwrap_or_default() {
            if edge.is_in_place {
                height = height.max(self.height(edge.to, visits)?);
            }
        }
        set(visits, node, Visit::Done(height + 1));
        Ok(height + 1)
    }

    /// Returns how many applications one causes, those inside recursion counted once.
    fn weigh(&mut self, node: usize, visits: &mut [Visit<u64>]) -> u64 {
        match visits.get(node) {
            Some(Visit::Done(weight)) => return *weight,
            Some(Visit::Open) | None => {
                self.returns += 1;
                return 1;
            }
            Some(Visit::Not) => {}
        }
        set(visits, node, Visit::Open);
        let Some(known) = self.nodes.get(node) else {
            return 1;
        };
        let (mut weight, factor, edges) = (known.own, known.factor, known.edges.clone());
        for edge in edges {
            let below = self.weigh(edge.to, visits);
            let times = if edge.is_in_place { factor } else { 1 };
            weight = weight.saturating_add(below.saturating_mul(times));
        }
        set(visits, node, Visit::Done(weight));
        weight
    }
}

fn set<T>(visits: &mut [Visit<T>], node: usize, visit: Visit<T>) {
    if let Some(place) = visits.get_mut(node) {
        *place = visit;
    }
}

/// Returns a fragment without percent-encoding (RFC 6901 §6).
fn decode(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Finds the part of a schema that has this anchor.
fn find_anchor<'s>(root: &'s Value, name: &str) -> Option<&'s Value> {
    let mut pending = vec![root];
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(members) => {
                let has = |key| members.get(key).and_then(Value::as_str) == Some(name);
                if has("$anchor") || has("$dynamicAnchor") {
                    return Some(value);
                }
                pending.extend(members.values());
            }
            Value::Array(items) => pending.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ordinary_schema_has_its_size() {
        let shape = measure(&json!({
            "type": "object",
            "properties": {
                "a": { "type": "string", "pattern": "^a" },
                "b": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                "c": { "type": "array", "items": { "$ref": "#/$defs/c%20d" } },
            },
            "$defs": { "c d": { "type": "object", "properties": { "x": {} } }, "unused": {} },
        }));
        let shape = shape.unwrap();
        assert_eq!((shape.height, shape.returns, shape.patterns), (2, 0, 1));
        assert!((8..20).contains(&shape.weight), "{shape:?}");
    }

    #[test]
    fn a_tree_is_recursive_and_fine() {
        let tree = json!({
            "type": "object",
            "properties": { "children": { "type": "array", "items": { "$ref": "#" } } },
        });
        let shape = measure(&tree).unwrap();
        assert_eq!((shape.returns, shape.height), (1, 2));
    }

    #[test]
    fn what_leads_outside_or_in_a_circle_is_refused_and_named() {
        let outside = |text: &str| Uncheckable::Reference(text.to_owned());
        for (schema, expected) in [
            (
                json!({ "$ref": "http://127.0.0.1:1/x" }),
                outside("http://127.0.0.1:1/x"),
            ),
            (
                json!({ "properties": { "a": { "$ref": "other.json#/a" } } }),
                outside("other.json#/a"),
            ),
            (json!({ "$ref": "#/$defs/gone" }), outside("#/$defs/gone")),
            (json!({ "allOf": [{ "$ref": "#" }] }), Uncheckable::Circle),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "not": { "$ref": "#/$defs/a" } } } }),
                Uncheckable::Circle,
            ),
        ] {
            assert_eq!(measure(&schema).unwrap_err(), expected, "{schema}");
        }
    }

    /// `$defs` in which each names the next one, several times.
    fn fan(definitions: usize, keyword: &str, times: usize) -> Value {
        let mut defs = serde_json::Map::new();
        for number in 0..definitions {
            let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
            defs.insert(format!("d{number}"), json!({ keyword: vec![next; times] }));
        }
        defs.insert(format!("d{definitions}"), json!({ "type": "string" }));
        json!({ "$ref": "#/$defs/d0", "$defs": defs })
    }

    #[test]
    fn what_multiplies_or_nests_without_bound_is_refused_at_once() {
        for schema in [
            fan(60, "anyOf", 2),
            fan(60, "allOf", 2),
            fan(3_000, "allOf", 1),
            json!({ "properties": { "a": { "enum": vec![0; 2_000_000] } } }),
        ] {
            let refused = measure(&schema).unwrap_err();
            assert!(matches!(refused, Uncheckable::Complex(_)), "{refused}");
        }
        assert!(measure(&fan(100, "allOf", 1)).is_ok());
    }
}
