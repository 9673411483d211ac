//! A serde deserializer over [`Node`] whose errors know their key path and position.
//!
//! Two shapes that serde cannot read without losing positions are read here by the name of their type
//! ([`TAGGED`], [`SCALAR_OR`]), so that `raw` stays plain derives.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::node::{Entry, Node, Position, Value};
use super::path::{Path, Segment};

/// An enum of this name is a mapping whose `type` key names the variant.
pub(super) const TAGGED: &str = "Auth";
/// An enum of this name is a mapping with one key; a bare scalar is refused with its own text.
pub(super) const SECRET: &str = "Secret";
/// A newtype of this name gets `visit_string` for any scalar, as written, and itself for the rest.
pub(super) const SCALAR_OR: &str = "weir::scalar_or";
/// A newtype of this name gets `visit_string` with the node as JSON text.
pub(super) const JSON: &str = "weir::json";

/// What does not fit, where.
#[derive(Debug)]
pub(super) struct DeError {
    at: Option<Position>,
    /// Innermost first.
    path: Vec<Segment>,
    pub(super) kind: Mismatch,
}

/// How a tree does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
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
    /// What a value's own reader says.
    Said(String),
}

impl DeError {
    fn new(kind: Mismatch) -> Self {
        Self {
            at: None,
            path: Vec::new(),
            kind,
        }
    }

    fn wrong(node: &Node, expected: &str) -> Self {
        let kind = Mismatch::WrongType {
            expected: expected.to_owned(),
            found: node.describe().to_owned(),
        };
        Self::new(kind).at(node.at)
    }

    /// Sets the position, unless a deeper one is known.
    fn at(mut self, at: Position) -> Self {
        self.at.get_or_insert(at);
        self
    }

    fn under(mut self, segment: Segment, at: Position) -> Self {
        self.path.push(segment);
        self.at(at)
    }

    pub(super) fn position(&self) -> Position {
        self.at.unwrap_or(Position::START)
    }

    pub(super) fn path(&self) -> Path {
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

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'n> {
    node: &'n Node,
}

impl<'n> Reader<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self { node }
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

    /// A scalar as it is written.
    fn scalar(self) -> Option<String> {
        match &self.node.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Removed => None,
        }
    }

    /// The tag is missing, or there is a key that was probably meant to be it.
    fn no_tag(self) -> DeError {
        let near = |entry: &&Entry| strsim::damerau_levenshtein(&entry.key, "type") <= 2;
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        match entries.iter().find(near) {
            Some(entry) => DeError::unknown_field(&entry.key, &["type"])
                .under(Segment::Key(entry.key.clone()), entry.at),
            None => DeError::missing_field("type").at(self.node.at),
        }
    }

    fn one_key(self, variants: &'static [&'static str]) -> Result<&'n Entry, DeError> {
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

impl<'de> serde::Deserializer<'de> for Reader<'_> {
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
        let visited = match (name, self.scalar()) {
            (SCALAR_OR, Some(text)) => visitor.visit_string(text),
            (JSON, _) => visitor.visit_string(self.node.to_json()),
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
        self.entries("", visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match (name, &self.node.value) {
            (TAGGED, Value::Map(_)) => {
                let tag = self.node.get("type").ok_or_else(|| self.no_tag())?;
                visitor.visit_enum(Tagged { tag, reader: self })
            }
            (TAGGED, _) => Err(DeError::wrong(self.node, "a mapping with a `type`")),
            (SECRET, Value::Bool(_) | Value::Number(_) | Value::Text(_)) => {
                Err(DeError::new(Mismatch::BareSecret).at(self.node.at))
            }
            (SECRET, _) => visitor.visit_enum(OneKey(self.one_key(variants)?)),
            (_, Value::Text(word)) => visitor
                .visit_enum(IntoDeserializer::<DeError>::into_deserializer(
                    word.as_str(),
                ))
                .map_err(|error| error.at(self.node.at)),
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

struct Items<'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DeError> {
        let present = |(_, node): &(usize, &Node)| !matches!(node.value, Value::Removed);
        let Some((index, node)) = self.rest.find(present) else {
            return Ok(None);
        };
        seed.deserialize(Reader { node })
            .map(Some)
            .map_err(|error| error.under(Segment::Index(index), node.at))
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    /// The tag, which is read already.
    skip: &'n str,
    value: Option<&'n Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DeError> {
        let skip = self.skip;
        let Some(entry) = self.rest.find(|entry| skip.is_empty() || entry.key != skip) else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key: StrDeserializer<'_, DeError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.under(Segment::Key(entry.key.clone()), entry.at))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let entry = self.value.take();
        let entry = entry.ok_or_else(|| DeError::custom("a value was asked for before its key"))?;
        seed.deserialize(Reader { node: &entry.node })
            .map_err(|error| error.under(Segment::Key(entry.key.clone()), entry.at))
    }
}

/// `{ type: bearer, token: … }`
struct Tagged<'n> {
    tag: &'n Entry,
    reader: Reader<'n>,
}

impl<'de, 'n> EnumAccess<'de> for Tagged<'n> {
    type Error = DeError;
    type Variant = Variant<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Variant<'n>), DeError> {
        let Self { tag, reader } = self;
        let Value::Text(word) = &tag.node.value else {
            let error = DeError::wrong(&tag.node, "text");
            return Err(error.under(Segment::Key(tag.key.clone()), tag.at));
        };
        let word: StrDeserializer<'_, DeError> = word.as_str().into_deserializer();
        let variant = seed.deserialize(word).map_err(|error| {
            let error = error.at(tag.node.at);
            error.under(Segment::Key(tag.key.clone()), tag.at)
        })?;
        Ok((
            variant,
            Variant {
                reader,
                skip: "type",
            },
        ))
    }
}

/// `{ env: NAME }`
struct OneKey<'n>(&'n Entry);

impl<'de, 'n> EnumAccess<'de> for OneKey<'n> {
    type Error = DeError;
    type Variant = Inner<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Inner<'n>), DeError> {
        let Self(entry) = self;
        let under = |error: DeError| error.under(Segment::Key(entry.key.clone()), entry.at);
        let word: StrDeserializer<'_, DeError> = entry.key.as_str().into_deserializer();
        let variant = seed.deserialize(word).map_err(|mut error| {
            if let Mismatch::UnknownWord { found, expected } = error.kind {
                error.kind = Mismatch::UnknownKey {
                    key: found,
                    expected,
                };
            }
            under(error)
        })?;
        Ok((variant, Inner(entry)))
    }
}

/// The keys beside the tag.
struct Variant<'n> {
    reader: Reader<'n>,
    skip: &'n str,
}

/// The value under the one key.
struct Inner<'n>(&'n Entry);

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DeError> {
        Err(DeError::wrong(self.reader.node, "a mapping"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.reader.entries(self.skip, visitor)
    }
}

impl<'de> VariantAccess<'de> for Inner<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        let Self(entry) = self;
        seed.deserialize(Reader { node: &entry.node })
            .map_err(|error| error.under(Segment::Key(entry.key.clone()), entry.at))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DeError> {
        Err(DeError::wrong(&self.0.node, "text"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DeError> {
        Err(DeError::wrong(&self.0.node, "text"))
    }
}
