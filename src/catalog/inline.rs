//! Schemas without references, for what cannot read them (`listen.schemas: inline`): the target of each
//! `$ref` stands in its place.
//!
//! A reference that has no end (to a schema that contains itself), leads out of the schema, or would
//! make it too large is widened: to its type, or to `{}`. Whatever the schema of the upstream accepts, this one accepts
//! too. So a keyword that would accept less if what is in it accepts more (`not`, `oneOf`, `if`,
//! `unevaluatedProperties`) goes, or becomes a weaker one, where something in it was widened.

mod keyword;
mod outcome;
mod target;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::catalog::kind::Kind;
use crate::catalog::listing::Definition;
use crate::json::Object;
use crate::printable;
use keyword::{KEYWORDS, names_references};
use outcome::{InlinedSchema, Widening};
use tree::TextNode;
use writer::SchemaWriter;

/// Most bytes that references may add to one schema, besides what it has already.
const SCHEMA_GROWTH: usize = 64 * 1024;
/// Most bytes that references may add to all schemas of one listing.
const LISTING_GROWTH: usize = 4 * 1024 * 1024;
/// Most places of one schema that operators are told of.
const NOTES: usize = 4;
/// Most schemas of one listing that operators are told of.
const WARNINGS: usize = 20;
/// The members of a tool's definition that are schemas.
const SCHEMAS: [&str; 2] = ["inputSchema", "outputSchema"];

/// A member of a definition, and what callers see in its place.
pub(crate) type RenderedSchema = (&'static str, String);

/// Makes the schemas of one listing free of references, within bounds.
#[derive(Debug)]
pub(crate) struct SchemaInliner {
    is_wanted: bool,
    /// Bytes that references may still add.
    left: usize,
    /// Warnings for operators, one for each schema.
    warnings: Vec<String>,
    /// The number of warnings that are left out.
    untold: usize,
}

impl SchemaInliner {
    /// Makes one. Unless it is wanted, schemas stay as they are.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self {
            is_wanted,
            left: LISTING_GROWTH,
            warnings: Vec::new(),
            untold: 0,
        }
    }

    /// Returns the schemas that are shown in place of those with references, by definition; nothing if
    /// they are shown as they are.
    pub(crate) fn of_kind(
        &mut self,
        kind: Kind,
        definitions: &[&Definition],
    ) -> Vec<Vec<RenderedSchema>> {
        if kind != Kind::Tools || !self.is_wanted {
            return Vec::new();
        }
        let all = definitions.iter();
        all.map(|definition| self.schemas(definition.key(), definition.raw()))
            .collect()
    }

    /// Returns those schemas of a tool's definition that have references, without them.
    fn schemas(&mut self, tool: &str, definition: &str) -> Vec<RenderedSchema> {
        let Ok(definition) = Object::parse(definition) else {
            return Vec::new();
        };
        let mut schemas = Vec::new();
        for member in SCHEMAS {
            let schema = definition.get(member);
            let most = self.left.min(SCHEMA_GROWTH);
            let Some(inlined) = schema.and_then(|schema| inline(schema, most)) else {
                continue;
            };
            let before = schema.map_or(0, str::len);
            let growth = inlined.text.len().saturating_sub(before);
            self.left = self.left.saturating_sub(growth);
            self.warn(tool, member, &inlined.widenings);
            schemas.push((member, inlined.text));
        }
        schemas
    }

    /// Returns the warnings for operators.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        let mut warnings = self.warnings;
        if self.untold > 0 {
            let more = format!("listen.schemas: and so do {} more schemas", self.untold);
            warnings.push(more);
        }
        warnings
    }

    fn warn(&mut self, tool: &str, member: &str, widenings: &BTreeSet<Widening>) {
        if widenings.is_empty() {
            return;
        }
        if self.warnings.len() >= WARNINGS {
            self.untold += 1;
            return;
        }
        let told = widenings.iter().take(NOTES).map(ToString::to_string);
        let mut told = told.collect::<Vec<_>>().join(", ");
        if widenings.len() > NOTES {
            told.push_str(", …");
        }
        self.warnings.push(format!(
            "listen.schemas: `{member}` of the tool `{}` accepts more than its upstream's: {told}",
            printable::line(tool)
        ));
    }
}

/// Returns a schema without references; `None` if it has none. Their targets may have as many bytes as
/// the schema, which they are a part of, and `growth` more.
fn inline(schema: &str, growth: usize) -> Option<InlinedSchema> {
    // `\u` may spell one of them.
    let is_named = KEYWORDS.iter().any(|keyword| schema.contains(keyword));
    if !is_named && !schema.contains("\\u") {
        return None;
    }
    let root = TextNode::read(schema);
    debug_assert!(
        root.is_some(),
        "a definition is valid JSON of bounded depth"
    );
    match root {
        Some(root) if !names_references(&root) => None,
        Some(root) => Some(SchemaWriter::new(&root, schema.len() + growth).run()),
        None => Some(InlinedSchema::wide()),
    }
}
