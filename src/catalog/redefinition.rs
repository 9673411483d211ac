//! Compares two definitions of the same name.

mod changes;
mod new_text;
mod schema;

use std::collections::BTreeMap;

use foldhash::{HashMap, HashSet};

use crate::catalog::Kind;
use crate::catalog::canonical::{DEPTH, canonical};
use crate::catalog::digest::{Digest, Hasher};
use crate::catalog::redefinition::changes::{
    ChangeList, compare_opaque, compare_text, pair_members, quote,
};
use crate::json::{self, Object};
use crate::protocol::meta::{ORIGIN, STALE};

pub use changes::{Change, ChangeClass};

/// The hints of tool annotations, and what they mean where they are not written (`schema.ts`,
/// `ToolAnnotations`).
const HINTS: [(&str, bool); 4] = [
    ("readOnlyHint", false),
    ("destructiveHint", true),
    ("idempotentHint", false),
    ("openWorldHint", true),
];

/// Returns the changes from `before` to `after`, both definitions as JSON text. The key,
/// `_meta["weir/origin"]` and `_meta["weir/stale"]` do not count. Empty if the texts are equal or
/// not JSON objects.
#[must_use]
pub fn compare_definitions(kind: Kind, before: &str, after: &str) -> Vec<Change> {
    if before == after {
        return Vec::new();
    }
    let (Ok(then), Ok(now)) = (Object::parse(before), Object::parse(after)) else {
        return Vec::new();
    };
    let mut changes = ChangeList::default();
    for (key, then, now) in pair_members(&then, &now) {
        if key != kind.key() {
            compare_member(kind, key, then, now, &mut changes);
        }
    }
    if !changes.are(ChangeClass::Description)
        && let Some(text) = new_text::find_new_text(kind, &then, &now)
    {
        let what = format!("new text that models read: {}", quote(&text));
        changes.add(ChangeClass::Description, what);
    }
    changes.finish()
}

fn compare_member(
    kind: Kind,
    key: &str,
    then: Option<&str>,
    now: Option<&str>,
    changes: &mut ChangeList,
) {
    if then == now {
        return;
    }
    match (kind, key) {
        (_, "description" | "title") | (Kind::Resources | Kind::Templates, "name") => {
            compare_text(key, then, now, changes);
        }
        (Kind::Tools, "inputSchema") => schema::compare_input(then, now, changes),
        (Kind::Tools, "outputSchema") => schema::compare_output(then, now, changes),
        (Kind::Tools, "annotations") => compare_annotations(then, now, changes),
        (Kind::Prompts, "arguments") => compare_arguments(then, now, changes),
        (_, "_meta") => compare_meta(then, now, changes),
        (_, "icons" | "size") => compare_opaque(key, then, now, ChangeClass::Cosmetic, changes),
        _ => compare_opaque(key, then, now, ChangeClass::Narrowed, changes),
    }
}

fn compare_annotations(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    let read = |text: Option<&'_ str>| -> Option<BTreeMap<String, String>> {
        let object = Object::parse(text.unwrap_or("{}")).ok()?;
        let members = object.iter();
        Some(
            members
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    };
    let (Some(mut before), Some(mut after)) = (read(then), read(now)) else {
        return compare_opaque("annotations", then, now, ChangeClass::Annotation, changes);
    };
    for (hint, default) in HINTS {
        let (before, after) = (before.remove(hint), after.remove(hint));
        let worth = |value: &Option<String>| match value.as_deref() {
            Some("true") => true,
            Some("false") => false,
            Some(_) | None => default,
        };
        let (was, is) = (worth(&before), worth(&after));
        if was != is {
            changes.add(ChangeClass::Annotation, format!("{hint}: {was} → {is}"));
        } else if before != after {
            let what = format!("{hint} is {is}, as it was, and written otherwise");
            changes.add(ChangeClass::Cosmetic, what);
        }
    }
    let title = (before.remove("title"), after.remove("title"));
    if title.0 != title.1 {
        let (before, after) = (title.0.as_deref(), title.1.as_deref());
        compare_text("annotations.title", before, after, changes);
    }
    if before != after {
        changes.add(ChangeClass::Annotation, "`annotations` changed otherwise");
    }
}

/// The arguments of a prompt.
fn compare_arguments(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    let read = |text: Option<&str>| -> Option<Vec<(String, bool, Option<String>)>> {
        let items = json::array(text.unwrap_or("[]")).ok()?;
        let argument = |text: &str| {
            let object = Object::parse(text).ok()?;
            let name = object.string("name")?.into_owned();
            let required = object.get("required") == Some("true");
            let description = object.get("description").map(str::to_owned);
            Some((name, required, description))
        };
        items.into_iter().map(argument).collect()
    };
    let (Some(before), Some(after)) = (read(then), read(now)) else {
        return compare_opaque("arguments", then, now, ChangeClass::Narrowed, changes);
    };
    let found = changes.len();
    let known: HashMap<_, _> = before.iter().map(|known| (&known.0, known)).collect();
    for (name, required, description) in &after {
        match known.get(name) {
            None => schema::add_argument(name, *required, changes),
            Some((_, was, before)) => {
                if was != required {
                    schema::add_requirement(name, *required, changes);
                }
                if before != description {
                    let name = format!("description of argument `{name}`");
                    compare_text(&name, before.as_deref(), description.as_deref(), changes);
                }
            }
        }
    }
    let left: HashSet<_> = after.iter().map(|(name, ..)| name).collect();
    for (name, ..) in &before {
        if !left.contains(name) {
            changes.add(ChangeClass::Narrowed, format!("argument `{name}` removed"));
        }
    }
    if changes.len() == found {
        compare_opaque("arguments", then, now, ChangeClass::Cosmetic, changes);
    }
}

/// `_meta` but for what is weir's own: the way through weirs, and since when it may be out of date.
fn compare_meta(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    match (without_own_meta(then), without_own_meta(now)) {
        (Some(before), Some(after)) if before == after => {}
        _ => compare_opaque("_meta", then, now, ChangeClass::Cosmetic, changes),
    }
}

/// `_meta` without what is weir's own: empty, if there is nothing else in it.
fn without_own_meta(meta: Option<&str>) -> Option<String> {
    let mut meta = Object::parse(meta.unwrap_or("{}")).ok()?;
    meta.remove(ORIGIN);
    meta.remove(STALE);
    Some(if meta.is_empty() {
        String::new()
    } else {
        meta.to_text()
    })
}

/// Computes a digest of the meaning of a definition: spelling, `_meta["weir/origin"]` and
/// `_meta["weir/stale"]` do not count.
#[must_use]
pub(super) fn digest_meaning(raw: &str) -> Digest {
    let mut hasher = Hasher::new("definition");
    let mut object = Object::parse(raw).unwrap_or_default();
    match without_own_meta(object.get("_meta")) {
        Some(meta) if meta.is_empty() => {
            object.remove("_meta");
        }
        Some(meta) => object.set("_meta", meta),
        None => {}
    }
    hasher.add(canonical(&object.to_text(), DEPTH).as_bytes());
    hasher.finish()
}
