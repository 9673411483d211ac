//! A schema, compiled: bounded in what it costs to compile and to apply.

use std::thread;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::shape::{self, SchemaShape, Uncheckable};
use super::value::Measured;
use super::words;
use crate::printable;

/// Most bytes of a schema.
const SCHEMA: usize = 256 << 10;
/// Most applications of subschemas in a call: about a second.
const WORK: u64 = 50_000_000;
/// Most applications for which it is said what does not fit. Saying so applies alternatives again.
const EXPLAINED: u64 = 1_000_000;
/// The cost of a pattern with look-around or back references, in applications for each value.
const SLOW_PATTERN: u64 = 500;
/// Most steps back of such a pattern for one text.
const STEPS: usize = 20_000;
/// Most bytes of a compiled pattern.
const PATTERN: usize = 256 << 10;
/// Most places that are looked for.
const ERRORS: usize = 64;
/// Most places that are named in one answer.
const PLACES: usize = 8;
/// The most subschemas inside each other that the stack of a worker is used for.
const SHALLOW: usize = 150;
/// The most at all: [`STACK`] suffices for them.
const DEEP: usize = 6_000;
/// The stack of a thread that compiles, or applies what is deeper. Only what is used is taken.
const STACK: usize = 64 << 20;

/// A schema that can be applied.
pub(super) struct CompiledSchema {
    validator: Validator,
    shape: SchemaShape,
    /// Applications to each value, patterns included.
    weight: u64,
}

/// The meaning of a member that is null where its schema does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nulls {
    /// None: the value does not fit.
    Values,
    /// The member was left out. Models and generated clients write optional arguments so, the
    /// conformance suite among them.
    LeftOut,
}

/// The outcome of applying a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SchemaVerdict {
    Fits,
    /// The places that do not, in words; a few of them.
    Broken(Vec<String>),
    /// It would cost more than is spent on one call.
    TooMuch,
}

impl CompiledSchema {
    /// Compiles a schema. Without `$schema` it is of draft 2020-12 (2025-11-25 `basic/index.mdx`,
    /// "JSON Schema Usage").
    ///
    /// # Errors
    /// It is beyond a bound, refers to something outside, or is no schema.
    pub(super) fn compile(text: &str) -> Result<Self, Uncheckable> {
        if text.len() > SCHEMA {
            return Err(Uncheckable::Large {
                bytes: text.len(),
                most: SCHEMA,
            });
        }
        with_stack(|| compile_here(text)).unwrap_or(Err(Uncheckable::Complex("no thread is left")))
    }

    /// Applies the schema to a value that was read of so many bytes.
    pub(super) fn apply(&self, measured: &Measured, bytes: usize, nulls: Nulls) -> SchemaVerdict {
        let values = measured.values as u64;
        let texts = (self.shape.patterns as u64).saturating_mul(bytes as u64);
        let work = self
            .weight
            .saturating_mul(values)
            .saturating_add(texts / 16);
        let depth = self.shape.height.saturating_mul(measured.depth + 1);
        if work > WORK || depth > DEEP {
            return SchemaVerdict::TooMuch;
        }
        if depth <= SHALLOW {
            return self.apply_here(measured, nulls);
        }
        with_stack(|| self.apply_here(measured, nulls)).unwrap_or(SchemaVerdict::TooMuch)
    }

    fn apply_here(&self, measured: &Measured, nulls: Nulls) -> SchemaVerdict {
        if self.validator.is_valid(&measured.value) {
            return SchemaVerdict::Fits;
        }
        if !self.is_explained(measured) {
            return SchemaVerdict::Broken(Vec::new());
        }
        let errors = self.validator.iter_errors(&measured.value).take(ERRORS);
        let errors: Vec<_> = errors.collect();
        if nulls == Nulls::LeftOut
            && let Some(value) = without_nulls(&measured.value, &errors)
            && self.validator.is_valid(&value)
        {
            return SchemaVerdict::Fits;
        }
        let errors = errors.iter().take(PLACES);
        SchemaVerdict::Broken(errors.map(words::describe).collect())
    }

    /// Returns whether it costs little to say what does not fit: below alternatives that lead back to
    /// themselves, that multiplies with each level.
    fn is_explained(&self, measured: &Measured) -> bool {
        let levels = u32::try_from(measured.depth).unwrap_or(u32::MAX);
        let branches = u64::from(self.shape.returns).max(1);
        let work = self.weight.saturating_mul(measured.values as u64);
        work.saturating_mul(branches.saturating_pow(levels)) <= EXPLAINED
    }

    /// Returns about how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let parts = usize::try_from(self.shape.weight).unwrap_or(usize::MAX);
        parts
            .saturating_mul(512)
            .saturating_add(self.shape.patterns * (PATTERN / 8))
    }
}

/// Returns the value without the members that are null where they may not be, if they are all that is
/// wrong with it.
fn without_nulls(value: &Value, errors: &[ValidationError<'_>]) -> Option<Value> {
    let is_null = |error: &ValidationError<'_>| error.instance().is_null();
    if errors.is_empty() || !errors.iter().all(is_null) {
        return None;
    }
    let mut value = value.clone();
    for error in errors {
        let (object, name) = error.instance_path().as_str().rsplit_once('/')?;
        let name = name.replace("~1", "/").replace("~0", "~");
        // It is gone already if it breaks two rules.
        value.pointer_mut(object)?.as_object_mut()?.remove(&name);
    }
    Some(value)
}

impl std::fmt::Debug for CompiledSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledSchema")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

fn compile_here(text: &str) -> Result<CompiledSchema, Uncheckable> {
    let schema: Value = serde_json::from_str(text).map_err(|_| Uncheckable::NotObject)?;
    if !schema.is_object() {
        return Err(Uncheckable::NotObject);
    }
    let shape = shape::measure(&schema)?;
    let has_draft = schema.get("$schema").is_some_and(Value::is_string);
    let options = || {
        let options = jsonschema::options().offline();
        match has_draft {
            true => options,
            false => options.with_draft(Draft::Draft202012),
        }
    };
    let linear = PatternOptions::regex().size_limit(PATTERN);
    let built = options().with_pattern_options(linear).build(&schema);
    let (built, weight) = match built {
        Err(_) if shape.patterns > 0 => {
            let slow = PatternOptions::fancy_regex().backtrack_limit(STEPS);
            let slow = slow.size_limit(PATTERN);
            let built = options().with_pattern_options(slow).build(&schema);
            let slow = SLOW_PATTERN.saturating_mul(shape.patterns as u64);
            (built, shape.weight.saturating_add(slow))
        }
        built => (built, shape.weight),
    };
    let validator = built.map_err(|error| {
        let text = error.masked().to_string();
        let text: String = text.chars().take(200).collect();
        Uncheckable::Invalid(printable::line(&text).into_owned())
    })?;
    Ok(CompiledSchema {
        validator,
        shape,
        weight,
    })
}

/// Runs a function on a thread with a large stack, and waits for it; `None` if there is none.
fn with_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, run).ok()?.join().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::validate::value::{ValueLimits, read};
    use serde_json::json;

    fn apply(schema: &Value, text: &str) -> SchemaVerdict {
        let limits = ValueLimits {
            depth: 120,
            values: 100_000,
            string: usize::MAX,
        };
        let compiled = CompiledSchema::compile(&schema.to_string()).unwrap();
        compiled.apply(&read(text, limits).unwrap(), text.len(), Nulls::LeftOut)
    }

    fn broken(schema: &Value, text: &str) -> Vec<String> {
        match apply(schema, text) {
            SchemaVerdict::Broken(places) => places,
            other @ (SchemaVerdict::Fits | SchemaVerdict::TooMuch) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_fit_is_named_by_place_rule_and_what_was_expected() {
        let schema = json!({
            "type": "object",
            "properties": {
                "amount": { "type": "integer", "minimum": 1 },
                "currency": { "enum": ["EUR", "USD"] },
                "note": { "anyOf": [{ "type": "string", "maxLength": 3 }, { "type": "null" }] },
                "lines": { "type": "array", "items": { "type": "object", "required": ["x"] } },
                "code": { "type": "string", "pattern": "^[A-Z]{2}$" },
            },
            "required": ["amount"],
            "additionalProperties": false,
        });
        assert_eq!(
            apply(&schema, r#"{"amount":1,"currency":"EUR"}"#),
            SchemaVerdict::Fits
        );
        for (arguments, expected) in [
            (r#"{}"#, r#"`/` must have the member "amount" (required)"#),
            (
                r#"{"amount":"secret"}"#,
                "`/amount` must be of type integer (type)",
            ),
            (r#"{"amount":0}"#, "`/amount` must be at least 1 (minimum)"),
            (
                r#"{"amount":1,"currency":"secret"}"#,
                r#"`/currency` must be one of ["EUR","USD"] (enum)"#,
            ),
            (
                r#"{"amount":1,"note":"secret"}"#,
                "`/note` must have at most 3 characters, or must be of type null (anyOf)",
            ),
            (
                r#"{"amount":1,"lines":[{"x":1},{}]}"#,
                r#"`/lines/1` must have the member "x" (required)"#,
            ),
            (
                r#"{"amount":1,"code":"secret"}"#,
                "`/code` must match ^[A-Z]{2}$ (pattern)",
            ),
            (
                r#"{"amount":1,"extra":1}"#,
                "`/` must not have `extra` (additionalProperties)",
            ),
            (
                r#"{"amount":1,"DE89370400440532013000":1}"#,
                "`/` must not have 1 of its members (additionalProperties)",
            ),
        ] {
            assert_eq!(broken(&schema, arguments), [expected], "{arguments}");
        }
        let two = broken(&schema, r#"{"amount":0,"currency":1}"#);
        assert_eq!(two.len(), 2, "{two:?}");
    }

    #[test]
    fn an_optional_argument_that_is_null_counts_as_left_out_and_nothing_else_does() {
        let schema = json!({
            "properties": {
                "amount": { "type": "integer" },
                "note": { "type": "string", "minLength": 1 },
                "a/b~": { "enum": ["x"] },
                "lines": { "items": { "type": "object", "properties": { "text": { "type": "string" } } } },
            },
            "required": ["amount"],
            "type": "object",
        });
        for fits in [
            r#"{"amount":1,"note":null,"a/b~":null}"#,
            r#"{"amount":1,"lines":[{"text":"x"},{"text":null}]}"#,
        ] {
            assert_eq!(apply(&schema, fits), SchemaVerdict::Fits, "{fits}");
        }
        for broken_by in [
            r#"{"amount":null}"#,
            r#"{"amount":1,"lines":[null]}"#,
            "null",
        ] {
            assert_eq!(broken(&schema, broken_by).len(), 1, "{broken_by}");
        }
        let both = broken(&schema, r#"{"amount":"x","note":null}"#);
        assert_eq!(both.len(), 2, "{both:?}");
        // Of a result, nothing is left out.
        let compiled = CompiledSchema::compile(&schema.to_string()).unwrap();
        let limits = ValueLimits {
            depth: 120,
            values: 100,
            string: usize::MAX,
        };
        let text = r#"{"amount":1,"note":null}"#;
        let verdict = compiled.apply(&read(text, limits).unwrap(), text.len(), Nulls::Values);
        assert_eq!(
            verdict,
            SchemaVerdict::Broken(vec!["`/note` must be of type string (type)".to_owned()])
        );
    }

    #[test]
    fn a_place_below_a_name_that_is_data_is_not_spelled_out() {
        let schema =
            json!({ "additionalProperties": { "additionalProperties": { "type": "integer" } } });
        assert_eq!(
            broken(&schema, r#"{"ann@example.com":{"age":"x"}}"#),
            ["`/*/age` must be of type integer (type)"]
        );
    }

    #[test]
    fn drafts_are_told_apart_and_2020_12_is_the_default() {
        // `items` as a list means something up to 2019-09 only.
        let old = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "properties": { "a": { "items": [{ "type": "integer" }] } } });
        assert_eq!(broken(&old, r#"{"a":["x"]}"#).len(), 1);
        let new = json!({ "properties": { "a": { "prefixItems": [{ "type": "integer" }] } } });
        assert_eq!(broken(&new, r#"{"a":["x"]}"#).len(), 1);
    }

    #[test]
    fn a_pattern_that_explodes_elsewhere_is_linear_and_one_that_looks_around_is_bounded() {
        let long = format!(r#"{{"a":"{}!"}}"#, "a".repeat(5_000));
        let linear = json!({ "properties": { "a": { "pattern": "^(a+)+$" } } });
        assert_eq!(broken(&linear, &long).len(), 1);
        let around =
            json!({ "properties": { "a": { "pattern": "^(?=.*[A-Z])(?=.*[0-9]).{4,}$" } } });
        assert_eq!(apply(&around, r#"{"a":"abC1"}"#), SchemaVerdict::Fits);
        assert_eq!(broken(&around, r#"{"a":"abc1"}"#).len(), 1);
        let explodes = json!({ "properties": { "a": { "pattern": "^(a+)+(?=b)$" } } });
        let places = broken(&explodes, &long);
        assert_eq!(places.len(), 1, "{places:?}");
    }

    #[test]
    fn a_pattern_that_is_large_or_no_pattern_is_said() {
        for pattern in ["((a{500}){500}){500}", "("] {
            let schema = json!({ "properties": { "a": { "pattern": pattern } } });
            let refused = CompiledSchema::compile(&schema.to_string()).unwrap_err();
            assert!(matches!(refused, Uncheckable::Invalid(_)), "{refused}");
        }
    }

    #[test]
    fn recursion_that_fans_out_at_each_level_is_decided_and_not_explained() {
        let both = json!({ "$ref": "#/$defs/a" });
        let schema = json!({
            "$ref": "#/$defs/a",
            "$defs": { "a": { "anyOf": [
                { "type": "object", "properties": { "x": both }, "required": ["x"] },
                { "type": "object", "properties": { "x": both, "y": {} }, "required": ["x"] },
                { "const": 7 },
            ] } },
        });
        let nested = |leaf: &str| {
            let levels = 60;
            format!("{}{leaf}{}", r#"{"x":"#.repeat(levels), "}".repeat(levels))
        };
        assert_eq!(apply(&schema, &nested("7")), SchemaVerdict::Fits);
        assert_eq!(
            apply(&schema, &nested("8")),
            SchemaVerdict::Broken(Vec::new())
        );
    }

    #[test]
    fn deep_values_and_long_chains_of_references_need_no_stack_of_the_caller() {
        let mut defs = serde_json::Map::new();
        for number in 0..45 {
            let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
            defs.insert(format!("d{number}"), json!({ "allOf": [next] }));
        }
        let children = json!({ "type": "array", "items": { "$ref": "#/$defs/d0" } });
        defs.insert("d45".to_owned(), json!({ "properties": { "c": children } }));
        let schema = json!({ "$ref": "#/$defs/d0", "$defs": defs });
        let levels = 55;
        let text = format!("{}1{}", r#"{"c":["#.repeat(levels), "]}".repeat(levels));
        let small = thread::Builder::new().stack_size(1 << 20);
        let applied = small.spawn(move || apply(&schema, &text)).unwrap().join();
        assert_eq!(applied.unwrap(), SchemaVerdict::TooMuch);
    }
}
