use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::config::{FieldPath, FieldRule};

/// Replaces a word wherever it is, and notes what it saw.
#[derive(Default)]
struct Replace {
    seen: Vec<(LeafKind, String, Option<usize>)>,
    word: &'static str,
    by: &'static str,
}

impl StringVisitor for Replace {
    type Refusal = ();

    fn visit(&mut self, leaf: Leaf<'_>, text: &str) -> Result<Option<String>, ()> {
        self.seen.push((leaf.kind, text.to_owned(), leaf.field));
        if leaf.kind == LeafKind::Scalar || self.word.is_empty() {
            return Ok(None);
        }
        let changed = text.replace(self.word, self.by);
        Ok((changed != text).then_some(changed))
    }
}

fn options(fields: &FieldMatcher) -> EditOptions<'_> {
    EditOptions {
        shape: &Shape::Fields,
        fields,
        allows_duplicates: false,
    }
}

fn replaced(text: &str) -> Result<Option<String>, EditError<()>> {
    let mut visitor = Replace {
        word: "ann@x.example",
        by: "A",
        ..Replace::default()
    };
    edit(text, options(&FieldMatcher::default()), &mut visitor)
}

#[test]
fn only_strings_that_change_are_written_again() {
    let text = r#"{ "a" : [1e400, "\u00e9\/", "to ann@x.example"] ,"n":{ "x" :  1.0 },"z":"ann@x.example"}"#;
    let expected = r#"{ "a" : [1e400, "\u00e9\/", "to A"] ,"n":{ "x" :  1.0 },"z":"A"}"#;
    assert_eq!(replaced(text).unwrap().as_deref(), Some(expected));
    assert_eq!(replaced(r#"{"a":[1,2,{}]}"#).unwrap(), None);
    assert_eq!(
        replaced("\"ann@x.example\"").unwrap().as_deref(),
        Some("\"A\"")
    );
}

#[test]
fn a_word_is_found_however_it_is_escaped_and_in_names_too() {
    let spellings = [
        r"ann\u0040x.example",
        r"\u0061nn@x\u002eexample",
        r"\u0061\u006E\u006e\u0040\u0078\u002E\u0065xample",
        // Half a pair of surrogates is no reason to look away.
        r"\ud800ann@x.example",
        r"\ud83d\ude00ann\u0040x.example\udc00",
    ];
    for spelling in spellings {
        let value = replaced(&format!("{{\"k\":\"{spelling}\"}}")).unwrap();
        assert!(value.unwrap().contains('A'), "{spelling}");
        let name = replaced(&format!("{{\"{spelling}\":1}}")).unwrap();
        assert!(name.unwrap().contains('A'), "{spelling}");
    }
}

#[test]
fn a_key_twice_is_refused_at_any_depth_also_if_a_change_makes_it_so() {
    for text in [
        r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"ann@x.example":1,"A":2}"#,
        r#"{"A":1,"ann@x.example":2}"#,
    ] {
        assert_eq!(replaced(text), Err(EditError::Duplicate), "{text}");
    }
    let many: Vec<_> = (0..100).map(|key| format!("\"k{key}\":1")).collect();
    assert_eq!(replaced(&format!("{{{}}}", many.join(","))), Ok(None));
    let twice = format!("{{{},\"k7\":1}}", many.join(","));
    assert_eq!(replaced(&twice), Err(EditError::Duplicate));
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(replaced(&nested(MAX_DEPTH)), Ok(None));
    assert_eq!(replaced(&nested(MAX_DEPTH + 1)), Err(EditError::Depth));
    assert_eq!(replaced(&nested(1_000_000)), Err(EditError::Depth));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        "{",
        "[",
        "]",
        "{]",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "tru",
        "1 2",
        "{} {}",
        "[1 2]",
        "{a:1}",
    ] {
        assert_eq!(replaced(text), Err(EditError::Syntax), "{text}");
    }
}

#[test]
fn structure_is_not_looked_at_but_an_object_in_its_place_is() {
    let fields = FieldMatcher::default();
    let options = EditOptions {
        shape: &crate::guard::coverage::RESULT,
        ..options(&fields)
    };
    let mut visitor = Replace::default();
    let text = r#"{"content":[{"type":"text","text":"t","mimeType":{"type":"m"}}],"isError":false,"x":"y"}"#;
    edit(text, options, &mut visitor).unwrap();
    let values = visitor
        .seen
        .iter()
        .filter(|(kind, ..)| *kind != LeafKind::Name);
    let values: Vec<_> = values.map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(values, ["t", "m", "y"]);
}

#[test]
fn paths_of_fields_lead_through_members_lists_and_depths() {
    let paths = ["$.a.b", "$.l[*].c", "$..deep", "$.all"];
    let rules: Vec<_> = paths
        .map(|path| FieldRule {
            path: FieldPath::parse(path).unwrap(),
            class: "NAME".into(),
        })
        .into();
    let matcher = FieldMatcher::new(&rules);
    let mut visitor = Replace::default();
    let text = r#"{"a":{"b":"0"},"b":"-","l":[{"c":"1"},{"d":"-"}],"x":[{"deep":["2"]}],"all":{"p":["3"],"q":4}}"#;
    edit(text, options(&matcher), &mut visitor).unwrap();
    let seen = visitor.seen.iter();
    let found = seen.filter(|(kind, ..)| *kind != LeafKind::Name);
    let found = found.map(|(_, text, field)| (text.as_str(), *field));
    let expected = [
        ("0", Some(0)),
        ("-", None),
        ("1", Some(1)),
        ("-", None),
        ("2", Some(2)),
        ("3", Some(3)),
        ("4", Some(3)),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// Any JSON value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("to ann@x.example.")),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Writes a value with escapes and blanks that mean the same.
fn spell(value: &Value, odd: bool) -> String {
    let compact = value.to_string();
    match odd {
        true => compact.replace('@', "\\u0040").replace(',', " ,\n"),
        false => compact,
    }
}

fn replace_all(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(text.replace("ann@x.example", "A")),
        Value::Array(items) => items.iter().map(replace_all).collect(),
        Value::Object(map) => {
            let members = map.iter();
            let members =
                members.map(|(key, value)| (key.replace("ann@x.example", "A"), replace_all(value)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

proptest! {
    #[test]
    fn it_says_what_a_parser_and_a_writer_would_say(value in value(), odd: bool) {
        // Blanks inside of strings stay, so only `@` is spelled differently there.
        let text = spell(&value, odd && !value.to_string().contains(" ,"));
        let Ok(read) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let edited = replaced(&text).unwrap();
        let expected = replace_all(&read);
        match edited {
            None => prop_assert_eq!(&expected, &read),
            Some(edited) => {
                prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expected);
            }
        }
    }

    #[test]
    fn any_text_is_json_for_both_or_for_neither(text in r#"[\[\]{}:,"\\a1etrufalsn\- ]{0,24}"#) {
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        if is_json {
            let edited = replaced(&text);
            prop_assert!(matches!(edited, Ok(None) | Err(EditError::Duplicate)), "{edited:?}");
        }
    }
}
