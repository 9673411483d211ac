//! Errors of the deserializer, with their positions.

use serde::de::{Expected, Unexpected};

use crate::document::node::{Node, Position};
use crate::document::path::{KeyPath, Segment};

/// A mismatch and its position.
#[derive(Debug)]
pub(crate) struct DeError {
    at: Option<Position>,
    /// Innermost first.
    path: Vec<Segment>,
    pub(crate) kind: Mismatch,
}

/// How a tree does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    UnknownKey {
        key: String,
        expected: &'static [&'static str],
    },
    UnknownWord {
        found: String,
        expected: &'static [&'static str],
    },
    MissingKey {
        key: &'static str,
    },
    WrongType {
        expected: String,
        found: String,
    },
    /// A mapping that must have exactly one of these keys.
    NotOneKey {
        expected: &'static [&'static str],
    },
    BareSecret,
    /// The message of a value's own deserializer.
    Said(String),
}

impl DeError {
    pub(crate) fn new(kind: Mismatch) -> Self {
        Self {
            at: None,
            path: Vec::new(),
            kind,
        }
    }

    pub(crate) fn wrong(node: &Node, expected: &str) -> Self {
        let kind = Mismatch::WrongType {
            expected: expected.to_owned(),
            found: node.describe().to_owned(),
        };
        Self::new(kind).at(node.at)
    }

    /// Sets the position, unless a deeper one is known.
    pub(crate) fn at(mut self, at: Position) -> Self {
        self.at.get_or_insert(at);
        self
    }

    pub(crate) fn under(mut self, segment: Segment, at: Position) -> Self {
        self.path.push(segment);
        self.at(at)
    }

    pub(crate) fn position(&self) -> Position {
        self.at.unwrap_or(Position::START)
    }

    pub(crate) fn path(&self) -> KeyPath {
        self.path.iter().rev().cloned().collect()
    }
}

impl std::fmt::Display for DeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for DeError {}

impl serde::de::Error for DeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(Mismatch::Said(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Char(_)
            | Unexpected::Str(_)
            | Unexpected::Bytes(_)
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => "text",
        };
        Self::new(Mismatch::WrongType {
            expected: expected.to_string(),
            found: found.to_owned(),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Self::new(Mismatch::UnknownWord { found, expected })
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> Self {
        let key = key.to_owned();
        Self::new(Mismatch::UnknownKey { key, expected })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Mismatch::MissingKey { key })
    }
}
