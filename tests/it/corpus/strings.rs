//! `guard::strings` beside `serde_json`: what is edited in place is what a parser and a writer would make of it.

use serde_json::Value;
use serde_json::value::RawValue;
use weir::guard::coverage::Shape;
use weir::guard::fields::FieldMatcher;
use weir::guard::strings::{EditError, EditOptions, Leaf, LeafKind, StringVisitor, edit};

/// Appends a sign to each string and name that has an `a`.
struct Append(usize);

impl StringVisitor for Append {
    type Refusal = ();

    fn visit(&mut self, leaf: Leaf<'_>, text: &str) -> Result<Option<String>, ()> {
        if leaf.kind == LeafKind::Scalar || !text.contains('a') {
            return Ok(None);
        }
        self.0 += 1;
        Ok(Some(append(text)))
    }
}

fn append(text: &str) -> String {
    format!("{text}\u{1}\"")
}

/// Holds any text to the laws of the editor.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let fields = FieldMatcher::default();
    let options = EditOptions {
        shape: &Shape::Text,
        fields: &fields,
        allows_duplicates: false,
    };
    let mut visitor = Append(0);
    let edited = edit(text, options, &mut visitor);
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    match edited {
        Err(EditError::Syntax) => assert!(!is_json, "{text}"),
        Err(EditError::Depth | EditError::Duplicate) => {}
        Err(EditError::Refused(())) => panic!("nothing is refused"),
        Ok(None) => assert_eq!(visitor.0, 0),
        Ok(Some(edited)) => {
            assert!(visitor.0 > 0);
            if !is_json {
                return;
            }
            // Half a surrogate pair is no text for a parser.
            let Ok(before) = serde_json::from_str::<Value>(text) else {
                return;
            };
            let after: Value = serde_json::from_str(&edited).unwrap();
            assert_eq!(after, append_all(&before), "{text}");
        }
    }
}

fn append_all(value: &Value) -> Value {
    let appended = |text: &str| match text.contains('a') {
        true => append(text),
        false => text.to_owned(),
    };
    match value {
        Value::String(text) => Value::from(appended(text)),
        Value::Array(items) => items.iter().map(append_all).collect(),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(key, value)| (appended(key), append_all(value)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
