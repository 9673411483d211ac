use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn inlined(schema: &str) -> InlinedSchema {
    inline(schema, SCHEMA_GROWTH).unwrap()
}

/// The schema without references, and what is told of it.
fn made(schema: &Value) -> (Value, Vec<String>) {
    let made = inlined(&schema.to_string());
    let told = made.widenings.iter().map(ToString::to_string).collect();
    (serde_json::from_str(&made.text).unwrap(), told)
}

#[test]
fn a_schema_without_references_stays_as_it_is() {
    for schema in [
        r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
        r#"{"definitions":{},"not":{}}"#,
        "true",
        "{}",
    ] {
        assert!(inline(schema, SCHEMA_GROWTH).is_none(), "{schema}");
    }
}

#[test]
fn the_target_of_a_reference_stands_in_its_place() {
    let table = [
        (
            json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}),
            json!({"properties": {"a": {"type": "string"}}}),
        ),
        // Annotations beside it go before those of the target.
        (
            json!({"properties": {"a": {"$ref": "#/definitions/A", "description": "mine"}},
                   "definitions": {"A": {"description": "its", "title": "A", "enum": [1]}}}),
            json!({"properties": {"a": {"title": "A", "enum": [1], "description": "mine"}}}),
        ),
        // The root may be one, and a target may be one.
        (
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/A",
                   "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"type": "object", "$anchor": "b"}}}),
            json!({"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema"}),
        ),
        // A keyword that says something of instances goes beside the target.
        (
            json!({"type": "object", "$ref": "#/$defs/A", "required": ["x"], "$defs": {"A": {"minProperties": 1}}}),
            json!({"type": "object", "required": ["x"], "allOf": [{"minProperties": 1}]}),
        ),
        (
            json!({"allOf": [{"type": "object"}], "$ref": "#/$defs/A", "$defs": {"A": true}}),
            json!({"allOf": [{"type": "object"}, {}]}),
        ),
        // Any place of the schema may be named.
        (
            json!({"properties": {"a~b/c": {"items": [{"type": "null"}]}, "d": {"$ref": "#/properties/a~0b~1c/items/0"},
                   "e": {"$ref": "#/properties/a~0b%7E1c/items/0"}}}),
            json!({"properties": {"a~b/c": {"items": [{"type": "null"}]}, "d": {"type": "null"}, "e": {"type": "null"}}}),
        ),
        (
            json!({"$id": "https://s.example/x", "items": {"$ref": "https://s.example/x#/$defs/A"}, "$defs": {"A": false}}),
            json!({"$id": "https://s.example/x", "items": false}),
        ),
        // Values are no schemas, and properties may have any name.
        (
            json!({"properties": {"$ref": {"const": {"$ref": "#"}}, "$defs": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "null"}}}),
            json!({"properties": {"$ref": {"const": {"$ref": "#"}}, "$defs": {"type": "null"}}}),
        ),
        (
            json!({"x-more": {"$ref": "#/$defs/A"}, "x-other": 1, "$defs": {"A": {}}}),
            json!({"x-other": 1}),
        ),
    ];
    for (schema, expected) in table {
        let (found, told) = made(&schema);
        assert_eq!(found, expected, "{schema}");
        assert_eq!(told, Vec::<String>::new(), "{schema}");
    }
}

#[test]
fn what_cannot_be_replaced_is_widened_and_told() {
    let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}});
    let table = [
        // Up to draft 7, keywords beside a reference mean nothing.
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": {"$ref": "#/definitions/A", "minLength": 3},
                   "definitions": {"A": {"type": "string"}}}),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": {"type": "string"}}),
            "",
        ),
        (
            json!({"properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": tree}}),
            json!({"properties": {"root": {"type": "object", "properties": {"children":
                {"type": "array", "items": {"type": "object"}}}}}}),
            "`#/$defs/Node` contains itself",
        ),
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#", "title": "next"}}}),
            json!({"type": "object", "properties": {"next": {"type": "object", "title": "next"}}}),
            "`#` contains itself",
        ),
        (
            json!({"items": {"$ref": "https://s.example/a.json"}}),
            json!({"items": {}}),
            "`https://s.example/a.json` is not in the schema",
        ),
        (
            json!({"items": {"$ref": "#/$defs/None"}}),
            json!({"items": {}}),
            "`#/$defs/None` is not in the schema",
        ),
        (
            json!({"items": {"$ref": "#a"}, "$defs": {"A": {"$anchor": "a", "type": "null"}}}),
            json!({"items": {}}),
            "`#a` is an anchor",
        ),
        (
            json!({"items": {"$dynamicRef": "#a", "type": "object"}}),
            json!({"items": {"type": "object"}}),
            "`#a` is an anchor",
        ),
        // There, a reference means something else.
        (
            json!({"items": {"$id": "https://s.example/b", "items": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "null"}}}),
            json!({"items": {"items": {}}}),
            "`#/$defs/A` is not in the schema",
        ),
        (
            json!({"items": {"$ref": 7}}),
            json!({"items": {}}),
            "`` is not in the schema",
        ),
    ];
    for (schema, expected, told) in table {
        let (found, notes) = made(&schema);
        assert_eq!(found, expected, "{schema}");
        assert_eq!(notes.join(", "), told, "{schema}");
    }
}

#[test]
fn a_keyword_that_would_accept_less_goes_where_something_in_it_was_widened() {
    let far = json!({"$ref": "https://s.example/a"});
    let near = json!({"$ref": "#/$defs/A"});
    let of = |schema: &Value| {
        let mut schema = schema.clone();
        schema["$defs"] = json!({"A": {"type": "null"}});
        made(&schema).0
    };
    let nil = json!({"type": "null"});
    for (schema, expected) in [
        (json!({"not": far}), json!({})),
        (json!({"not": near}), json!({"not": nil})),
        (json!({"oneOf": [far, nil]}), json!({"anyOf": [{}, nil]})),
        (json!({"oneOf": [near, true]}), json!({"oneOf": [nil, {}]})),
        (
            json!({"oneOf": [far], "anyOf": [nil], "type": "null"}),
            json!({"anyOf": [nil], "type": "null"}),
        ),
        (json!({"if": far, "then": nil, "else": false}), json!({})),
        (
            json!({"then": near, "if": near, "else": far}),
            json!({"if": nil, "then": nil, "else": {}}),
        ),
        (
            json!({"contains": far, "maxContains": 2, "minContains": 1}),
            json!({"minContains": 1, "contains": {}}),
        ),
        (
            json!({"contains": near, "maxContains": 2}),
            json!({"contains": nil, "maxContains": 2}),
        ),
        (
            json!({"allOf": [far], "unevaluatedProperties": false}),
            json!({"allOf": [{}]}),
        ),
        (
            json!({"allOf": [near], "unevaluatedProperties": false}),
            json!({"allOf": [nil], "unevaluatedProperties": false}),
        ),
        (
            json!({"not": {"not": far}, "type": "null"}),
            json!({"type": "null"}),
        ),
    ] {
        assert_eq!(of(&schema), expected, "{schema}");
    }
}

#[test]
fn numbers_and_texts_keep_their_bytes() {
    let schema = r##"{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"maximum":1e400,"multipleOf":0.10,"const":123456789012345678901234567890,"pattern":"\u0061"}}}"##;
    let expected = r#"{"properties":{"a":{"maximum":1e400,"multipleOf":0.10,"const":123456789012345678901234567890,"pattern":"\u0061"}}}"#;
    assert_eq!(inlined(schema).text, expected);
}

/// `n` definitions, of which each refers twice to the next one: 2^n places.
fn doubling(n: usize) -> String {
    let mut schema =
        r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{"##.to_owned();
    for at in 0..n {
        let next = at + 1;
        let _ = write!(
            schema,
            r##""d{at}":{{"type":"object","properties":{{"l":{{"$ref":"#/$defs/d{next}"}},"r":{{"$ref":"#/$defs/d{next}"}}}}}},"##
        );
    }
    let _ = write!(schema, r#""d{n}":{{"type":"null"}}}}}}"#);
    schema
}

#[test]
fn references_that_multiply_or_come_in_long_rows_stay_within_bounds() {
    let made = inlined(&doubling(40));
    assert!(made.text.len() > SCHEMA_GROWTH / 2 && made.text.len() < 3 * SCHEMA_GROWTH);
    let told: Vec<_> = made.widenings.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().all(|told| told.ends_with("too large")),
        "{told:?}"
    );
    // A row of 10,000, each of which is nothing but the next one.
    let mut row = r##"{"$ref":"#/$defs/d0","$defs":{"##.to_owned();
    for at in 0..10_000 {
        let _ = write!(row, r##""d{at}":{{"$ref":"#/$defs/d{}"}},"##, at + 1);
    }
    row.push_str(r#""d10000":{"type":"object"}}}"#);
    let made = inlined(&row);
    assert_eq!(made.text, "{}");
    assert_eq!(made.widenings.len(), 1);
}

#[test]
fn a_mebibyte_of_definitions_costs_what_it_is_long() {
    let mut schema = r#"{"type":"object","properties":{"#.to_owned();
    let mut definitions = String::new();
    let mut count = 0;
    while schema.len() + definitions.len() < 1024 * 1024 - 200 {
        let _ = write!(schema, r##""p{count}":{{"$ref":"#/$defs/d{count}"}},"##);
        let _ = write!(definitions, r#""d{count}":{{"type":["string","null"]}},"#);
        count += 1;
    }
    let _ = write!(schema, r#""z":{{}}}},"$defs":{{{definitions}"z":{{}}}}}}"#);
    let made = inlined(&schema);
    let value: Value = serde_json::from_str(&made.text).unwrap();
    assert_eq!(value["properties"].as_object().unwrap().len(), count + 1);
    assert!(made.text.len() < schema.len() && !made.text.contains("$ref"));
    // All of them in one listing are bounded together.
    let mut inliner = SchemaInliner::new(true);
    let definition = format!(r#"{{"name":"t","inputSchema":{}}}"#, doubling(40));
    let mut bytes = 0;
    for tool in 0..200 {
        let schemas = inliner.schemas(&format!("t{tool}"), &definition);
        bytes += schemas.iter().map(|(_, text)| text.len()).sum::<usize>();
    }
    assert!(bytes < 3 * LISTING_GROWTH, "{bytes}");
    let warnings = inliner.into_warnings();
    assert_eq!(warnings.len(), WARNINGS + 1);
    let last = warnings.last().unwrap();
    assert_eq!(last, "listen.schemas: and so do 180 more schemas");
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn value(&mut self, depth: u32) -> Value {
        let key = |dice: &mut Self| ["a", "b", "c"][usize::try_from(dice.roll(3)).unwrap()];
        match self.roll(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(5)),
            3 => json!("a".repeat(usize::try_from(self.roll(4)).unwrap())),
            4 => json!(self.roll(4) as f64 + 0.5),
            5 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let mut object = serde_json::Map::new();
                for _ in 0..self.roll(4) {
                    let name = key(self).to_owned();
                    let value = self.value(depth - 1);
                    object.insert(name, value);
                }
                Value::Object(object)
            }
        }
    }

    /// A schema that may refer to definitions from `from` on where it applies to the same value, and to
    /// any where it applies to a part: so no schema applies to one value without end.
    fn schema(&mut self, depth: u32, from: u64, count: u64) -> Value {
        let near = |dice: &mut Self| dice.schema(depth.saturating_sub(1), from, count);
        let part = |dice: &mut Self| dice.schema(depth.saturating_sub(1), 0, count);
        if depth == 0 || self.roll(3) == 0 {
            return match self.roll(8) {
                0 => json!(true),
                1 => json!(false),
                2 => {
                    json!({"type": (["null", "integer", "string", "object", "array"][usize::try_from(self.roll(5)).unwrap()])})
                }
                3 => json!({"maximum": self.roll(4)}),
                4 => json!({"$ref": "https://s.example/far"}),
                _ if from < count => {
                    let to = from + self.roll(count - from);
                    json!({"$ref": format!("#/$defs/d{to}"), "title": "t"})
                }
                _ => json!({"minLength": 1}),
            };
        }
        let mut schema = serde_json::Map::new();
        for _ in 0..=self.roll(3) {
            let (name, value) = match self.roll(17) {
                0 => ("allOf", json!([near(self), near(self)])),
                1 => ("anyOf", json!([near(self), near(self)])),
                2 => ("oneOf", json!([near(self), near(self)])),
                3 => ("not", near(self)),
                4 => ("if", near(self)),
                5 => ("then", near(self)),
                6 => ("else", near(self)),
                7 => ("properties", json!({"a": part(self), "b": part(self)})),
                8 => ("additionalProperties", part(self)),
                9 => ("unevaluatedProperties", part(self)),
                10 => ("items", part(self)),
                11 => ("prefixItems", json!([part(self)])),
                12 => ("contains", part(self)),
                13 => ("maxContains", json!(1)),
                14 => ("dependentSchemas", json!({"a": near(self)})),
                15 => ("unevaluatedItems", part(self)),
                _ if from < count => {
                    let to = from + self.roll(count - from);
                    ("$ref", json!(format!("#/$defs/d{to}")))
                }
                _ => ("required", json!(["a"])),
            };
            schema.insert(name.to_owned(), value);
        }
        Value::Object(schema)
    }
}

/// The validator of a schema, where there is another one at the far address.
fn validator(schema: &Value) -> jsonschema::Validator {
    let far = jsonschema::Resource::from_contents(json!({"type": "integer"}));
    let registry = jsonschema::Registry::new().add("https://s.example/far", far);
    let registry = registry.unwrap().prepare().unwrap();
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
    options.with_registry(&registry).build(schema).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_the_original_accepts_the_export_accepts(seed in 1_u64..) {
        let mut dice = Dice(seed);
        let count = 4;
        let mut schema = dice.schema(3, 0, count);
        if !schema.is_object() {
            schema = json!({"allOf": [schema]});
        }
        let definitions: serde_json::Map<_, _> = (0..count)
            .map(|at| (format!("d{at}"), dice.schema(3, at + 1, count)))
            .collect();
        schema["$defs"] = Value::Object(definitions);
        // A small bound, so that it is met too.
        let most = if dice.roll(2) == 0 { 60 } else { SCHEMA_GROWTH };
        let text = schema.to_string();
        let made = SchemaWriter::new(&TextNode::read(&text).unwrap(), most).run();
        let export: Value = serde_json::from_str(&made.text).unwrap();
        prop_assert!(!made.text.contains("$ref") && !made.text.contains("$defs"), "{}", made.text);
        let original = validator(&schema);
        let exported = validator(&export);
        for _ in 0..40 {
            let instance = dice.value(3);
            let accepted = original.is_valid(&instance);
            let told = format!("{instance}\n{schema}\n{export}");
            prop_assert!(!accepted || exported.is_valid(&instance), "{told}");
            // Where nothing was widened, nothing else is accepted.
            if made.widenings.is_empty() {
                prop_assert_eq!(accepted, exported.is_valid(&instance), "{}", told);
            }
        }
    }
}
