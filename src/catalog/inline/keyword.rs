//! The keywords of JSON Schema, by what becomes of them in a schema without references.

use crate::catalog::inline::tree::{TextNode, TextValue};

/// The keywords that a gateway in front cannot read (AgentCore developer guide, "MCP servers as
/// targets").
pub(super) const KEYWORDS: [&str; 7] = [
    "$ref",
    "$defs",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// Keywords that say nothing of instances. They may stand beside a reference whatever the dialect.
const ANNOTATIONS: [&str; 10] = [
    "$comment",
    "$id",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// The treatment of the value of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaKeyword {
    /// Names a schema, or keeps some to be referred to: it has no use without references.
    Reference,
    /// A schema, or a list of them: the wider these are, the more is accepted.
    Schemas,
    /// Schemas by name, with the same effect.
    Named,
    /// A list of schemas of which exactly one may fit.
    OneOf,
    /// Depends on others of the same schema, and is written after them.
    Late,
    /// Values, which are no schemas.
    Data,
    /// All else.
    Other,
}

impl SchemaKeyword {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "$ref" | "$defs" | "definitions" | "$anchor" | "$dynamicRef" | "$dynamicAnchor"
            | "$recursiveRef" | "$recursiveAnchor" => Self::Reference,
            "allOf"
            | "anyOf"
            | "prefixItems"
            | "items"
            | "additionalItems"
            | "additionalProperties"
            | "propertyNames" => Self::Schemas,
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" => Self::Named,
            "oneOf" => Self::OneOf,
            "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "maxContains"
            | "unevaluatedItems"
            | "unevaluatedProperties" => Self::Late,
            "const" | "enum" => Self::Data,
            _ => Self::Other,
        }
    }
}

pub(super) fn is_annotation(name: &str) -> bool {
    ANNOTATIONS.contains(&name)
}

/// Returns whether a keyword may stand beside a reference and change nothing of what it accepts.
pub(super) fn is_plain(name: &str) -> bool {
    is_annotation(name) || SchemaKeyword::of(name) == SchemaKeyword::Reference
}

/// Returns whether a keyword refers to an anchor that depends on who refers to it.
pub(super) fn is_dynamic(name: &str) -> bool {
    matches!(name, "$dynamicRef" | "$recursiveRef")
}

/// Returns whether references in a schema are relative to a base of its own. `id` is the name of the
/// keyword up to draft 4.
pub(super) fn has_base(node: &TextNode<'_>) -> bool {
    let is_text = |node: &TextNode<'_>| node.raw.starts_with('"');
    ["$id", "id"]
        .iter()
        .any(|key| node.get(key).is_some_and(is_text))
}

/// Returns whether there is one of the keywords of references anywhere in a value, as a key.
pub(super) fn names_references(value: &TextNode<'_>) -> bool {
    match &value.value {
        TextValue::Scalar => false,
        TextValue::Array(items) => items.iter().any(names_references),
        TextValue::Object(members) => members
            .iter()
            .any(|(name, value)| KEYWORDS.contains(&&**name) || names_references(value)),
    }
}
