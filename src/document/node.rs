//! Text → a tree of nodes that know where they stand.
//!
//! YAML 1.2 with the core schema, through the event parser of `saphyr-parser`; JSON is a subset of it, and
//! comments and trailing commas of JSONC are accepted too ([`super::jsonc`]). Numbers keep their written
//! form: nothing is rounded before somebody decides what it is.

mod builder;

use std::fmt;

use saphyr_parser::{Marker, Parser};

use super::jsonc;
use builder::TreeBuilder;

/// The longest text that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// The most nodes, those that aliases repeat included: what stops a "billion laughs".
const MAX_NODES: usize = 200_000;
/// The length of text, in bytes, that counts as one more node.
const TEXT_BYTES: usize = 64;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// Where a file begins.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(mark: Marker) -> Self {
        Self {
            line: mark.line(),
            column: mark.col() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in order, without duplicates.
    Map(Vec<MapEntry>),
    /// A list item that was taken out because it was reported. Readers skip it.
    Removed,
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct MapEntry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

/// Why a text is not a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The YAML grammar.
    #[error("{0}")]
    Grammar(String),
    /// More than 1 MiB.
    #[error("the file is larger than {} KiB", MAX_BYTES / 1024)]
    TooLarge,
    /// More than 64 levels.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// More than 200,000 values, long text counted as several.
    #[error("more than {MAX_NODES} values, those that aliases repeat included")]
    TooMany,
    /// A second document.
    #[error("a second document; a config file holds one")]
    Documents,
    /// The same key twice in one mapping.
    #[error("key `{key}` is already written at {first}")]
    Duplicate {
        /// The key.
        key: String,
        /// Where it stands first.
        first: Position,
    },
    /// A list or a mapping as a key.
    #[error("a key must be plain text")]
    Key,
    /// `<<:`
    #[error("YAML 1.2 has no merge key `<<`; write the keys out")]
    Merge,
    /// An application tag such as `!env`.
    #[error("tag `{0}` has no meaning here")]
    Tag(String),
    /// An alias inside the value that its anchor names.
    #[error("an alias inside its own anchor")]
    Loop,
}

/// What reading gives: a tree, unless the text broke off, and everything that is wrong with the text.
pub(crate) struct ParsedDocument {
    pub(crate) root: Option<Node>,
    pub(crate) errors: Vec<(Position, SyntaxError)>,
}

/// Reads one document.
pub(crate) fn read(text: &str) -> ParsedDocument {
    if text.len() > MAX_BYTES {
        return ParsedDocument {
            root: None,
            errors: vec![(Position::START, SyntaxError::TooLarge)],
        };
    }
    let text = jsonc::to_yaml(text);
    let mut builder = TreeBuilder::default();
    match builder.run(Parser::new_from_str(&text)) {
        Ok(()) => ParsedDocument {
            root: Some(builder.root.unwrap_or(Node {
                at: Position::START,
                value: Value::Null,
            })),
            errors: builder.errors,
        },
        Err(fatal) => {
            builder.errors.push(fatal);
            ParsedDocument {
                root: None,
                errors: builder.errors,
            }
        }
    }
}

impl Node {
    /// The value as JSON text; numbers keep their digits. Depth is bounded by [`MAX_DEPTH`].
    pub(crate) fn to_json(&self) -> String {
        match &self.value {
            Value::Null | Value::Removed => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(written) => json_number(written),
            Value::Text(text) => quoted(text),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_json).collect();
                format!("[{}]", items.join(","))
            }
            Value::Map(entries) => {
                let member =
                    |entry: &MapEntry| format!("{}:{}", quoted(&entry.key), entry.node.to_json());
                let members: Vec<String> = entries.iter().map(member).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    /// What it is, for messages. Never the value: it may be a secret.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null | Value::Removed => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&MapEntry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// The keys of a mapping.
    pub(crate) fn entries(&self) -> Option<&[MapEntry]> {
        if let Value::Map(entries) = &self.value {
            Some(entries)
        } else {
            None
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value {
            Some(items)
        } else {
            None
        }
    }

    /// A scalar as it is written.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Removed => None,
        }
    }
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// YAML writes some numbers that JSON does not: `+1`, `0x1f`, `.5`, `1.`, `007`.
fn json_number(written: &str) -> String {
    if serde_json::from_str::<&serde_json::value::RawValue>(written).is_ok() {
        return written.to_owned();
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = written.strip_prefix(prefix)
            && let Ok(number) = u128::from_str_radix(digits, radix)
        {
            return number.to_string();
        }
    }
    let (sign, unsigned) = match written.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let end = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(end);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{dot}{fraction}{exponent}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let reading = read(text);
        assert_eq!(reading.errors, []);
        reading.root.unwrap().to_json()
    }

    fn error(text: &str) -> String {
        let (at, error) = read(text).errors.into_iter().next().unwrap();
        format!("{at}: {error}")
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        insta::assert_snapshot!(
            json("[1, 0x1F, 0o17, +7, 007, -.5, 1., 1e400, 123456789012345678901234567890, .inf, yes, no, ~, True, '1', !!str 2, 1.2.3, 1_000]"),
            @r#"[1,31,15,7,7,-0.5,1,1e400,123456789012345678901234567890,".inf","yes","no",null,true,"1","2","1.2.3","1_000"]"#
        );
    }

    #[test]
    fn json_is_a_subset_even_with_tabs_comments_and_surrogates() {
        insta::assert_snapshot!(
            json("// head\n{\n\t\"a\": \"http://x/*y*/\", /* in */ \"b\": \"\\ud83d\\ude00\\/\", // tail\n\t\"c\": [1, 2,],\n}\n"),
            @r#"{"a":"http://x/*y*/","b":"😀/","c":[1,2]}"#
        );
    }

    #[test]
    fn a_quoted_merge_key_is_a_key() {
        assert_eq!(json(r#"{"<<": "<<"}"#), r#"{"<<":"<<"}"#);
        assert_eq!(json("a: <<"), r#"{"a":"<<"}"#);
    }

    #[test]
    fn aliases_repeat_a_value() {
        assert_eq!(json("a: &x [1]\nb: *x"), r#"{"a":[1],"b":[1]}"#);
    }

    #[test]
    fn what_is_wrong_with_a_text_has_a_position() {
        insta::assert_snapshot!(
            [
                "a: 1\nb: {c: 1, c: 2}",
                "a: [1\nb: 2",
                "a: b: c",
                "a: 1\n---\nb: 2",
                "a: *nope",
                "a: &x [*x]",
                "[a]: 1",
                "a: &x {b: 1}\nc:\n  <<: *x",
                "a: !env X",
            ]
            .map(error)
            .join("\n"),
            @r"
    2:11: key `c` is already written at 2:5
    2:2: illegal placement of ':' indicator
    1:5: mapping values are not allowed in this context
    2:1: a second document; a config file holds one
    1:4: while parsing node, found unknown anchor
    1:8: an alias inside its own anchor
    1:1: a key must be plain text
    3:3: YAML 1.2 has no merge key `<<`; write the keys out
    1:4: tag `!env` has no meaning here
    "
        );
    }

    #[test]
    fn size_depth_and_expansion_are_bounded() {
        let bomb = (1..20).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
            let alias = format!("*a{}", level - 1);
            format!(
                "{text}a{level}: &a{level} [{}]\n",
                [alias.as_str(); 10].join(",")
            )
        });
        let long = format!("- &a {}\n{}", "x".repeat(100_000), "- *a\n".repeat(1000));
        let texts = [bomb, long, "[".repeat(100), " ".repeat(MAX_BYTES + 1)];
        let errors = texts.map(|text| error(&text));
        insta::assert_snapshot!(errors.join("\n"), @r"
    6:38: more than 200000 values, those that aliases repeat included
    127:3: more than 200000 values, those that aliases repeat included
    1:65: nested more than 64 levels deep
    1:1: the file is larger than 1024 KiB
    ");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = read(&text);
        }

        #[test]
        fn no_text_of_yaml_characters_panics(text in r#"[-a:{}\[\],'"&*!|>%#?@ \n\t0.~<\\/ue]{0,200}"#) {
            let _ = read(&text);
        }

        #[test]
        fn any_json_is_read_as_serde_json_reads_it(text in r#"[\PC\n\t"\\]{0,40}"#, number in any::<f64>()) {
            let value = serde_json::json!({ "text": text, "list": [number, {"k": text}] });
            prop_assert_eq!(&json(&value.to_string()), &value.to_string());
        }
    }
}
