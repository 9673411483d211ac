//! Writes a schema with the targets of its references in their places.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::catalog::inline::keyword::{
    SchemaKeyword, has_base, is_annotation, is_dynamic, is_plain, names_references,
};
use crate::catalog::inline::outcome::{InlinedSchema, WidenReason, Widening};
use crate::catalog::inline::target::SchemaTargets;
use crate::catalog::inline::tree::{TextNode, TextValue};
use crate::json;

/// The deepest nesting to which references are followed: see [`crate::catalog::listing::DEPTH`].
const DEPTH: usize = 100;
/// Most targets inside each other.
const OPEN: usize = 64;
/// The longest `type` that a widened schema keeps.
const TYPE: usize = 64;
/// Most places that are noted.
const NOTED: usize = 16;

type Members<'s, 't> = &'s [(Cow<'t, str>, TextNode<'t>)];

/// Where a schema stands.
#[derive(Clone, Copy)]
struct SchemaPlace {
    /// The levels of JSON around it.
    level: usize,
    /// References in it are not those of the root: it has a base of its own.
    is_foreign: bool,
}

impl SchemaPlace {
    /// Returns the place of what is `levels` further inside.
    fn below(self, levels: usize) -> Self {
        Self {
            level: self.level + levels,
            ..self
        }
    }
}

/// Annotations beside references on the way to a schema, the outermost first. They replace its own.
type Overrides<'s> = Vec<(&'s str, &'s str)>;

/// Writes one schema. Its functions return whether what they wrote accepts exactly what the original
/// does; if not, it accepts more.
pub(super) struct SchemaWriter<'s, 't> {
    root: &'s TextNode<'t>,
    targets: SchemaTargets<'s, 't>,
    /// Whether keywords beside `$ref` are ignored, as up to draft 7, or may be.
    ignores_siblings: bool,
    /// The targets that the writer is inside of.
    open: Vec<*const TextNode<'t>>,
    /// The bytes of targets so far, and the most.
    written: usize,
    most: usize,
    widenings: BTreeSet<Widening>,
    out: String,
}

impl<'s, 't> SchemaWriter<'s, 't> {
    /// Begins with a schema. The targets of its references may have `most` bytes together.
    pub(super) fn new(root: &'s TextNode<'t>, most: usize) -> Self {
        let dialect = root.get("$schema").and_then(TextNode::string);
        let is_new = |dialect: &str| dialect.contains("2019-09") || dialect.contains("2020-12");
        Self {
            root,
            targets: SchemaTargets::new(root),
            ignores_siblings: dialect.is_some_and(|dialect| !is_new(&dialect)),
            open: vec![std::ptr::from_ref(root)],
            written: 0,
            most,
            widenings: BTreeSet::new(),
            out: String::with_capacity(root.raw.len()),
        }
    }

    pub(super) fn run(mut self) -> InlinedSchema {
        let place = SchemaPlace {
            level: 2,
            is_foreign: false,
        };
        self.write(self.root, place, Vec::new());
        InlinedSchema {
            text: self.out,
            widenings: self.widenings,
        }
    }

    fn note(&mut self, reason: WidenReason, reference: &str) {
        if self.widenings.len() < NOTED {
            self.widenings.insert(Widening::new(reason, reference));
        }
    }

    /// Writes a schema, with annotations in place of its own.
    fn write(&mut self, node: &'s TextNode<'t>, place: SchemaPlace, over: Overrides<'s>) -> bool {
        let TextValue::Object(members) = &node.value else {
            return self.write_boolean(node, &over);
        };
        let is_root = std::ptr::eq(node, self.root);
        let place = SchemaPlace {
            is_foreign: place.is_foreign || (!is_root && has_base(node)),
            ..place
        };
        if !is_root && node.get("$schema").is_some() {
            // Its keywords may mean something else.
            self.note(WidenReason::Outside, "$schema");
            return self.write_wide(None, &over);
        }
        let reference = node.get("$ref");
        let has_siblings = !members.iter().all(|(name, _)| is_plain(name));
        let is_dynamic = members.iter().any(|(name, _)| is_dynamic(name));
        let stands_alone = !has_siblings && !is_dynamic;
        match reference {
            Some(reference) if stands_alone || self.ignores_siblings || place.is_foreign => {
                let mut over = over;
                add_annotations(&mut over, members, is_root);
                self.write_target(reference, place, over) && stands_alone
            }
            reference => self.write_members(members, reference, place, &over) && !is_dynamic,
        }
    }

    /// Writes `true` or `false`, or whatever else is no schema, as it is.
    fn write_boolean(&mut self, node: &TextNode<'_>, over: &Overrides<'s>) -> bool {
        match node.raw {
            "true" => {
                self.write_wide(None, over);
            }
            "false" if !over.is_empty() => {
                self.out.push_str("{\"not\":{}");
                self.write_annotations(over, false);
                self.out.push('}');
            }
            raw => self.out.push_str(raw),
        }
        true
    }

    /// Writes a schema that accepts whatever has the type of `target`.
    fn write_wide(&mut self, target: Option<&TextNode<'_>>, over: &Overrides<'s>) -> bool {
        let kind = target.and_then(|target| target.get("type"));
        let kind = kind.filter(|kind| kind.raw.len() <= TYPE);
        self.out.push('{');
        if let Some(kind) = kind {
            self.out.push_str("\"type\":");
            self.out.push_str(kind.raw);
        }
        self.write_annotations(over, kind.is_none());
        self.out.push('}');
        false
    }

    fn write_annotations(&mut self, over: &Overrides<'s>, mut is_first: bool) {
        for (name, raw) in over {
            self.write_key(name, &mut is_first);
            self.out.push_str(raw);
        }
    }

    fn write_key(&mut self, name: &str, is_first: &mut bool) {
        if !std::mem::take(is_first) {
            self.out.push(',');
        }
        self.out.push_str(&json::quote(name));
        self.out.push(':');
    }

    /// Writes the target of a reference.
    fn write_target(
        &mut self,
        reference: &'s TextNode<'t>,
        place: SchemaPlace,
        over: Overrides<'s>,
    ) -> bool {
        let text = reference.string();
        let found = match &text {
            Some(text) if !place.is_foreign => self.targets.find(text),
            Some(_) | None => Err(WidenReason::Outside),
        };
        let text = text.unwrap_or_default();
        let target = match found {
            Ok(target) => target,
            Err(reason) => {
                self.note(reason, &text);
                return self.write_wide(None, &over);
            }
        };
        let pointer = std::ptr::from_ref(target);
        let is_large = place.level + target.depth > DEPTH
            || self.open.len() >= OPEN
            || self.written.saturating_add(target.raw.len()) > self.most;
        let reason = match self.open.contains(&pointer) {
            true => Some(WidenReason::Recursive),
            false => is_large.then_some(WidenReason::Large),
        };
        if let Some(reason) = reason {
            self.note(reason, &text);
            // Beside a reference, or in another dialect, a `type` may mean nothing.
            let is_root = std::ptr::eq(target, self.root);
            let has_type = (!self.ignores_siblings || target.get("$ref").is_none())
                && (is_root || target.get("$schema").is_none());
            return self.write_wide(Some(target).filter(|_| has_type), &over);
        }
        self.written += target.raw.len();
        self.open.push(pointer);
        let is_exact = self.write(target, place, over);
        self.open.pop();
        is_exact
    }

    /// Writes the members of a schema; a reference among them becomes a part of `allOf`.
    fn write_members(
        &mut self,
        members: Members<'s, 't>,
        reference: Option<&'s TextNode<'t>>,
        place: SchemaPlace,
        over: &Overrides<'s>,
    ) -> bool {
        let is_root = self.open.len() == 1 && place.level == 2;
        let (mut is_exact, mut is_first) = (true, true);
        let mut pending = reference;
        self.out.push('{');
        for (name, value) in members {
            let is_base = !is_root && matches!(&**name, "$id" | "id") && value.string().is_some();
            if is_base || over.iter().any(|(over, _)| over == name) {
                continue;
            }
            if is_dynamic(name) {
                self.note(WidenReason::Anchor, &value.string().unwrap_or_default());
            }
            is_exact &= match SchemaKeyword::of(name) {
                SchemaKeyword::Reference | SchemaKeyword::Late => true,
                SchemaKeyword::Schemas => {
                    self.write_key(name, &mut is_first);
                    let last = pending.take_if(|_| name == "allOf");
                    self.write_schemas(value, last, place)
                }
                SchemaKeyword::Named => {
                    self.write_key(name, &mut is_first);
                    self.write_named(value, place)
                }
                SchemaKeyword::OneOf => {
                    let has_any = members.iter().any(|(name, _)| name == "anyOf");
                    self.write_one_of(value, has_any, place, &mut is_first)
                }
                // Keywords that nobody knows say nothing, and nothing refers to what they keep.
                SchemaKeyword::Other if names_references(value) => is_annotation(name),
                SchemaKeyword::Data | SchemaKeyword::Other => {
                    self.write_key(name, &mut is_first);
                    self.out.push_str(value.raw);
                    true
                }
            };
        }
        if let Some(reference) = pending {
            self.write_key("allOf", &mut is_first);
            self.out.push('[');
            is_exact &= self.write_target(reference, place.below(2), Vec::new());
            self.out.push(']');
        }
        is_exact &= self.write_late(members, place, is_exact, &mut is_first);
        self.write_annotations(over, is_first);
        self.out.push('}');
        is_exact
    }

    /// Writes `oneOf`. If what is in it becomes wider, it may fit where another fits: then any may.
    fn write_one_of(
        &mut self,
        value: &'s TextNode<'t>,
        has_any: bool,
        place: SchemaPlace,
        is_first: &mut bool,
    ) -> bool {
        let (mark, was_first) = (self.out.len(), *is_first);
        self.write_key("oneOf", is_first);
        if self.write_schemas(value, None, place) {
            return true;
        }
        let written = self.out.split_off(mark);
        match has_any {
            true => *is_first = was_first,
            false => self.out.push_str(&written.replacen("oneOf", "anyOf", 1)),
        }
        false
    }

    /// Writes a schema, or a list of schemas, and the target of a reference at its end.
    fn write_schemas(
        &mut self,
        value: &'s TextNode<'t>,
        last: Option<&'s TextNode<'t>>,
        place: SchemaPlace,
    ) -> bool {
        let TextValue::Array(items) = &value.value else {
            return self.write(value, place.below(1), Vec::new()) && last.is_none();
        };
        let mut is_exact = true;
        self.out.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            is_exact &= self.write(item, place.below(2), Vec::new());
        }
        if let Some(reference) = last {
            if !items.is_empty() {
                self.out.push(',');
            }
            is_exact &= self.write_target(reference, place.below(2), Vec::new());
        }
        self.out.push(']');
        is_exact
    }

    /// Writes schemas by name. Of `dependencies`, lists of names stay.
    fn write_named(&mut self, value: &'s TextNode<'t>, place: SchemaPlace) -> bool {
        let TextValue::Object(members) = &value.value else {
            self.out.push_str(value.raw);
            return true;
        };
        let (mut is_exact, mut is_first) = (true, true);
        self.out.push('{');
        for (name, schema) in members {
            self.write_key(name, &mut is_first);
            is_exact &= self.write(schema, place.below(2), Vec::new());
        }
        self.out.push('}');
        is_exact
    }

    /// Writes the keywords that are kept only where what they depend on is as it was. `is_exact`: all
    /// others are.
    fn write_late(
        &mut self,
        members: Members<'s, 't>,
        place: SchemaPlace,
        mut is_exact: bool,
        is_first: &mut bool,
    ) -> bool {
        let find = |keyword: &str| {
            let found = members.iter().rev().find(|(name, _)| name == keyword);
            found.map(|(_, value)| value)
        };
        let mut write =
            |name, may_widen| self.write_late_one((name, find(name)), place, may_widen, is_first);
        // Once it is wider, too many items may fit.
        let contains = write("contains", true);
        is_exact &= contains && write("maxContains", true);
        is_exact &= write("not", false);
        if write("if", false) {
            is_exact &= write("then", true);
            is_exact &= write("else", true);
        } else {
            is_exact = false;
        }
        // They are about what nothing else in the schema has looked at.
        for rest in ["unevaluatedItems", "unevaluatedProperties"] {
            is_exact = is_exact && write(rest, true);
        }
        is_exact
    }

    /// Writes a keyword if it is there, and returns whether it is as it was. One that may not be wider
    /// is taken back if it is.
    fn write_late_one(
        &mut self,
        (name, value): (&str, Option<&'s TextNode<'t>>),
        place: SchemaPlace,
        may_widen: bool,
        is_first: &mut bool,
    ) -> bool {
        let Some(value) = value else {
            return true;
        };
        let (mark, was_first) = (self.out.len(), *is_first);
        self.write_key(name, is_first);
        let is_exact = self.write(value, place.below(1), Vec::new());
        if !is_exact && !may_widen {
            self.out.truncate(mark);
            *is_first = was_first;
        }
        is_exact
    }
}

/// Adds the annotations of a schema to those from further outside, which count. The root's dialect is
/// that of all.
fn add_annotations<'s>(over: &mut Overrides<'s>, members: Members<'s, '_>, is_root: bool) {
    for (name, value) in members {
        let is_identifier = matches!(&**name, "$schema" | "$id") && !is_root;
        let is_new = over.iter().all(|(known, _)| known != name);
        let is_clean = !names_references(value);
        if is_annotation(name) && !is_identifier && is_new && is_clean {
            over.push((name, value.raw));
        }
    }
}
