//! A serde deserializer over [`Node`] whose errors know their key path and position.
//!
//! Two shapes that serde cannot read without losing positions are read here by the name of their type
//! ([`TAGGED`], [`SCALAR_OR`]), so that `raw` stays plain derives.

mod access;
mod mismatch;

use serde::de::value::StrDeserializer;
use serde::de::{Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::node::{MapEntry, Node, Value};
use super::path::Segment;
use access::{Entries, Items, OneKey, Tagged};
pub(crate) use mismatch::{DeError, Mismatch};

/// Enums of these names are mappings whose `type` key names the variant.
pub(crate) const TAGGED: [&str; 2] = ["Auth", "TelemetryAuth"];
/// An enum of this name is a mapping with one key; a bare scalar is refused with its own text.
pub(crate) const SECRET: &str = "Secret";
/// Enums of these names are mappings with one key, which names the variant.
pub(crate) const ONE_KEY: [&str; 2] = ["ClaimRule", "Jwks"];
/// A newtype of this name gets `visit_str` for any scalar, as written, and itself for the rest.
pub(crate) const SCALAR_OR: &str = "weir::scalar_or";
/// A newtype of this name gets `visit_str` with the node as JSON text.
pub(crate) const JSON: &str = "weir::json";

/// Reads one node.
#[derive(Clone, Copy)]
pub(crate) struct NodeReader<'n> {
    node: &'n Node,
    /// The tag of the mapping, which is read already; empty where there is none.
    skip: &'n str,
}

impl<'n> NodeReader<'n> {
    pub(crate) fn new(node: &'n Node) -> Self {
        Self { node, skip: "" }
    }

    fn entries<'v, V: Visitor<'v>>(self, skip: &'n str, visitor: V) -> Result<V::Value, DeError> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Removed => return Err(DeError::wrong(self.node, "a mapping")),
        };
        let access = Entries {
            rest: entries.iter(),
            skip,
            value: None,
        };
        visitor
            .visit_map(access)
            .map_err(|error| error.at(self.node.at))
    }

    fn items<'v, V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, DeError> {
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) | Value::Removed => {
                return Err(DeError::wrong(self.node, "a list"));
            }
        };
        let rest = items.iter().enumerate();
        visitor
            .visit_seq(Items { rest })
            .map_err(|error| error.at(self.node.at))
    }

    /// The tag is missing, or there is a key that was probably meant to be it.
    fn no_tag(self) -> DeError {
        let near = |entry: &&MapEntry| strsim::damerau_levenshtein(&entry.key, "type") <= 2;
        match self.node.entries().unwrap_or_default().iter().find(near) {
            Some(entry) => DeError::unknown_field(&entry.key, &["type"])
                .under(Segment::Key(entry.key.clone()), entry.at),
            None => DeError::missing_field("type").at(self.node.at),
        }
    }

    /// A variant without anything in it.
    fn word<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let word = self.node.scalar().unwrap_or_default();
        let word: StrDeserializer<'_, DeError> = word.as_str().into_deserializer();
        visitor
            .visit_enum(word)
            .map_err(|error| error.at(self.node.at))
    }

    fn one_key(self, variants: &'static [&'static str]) -> Result<&'n MapEntry, DeError> {
        let wrong = || DeError::new(Mismatch::NotOneKey { expected: variants }).at(self.node.at);
        let Value::Map(entries) = &self.node.value else {
            return Err(DeError::wrong(self.node, "a mapping"));
        };
        match entries.as_slice() {
            [entry] => Ok(entry),
            entries => match entries
                .iter()
                .find(|entry| !variants.contains(&entry.key.as_str()))
            {
                Some(stranger) => {
                    let error = DeError::unknown_field(&stranger.key, variants);
                    Err(error.under(Segment::Key(stranger.key.clone()), stranger.at))
                }
                None => Err(wrong()),
            },
        }
    }
}

impl<'de> serde::Deserializer<'de> for NodeReader<'_> {
    type Error = DeError;

    /// Only for readers that take scalars as written (`forms`): numbers come as text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let visited = match &self.node.value {
            Value::Null | Value::Removed => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(text) | Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => return self.items(visitor),
            Value::Map(_) => return self.entries("", visitor),
        };
        visited.map_err(|error: DeError| error.at(self.node.at))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Null
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Removed => Err(DeError::wrong(self.node, "true or false")),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let whole = |found: &str| {
            let kind = Mismatch::WrongType {
                expected: "a whole number".to_owned(),
                found: found.to_owned(),
            };
            DeError::new(kind).at(self.node.at)
        };
        let Value::Number(text) = &self.node.value else {
            return Err(whole(self.node.describe()));
        };
        visitor.visit_u64(text.parse().map_err(|_| whole(text))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Number(_) | Value::Bool(_) => {
                Err(DeError::wrong(self.node, "text (put it in quotes)"))
            }
            Value::Null | Value::List(_) | Value::Map(_) | Value::Removed => {
                Err(DeError::wrong(self.node, "text"))
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.value {
            Value::Null | Value::Removed => visitor.visit_none(),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let visited = match (name, self.node.scalar()) {
            (SCALAR_OR, Some(text)) => visitor.visit_str(&text),
            (JSON, _) => visitor.visit_str(&self.node.to_json()),
            _ => visitor.visit_newtype_struct(self),
        };
        visited.map_err(|error| error.at(self.node.at))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.items(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.entries("", visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.entries(self.skip, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match (name, &self.node.value) {
            (name, Value::Map(_)) if TAGGED.contains(&name) => {
                let tag = self.node.get("type").ok_or_else(|| self.no_tag())?;
                visitor.visit_enum(Tagged { tag, reader: self })
            }
            (name, _) if TAGGED.contains(&name) => {
                Err(DeError::wrong(self.node, "a mapping with a `type`"))
            }
            (SECRET, Value::Bool(_) | Value::Number(_) | Value::Text(_)) => {
                Err(DeError::new(Mismatch::BareSecret).at(self.node.at))
            }
            (SECRET, _) => visitor.visit_enum(OneKey(self.one_key(variants)?)),
            (name, _) if ONE_KEY.contains(&name) => {
                visitor.visit_enum(OneKey(self.one_key(variants)?))
            }
            (_, Value::Text(_)) => self.word(visitor),
            // `1.2`, which YAML takes for a number.
            (_, Value::Number(word)) if variants.contains(&word.as_str()) => self.word(visitor),
            _ => Err(DeError::wrong(
                self.node,
                &format!("one of {}", variants.join(", ")),
            )),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}
