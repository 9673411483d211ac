//! What one definition says otherwise than another of the same name.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashSet};

use crate::catalog::Kind;
use crate::catalog::diff::{Change, ChangeClass, schema, words};
use crate::catalog::digest::{Digest, Hasher};
use crate::json::{self, Object};
use crate::protocol::meta::{ORIGIN, STALE};

/// Most changes that are told of one definition.
const MOST: usize = 64;
/// Deepest level that is looked into to find two texts the same: each one costs a pass.
pub(in crate::catalog) const DEPTH: usize = 32;
/// Most characters that are quoted of a text.
const QUOTED: usize = 120;
/// More of two texts that is the same than this is not quoted.
const SAME: usize = 40;
/// Most characters of a change in words: names of arguments may be as long as their upstream likes.
const WORDS: usize = 400;

/// The hints of tool annotations, and what they mean where they are not written (`schema.ts`, `ToolAnnotations`).
const HINTS: [(&str, bool); 4] = [
    ("readOnlyHint", false),
    ("destructiveHint", true),
    ("idempotentHint", false),
    ("openWorldHint", true),
];

/// What `after` says otherwise than `before`: both are definitions as JSON text, and what they are known by does not count,
/// nor do the way through weirs and their stamps. Nothing, where they are the same text or not JSON objects.
#[must_use]
pub fn between(kind: Kind, before: &str, after: &str) -> Vec<Change> {
    if before == after {
        return Vec::new();
    }
    let (Ok(then), Ok(now)) = (Object::parse(before), Object::parse(after)) else {
        return Vec::new();
    };
    let mut changes = ChangeList::default();
    for (key, then, now) in pairs(&then, &now) {
        if key != kind.key() {
            member(kind, key, then, now, &mut changes);
        }
    }
    if !changes.are(ChangeClass::Description)
        && let Some(text) = words::new_text(kind, &then, &now)
    {
        let what = format!("new text that models read: {}", quoted(&text));
        changes.add(ChangeClass::Description, what);
    }
    changes.finish()
}

/// A member of two objects, where they have it.
pub(super) type Pair<'o> = (&'o str, Option<&'o str>, Option<&'o str>);

/// The members of both, those of the first in its order, then the rest.
pub(super) fn pairs<'o>(then: &'o Object<'_>, now: &'o Object<'_>) -> Vec<Pair<'o>> {
    // However many there are: looking each one up in an object would cost their square.
    let after: HashMap<&str, &str> = now.iter().collect();
    let before: HashSet<&str> = then.iter().map(|(key, _)| key).collect();
    let known = then.iter();
    let known = known.map(|(key, value)| (key, Some(value), after.get(key).copied()));
    let new = now.iter().filter(|(key, _)| !before.contains(key));
    known
        .chain(new.map(|(key, value)| (key, None, Some(value))))
        .collect()
}

/// What was found, no more of it than anybody reads.
#[derive(Default)]
pub(super) struct ChangeList {
    found: Vec<Change>,
    more: Option<ChangeClass>,
}

impl ChangeList {
    pub(super) fn add(&mut self, class: ChangeClass, what: impl Into<String>) {
        if self.found.len() < MOST {
            let mut what = what.into();
            if let Some((end, _)) = what.char_indices().nth(WORDS) {
                what.truncate(end);
                what.push('…');
            }
            self.found.push(Change { class, what });
        } else {
            self.more = self.more.max(Some(class));
        }
    }

    /// Whether one of this class is among them.
    fn are(&self, class: ChangeClass) -> bool {
        self.more == Some(class) || self.found.iter().any(|change| change.class == class)
    }

    fn finish(mut self) -> Vec<Change> {
        if let Some(class) = self.more {
            let what = "and more".to_owned();
            self.found.push(Change { class, what });
        }
        self.found
    }
}

fn member(kind: Kind, key: &str, then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    if then == now {
        return;
    }
    match (kind, key) {
        (_, "description" | "title") | (Kind::Resources | Kind::Templates, "name") => {
            text(key, then, now, changes);
        }
        (Kind::Tools, "inputSchema") => schema::input(then, now, changes),
        (Kind::Tools, "outputSchema") => schema::output(then, now, changes),
        (Kind::Tools, "annotations") => annotations(then, now, changes),
        (Kind::Prompts, "arguments") => arguments(then, now, changes),
        (_, "_meta") => meta(then, now, changes),
        (_, "icons" | "size") => otherwise(key, then, now, ChangeClass::Cosmetic, changes),
        _ => otherwise(key, then, now, ChangeClass::Narrowed, changes),
    }
}

/// Something nobody looks into.
pub(super) fn otherwise(
    name: &str,
    then: Option<&str>,
    now: Option<&str>,
    class: ChangeClass,
    changes: &mut ChangeList,
) {
    match (then, now) {
        (Some(then), Some(now)) if is_same(then, now) => {
            changes.add(
                ChangeClass::Cosmetic,
                format!("`{name}` is written otherwise"),
            );
        }
        (Some(_), Some(_)) => changes.add(class, format!("`{name}` changed")),
        (None, Some(_)) => changes.add(class, format!("`{name}` is new")),
        (Some(_), None) => changes.add(class, format!("`{name}` is gone")),
        (None, None) => {}
    }
}

/// A text that models or people read.
pub(super) fn text(name: &str, then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    let read = |text: Option<&str>| text.and_then(json::string).map(|text| text.into_owned());
    match (read(then), read(now)) {
        (Some(then), Some(now)) if then == now => {
            changes.add(
                ChangeClass::Cosmetic,
                format!("{name} is written otherwise"),
            );
        }
        (Some(then), Some(now)) => {
            let same = then.chars().zip(now.chars());
            let same = same.take_while(|(then, now)| then == now).count();
            // Where they begin to differ is what somebody has to see.
            let from = match same {
                0..=SAME => 0,
                same => same - SAME / 2,
            };
            let (then, now) = (excerpt(&then, from), excerpt(&now, from));
            let what = format!("{name} changed: {then} → {now}");
            changes.add(ChangeClass::Description, what);
        }
        (None, Some(now)) => {
            changes.add(
                ChangeClass::Description,
                format!("new {name}: {}", quoted(&now)),
            );
        }
        (Some(_), None) => changes.add(ChangeClass::Description, format!("{name} is gone")),
        (None, None) => changes.add(ChangeClass::Description, format!("{name} changed")),
    }
}

/// The begin of a text, in quotes.
fn quoted(text: &str) -> String {
    excerpt(text, 0)
}

/// A part of a text, in quotes and on one line. What nobody would see is written out.
fn excerpt(text: &str, from: usize) -> String {
    let (mut cut, mut blank) = (String::new(), false);
    let mut rest = text.trim_end().chars().skip(from);
    for c in rest.by_ref().take(QUOTED) {
        let is_blank = c.is_whitespace();
        match c {
            _ if is_blank && blank => {}
            _ if is_blank => cut.push(' '),
            '"' | '\'' | '\\' => cut.push(c),
            c => cut.extend(c.escape_debug()),
        }
        blank = is_blank;
    }
    let before = if from > 0 { "…" } else { "" };
    let after = if rest.next().is_some() { "…" } else { "" };
    format!("\"{before}{}{after}\"", cut.trim())
}

fn annotations(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
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
        return otherwise("annotations", then, now, ChangeClass::Annotation, changes);
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
        text("annotations.title", before, after, changes);
    }
    if before != after {
        changes.add(ChangeClass::Annotation, "`annotations` changed otherwise");
    }
}

/// The arguments of a prompt.
fn arguments(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
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
        return otherwise("arguments", then, now, ChangeClass::Narrowed, changes);
    };
    let found = changes.found.len();
    let known: HashMap<_, _> = before.iter().map(|known| (&known.0, known)).collect();
    for (name, required, description) in &after {
        match known.get(name) {
            None => schema::new_argument(name, *required, changes),
            Some((_, was, before)) => {
                if was != required {
                    schema::requires(name, *required, changes);
                }
                if before != description {
                    let name = format!("description of argument `{name}`");
                    text(&name, before.as_deref(), description.as_deref(), changes);
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
    if changes.found.len() == found && changes.more.is_none() {
        otherwise("arguments", then, now, ChangeClass::Cosmetic, changes);
    }
}

/// `_meta` but for what is weir's own: the way through weirs, and since when it may be out of date.
fn meta(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    match (unrouted(then), unrouted(now)) {
        (Some(before), Some(after)) if before == after => {}
        _ => otherwise("_meta", then, now, ChangeClass::Cosmetic, changes),
    }
}

/// `_meta` without what is weir's own: empty, if there is nothing else in it.
fn unrouted(meta: Option<&str>) -> Option<String> {
    let mut meta = Object::parse(meta.unwrap_or("{}")).ok()?;
    meta.remove(ORIGIN);
    meta.remove(STALE);
    Some(if meta.is_empty() {
        String::new()
    } else {
        meta.to_text()
    })
}

/// Tells definitions apart that mean something else: not by spelling, nor by the way through weirs.
#[must_use]
pub fn digest(raw: &str) -> Digest {
    let mut hasher = Hasher::new("definition");
    let mut object = Object::parse(raw).unwrap_or_default();
    match unrouted(object.get("_meta")) {
        Some(meta) if meta.is_empty() => {
            object.remove("_meta");
        }
        Some(meta) => object.set("_meta", meta),
        None => {}
    }
    hasher.add(canonical(&object.to_text(), DEPTH).as_bytes());
    hasher.finish()
}

/// Whether two JSON texts mean the same: white space, order of members and escapes do not count.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || canonical(one, DEPTH) == canonical(other, DEPTH)
}

pub(in crate::catalog) fn canonical(text: &str, depth: usize) -> String {
    let text = text.trim();
    let Some(depth) = depth.checked_sub(1) else {
        return text.to_owned();
    };
    match text.as_bytes().first() {
        Some(b'{') => match Object::parse(text) {
            Ok(object) => {
                let mut members: Vec<_> = object
                    .iter()
                    .map(|(key, value)| format!("{}:{}", json::quote(key), canonical(value, depth)))
                    .collect();
                members.sort_unstable();
                format!("{{{}}}", members.join(","))
            }
            Err(_) => text.to_owned(),
        },
        Some(b'[') => match json::array(text) {
            Ok(items) => {
                let items = items.into_iter().map(|item| canonical(item, depth));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Err(_) => text.to_owned(),
        },
        Some(b'"') => json::string(text).map_or_else(|| text.to_owned(), |text| json::quote(&text)),
        _ => text.to_owned(),
    }
}
