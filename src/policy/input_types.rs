//! The types of arguments, read from the input schema of a tool.

use std::collections::BTreeMap;

use crate::config::InputReads;
use crate::json::{self, Object};

/// Most levels of a schema that are read.
const DEPTH: usize = 8;
/// Most members of one level.
const MEMBERS: usize = 1_000;

/// The type of a value in policies, by the JSON Schema of a tool (AgentCore developer guide, "Policy
/// schema constraints").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum InputType {
    /// `string`: String.
    Text,
    /// `integer`: Long.
    Integer,
    /// `boolean`: Bool.
    Truth,
    /// `number`: decimal, with at most four places.
    Number,
    /// `array`: a set.
    List(Box<InputType>),
    /// `object`: a record.
    Record(InputTypes),
    /// Several types, or none that is named: each value has the type that it is written in.
    Any,
}

/// The types of the members of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InputTypes {
    members: BTreeMap<Box<str>, InputMember>,
}

/// The type of one member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InputMember {
    pub(super) kind: InputType,
    /// Whether it has to be there.
    pub(super) required: bool,
}

impl InputTypes {
    /// Reads the schema of an object: of those members only that are read.
    pub(super) fn read(schema: Option<&str>, reads: &InputReads) -> Self {
        let schema = schema.and_then(|schema| Object::parse(schema).ok());
        Self::of(&schema.unwrap_or_default(), Some(reads), DEPTH)
    }

    fn of(schema: &Object<'_>, reads: Option<&InputReads>, depth: usize) -> Self {
        let is_read = |name: &str| match reads {
            None | Some(InputReads::Whole) => true,
            Some(InputReads::Nothing) => false,
            Some(InputReads::Members(names)) => names.contains(name),
        };
        let required = json::strings(schema.get("required"));
        let properties = schema.object("properties").ok().flatten();
        let properties = properties.unwrap_or_default();
        let read = properties.iter().filter(|(name, _)| is_read(name));
        let members = read.take(MEMBERS).map(|(name, schema)| {
            let member = InputMember {
                kind: InputType::of(schema, depth),
                required: required.iter().any(|required| **required == *name),
            };
            (name.into(), member)
        });
        Self {
            members: members.collect(),
        }
    }

    /// Returns the type of a member.
    pub(super) fn get(&self, name: &str) -> &InputType {
        let member = self.members.get(name);
        member.map_or(&InputType::Any, |member| &member.kind)
    }

    /// Returns some of the members.
    pub(super) fn only(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let members = self.members.iter().filter(|(name, _)| keep(name));
        Self {
            members: members
                .map(|(name, member)| (name.clone(), member.clone()))
                .collect(),
        }
    }

    /// Iterates over the members, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &InputMember)> {
        self.members.iter().map(|(name, member)| (&**name, member))
    }
}

impl InputType {
    fn of(schema: &str, depth: usize) -> Self {
        let Some(depth) = depth.checked_sub(1) else {
            return Self::Any;
        };
        let Ok(schema) = Object::parse(schema) else {
            return Self::Any;
        };
        let kind = match schema.get("type") {
            Some(one) if one.starts_with('"') => json::string(one).map(Into::into),
            Some(several) => only(json::strings(Some(several))),
            // How a value that may be left out is written by many: `anyOf: [{…}, { type: "null" }]`.
            None => return Self::of_alternatives(&schema, depth),
        };
        match kind.as_deref() {
            Some("string") => Self::Text,
            Some("integer") => Self::Integer,
            Some("boolean") => Self::Truth,
            Some("number") => Self::Number,
            Some("array") => {
                let items = schema.get("items");
                let items = items.map_or(Self::Any, |items| Self::of(items, depth));
                Self::List(Box::new(items))
            }
            Some("object") if schema.contains("properties") => {
                Self::Record(InputTypes::of(&schema, None, depth))
            }
            _ => Self::Any,
        }
    }

    fn of_alternatives(schema: &Object<'_>, depth: usize) -> Self {
        let alternatives = ["anyOf", "oneOf"]
            .into_iter()
            .find_map(|key| schema.get(key));
        let alternatives = alternatives.and_then(|text| json::array(text).ok());
        let is_null = |schema: &&str| {
            let schema = Object::parse(schema).unwrap_or_default();
            schema.string("type").as_deref() == Some("null")
        };
        let mut others = alternatives.into_iter().flatten();
        let mut others = others.by_ref().filter(|one| !is_null(one));
        match (others.next(), others.next()) {
            (Some(one), None) => Self::of(one, depth),
            _ => Self::Any,
        }
    }
}

/// Returns the only type of several besides `null`.
fn only(types: Vec<std::borrow::Cow<'_, str>>) -> Option<String> {
    let mut types = types.into_iter().filter(|name| name != "null");
    let first = types.next()?.into_owned();
    types.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_schema() {
        let schema = r#"{"type":"object","required":["a"],"properties":{
            "a":{"type":"string"},"b":{"type":["integer","null"]},"c":{"anyOf":[{"type":"number"},{"type":"null"}]},
            "d":{"type":["string","integer"]},"e":{"type":"array","items":{"type":"boolean"}},
            "f":{"type":"object","properties":{"x":{"type":"number"}}},"g":{"$ref":"x"},"h":{"type":"object"}}}"#;
        let types = InputTypes::read(Some(schema), &InputReads::Whole);
        assert_eq!(types.get("a"), &InputType::Text);
        assert_eq!(types.get("b"), &InputType::Integer);
        assert_eq!(types.get("c"), &InputType::Number);
        assert_eq!(types.get("d"), &InputType::Any);
        assert_eq!(types.get("e"), &InputType::List(Box::new(InputType::Truth)));
        assert!(
            matches!(types.get("f"), InputType::Record(inner) if inner.get("x") == &InputType::Number)
        );
        assert_eq!(types.get("g"), &InputType::Any);
        assert_eq!(types.get("h"), &InputType::Any);
        let required: Vec<_> = types.iter().filter(|(_, member)| member.required).collect();
        assert_eq!(required.len(), 1);
        let some = InputReads::Members([Box::from("b"), Box::from("z")].into());
        assert_eq!(InputTypes::read(Some(schema), &some).iter().count(), 1);
    }
}
