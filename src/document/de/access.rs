//! Lists, mappings, and the two shapes of enums.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{DeError, Mismatch, NodeReader};
use crate::document::node::{MapEntry, Node, Value};
use crate::document::path::Segment;

pub(crate) struct Items<'n> {
    pub(crate) rest: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
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
        seed.deserialize(NodeReader::new(node))
            .map(Some)
            .map_err(|error| error.under(Segment::Index(index), node.at))
    }
}

pub(crate) struct Entries<'n> {
    pub(crate) rest: std::slice::Iter<'n, MapEntry>,
    /// The tag, which is read already.
    pub(crate) skip: &'n str,
    pub(crate) value: Option<&'n MapEntry>,
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
        seed.deserialize(NodeReader::new(&entry.node))
            .map_err(|error| error.under(Segment::Key(entry.key.clone()), entry.at))
    }
}

/// `{ type: bearer, token: … }`
pub(crate) struct Tagged<'n> {
    pub(crate) tag: &'n MapEntry,
    pub(crate) reader: NodeReader<'n>,
}

impl<'de, 'n> EnumAccess<'de> for Tagged<'n> {
    type Error = DeError;
    type Variant = TaggedVariant<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, TaggedVariant<'n>), DeError> {
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
            TaggedVariant {
                reader,
                skip: "type",
            },
        ))
    }
}

/// `{ env: NAME }`
pub(crate) struct OneKey<'n>(pub(crate) &'n MapEntry);

impl<'de, 'n> EnumAccess<'de> for OneKey<'n> {
    type Error = DeError;
    type Variant = OneKeyVariant<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, OneKeyVariant<'n>), DeError> {
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
        Ok((variant, OneKeyVariant(entry)))
    }
}

/// The keys beside the tag.
pub(crate) struct TaggedVariant<'n> {
    pub(crate) reader: NodeReader<'n>,
    pub(crate) skip: &'n str,
}

/// The value under the one key.
pub(crate) struct OneKeyVariant<'n>(&'n MapEntry);

impl<'de> VariantAccess<'de> for TaggedVariant<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        let NodeReader { node, .. } = self.reader;
        seed.deserialize(NodeReader {
            node,
            skip: self.skip,
        })
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

impl<'de> VariantAccess<'de> for OneKeyVariant<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DeError> {
        let Self(entry) = self;
        seed.deserialize(NodeReader::new(&entry.node))
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
