//! Text → a tree of nodes that know where they stand.
//!
//! YAML 1.2 with the core schema, through the event parser of `saphyr-parser`; JSON is a subset of it, and
//! comments and trailing commas of JSONC are accepted too (`jsonc.rs`). Numbers keep their written
//! form: nothing is rounded before somebody decides what it is.

use std::fmt;

use saphyr_parser::Marker;

/// The longest text that is read, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
pub(super) const MAX_DEPTH: usize = 64;
/// The most nodes, those that aliases repeat included: what stops a "billion laughs".
pub(super) const MAX_NODES: usize = 200_000;
/// The length of text, in bytes, that counts as one more node.
pub(super) const TEXT_BYTES: usize = 64;

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The begin of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn of(mark: Marker) -> Self {
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

/// The value of a node.
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
    /// `{{ … }}`
    #[error(
        "`{{{{` begins a mapping in YAML: weir fills in no templates, and a value that begins with `{{{{` needs quotes"
    )]
    Template,
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

impl Node {
    /// Returns the value as JSON text; numbers keep their digits. [`MAX_DEPTH`] limits the depth.
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

    /// Returns its type, for messages. Never the value: it may be a secret.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null | Value::Removed => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(text) if is_key_without_blank(text) => {
                "text; a key has a blank after its `:`"
            }
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Returns the entry of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&MapEntry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// Returns the entries, if this is a mapping.
    pub(crate) fn entries(&self) -> Option<&[MapEntry]> {
        if let Value::Map(entries) = &self.value {
            Some(entries)
        } else {
            None
        }
    }

    /// Returns the items, if this is a list.
    pub(crate) fn items(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value {
            Some(items)
        } else {
            None
        }
    }

    /// Returns the text as it is written, if this is a scalar.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Removed => None,
        }
    }
}

/// Returns whether a text begins like a key that lacks the blank after its `:`.
pub(super) fn is_key_without_blank(text: &str) -> bool {
    let Some((key, value)) = text.split_once(':') else {
        return false;
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let has_value = value.starts_with(|c: char| !c.is_whitespace());
    !key.is_empty() && key.chars().all(is_word) && has_value && !value.starts_with("//")
}

/// Returns a text as a JSON string.
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
