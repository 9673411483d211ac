//! Compares JSON Schemas by the keywords that MCP servers use: `properties`, `required`, `type`,
//! `enum`, `items`, `additionalProperties`, bounds, `$defs`. Of all others it reports that they
//! changed.

use std::collections::BTreeSet;

use crate::catalog::canonical::{canonical, is_same};
use crate::catalog::redefinition::changes::{
    ChangeClass, ChangeList, compare_opaque, compare_text, pair_members,
};
use crate::json::{self, Object};

/// Deepest schema that is looked into. What is deeper changed otherwise.
const DEPTH: usize = 16;
/// Most values of an `enum` that are told.
const VALUES: usize = 8;
/// Most characters of one of them.
const VALUE: usize = 40;
/// Most characters of a property's name, in words about it.
const PLACE: usize = 120;

/// Keywords that bound from below, and from above.
const LEAST: [&str; 5] = [
    "minimum",
    "exclusiveMinimum",
    "minLength",
    "minItems",
    "minProperties",
];
const MOST: [&str; 5] = [
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
];

/// Compares the schemas of arguments.
pub(super) fn compare_input(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    Comparison::of("inputSchema", false, then, now, changes);
}

/// Compares the schemas of results.
pub(super) fn compare_output(then: Option<&str>, now: Option<&str>, changes: &mut ChangeList) {
    match (then, now) {
        (None, Some(_)) => changes.add(ChangeClass::Widened, "`outputSchema` is new"),
        (Some(_), None) => changes.add(ChangeClass::Narrowed, "`outputSchema` is gone"),
        _ => Comparison::of("outputSchema", true, then, now, changes),
    }
}

pub(super) fn add_argument(name: &str, required: bool, changes: &mut ChangeList) {
    if required {
        changes.add(
            ChangeClass::NewRequired,
            format!("new required argument `{name}`"),
        );
    } else {
        changes.add(
            ChangeClass::Widened,
            format!("new optional argument `{name}`"),
        );
    }
}

pub(super) fn add_requirement(name: &str, required: bool, changes: &mut ChangeList) {
    if required {
        changes.add(
            ChangeClass::NewRequired,
            format!("argument `{name}` is required now"),
        );
    } else {
        changes.add(
            ChangeClass::Widened,
            format!("argument `{name}` is optional now"),
        );
    }
}

/// A comparison of two schemas under way.
struct Comparison<'c> {
    root: &'static str,
    /// Whether it is of results, which promise what arguments have to keep.
    promises: bool,
    changes: &'c mut ChangeList,
    /// Whether anything was found that means something else.
    found: bool,
}

impl<'c> Comparison<'c> {
    fn of(
        root: &'static str,
        promises: bool,
        then: Option<&str>,
        now: Option<&str>,
        changes: &'c mut ChangeList,
    ) {
        let (Some(then), Some(now)) = (then, now) else {
            return compare_opaque(root, then, now, ChangeClass::Narrowed, changes);
        };
        let mut comparison = Self {
            root,
            promises,
            changes,
            found: false,
        };
        comparison.schema("", then, now, DEPTH);
        if !comparison.found {
            let changes = comparison.changes;
            compare_opaque(root, Some(then), Some(now), ChangeClass::Narrowed, changes);
        }
    }

    fn add(&mut self, class: ChangeClass, what: String) {
        self.found = true;
        self.changes.add(class, what);
    }

    /// How a part of the schema is called.
    fn name(&self, at: &str) -> String {
        match (at, self.promises) {
            ("", _) => format!("`{}`", self.root),
            (at, true) => format!("result `{at}`"),
            (at, false) => format!("argument `{at}`"),
        }
    }

    /// The class of a change to values after which there are others, or fewer. Who reads results
    /// has to expect what is new, who sends arguments has to give up what is gone.
    const fn class(&self, wider: bool, narrower: bool) -> ChangeClass {
        let worse = if self.promises { wider } else { narrower };
        if worse {
            ChangeClass::Narrowed
        } else {
            ChangeClass::Widened
        }
    }

    /// Something changed that nobody looks into.
    fn unclear(&mut self, at: &str, what: &str, then: Option<&str>, now: Option<&str>) {
        let same = then.zip(now).is_some_and(|(then, now)| is_same(then, now));
        if !same {
            let what = format!("{} changed otherwise ({what})", self.name(at));
            self.add(ChangeClass::Narrowed, what);
        }
    }

    fn schema(&mut self, at: &str, then: &str, now: &str, depth: usize) {
        if then == now {
            return;
        }
        let objects = (Object::parse(then), Object::parse(now));
        let (Some(depth), (Ok(before), Ok(after))) = (depth.checked_sub(1), objects) else {
            return self.unclear(at, "its schema", Some(then), Some(now));
        };
        for (key, then, now) in pair_members(&before, &after) {
            if then == now {
                continue;
            }
            match key {
                "description" | "title" => {
                    self.found = true;
                    let name = format!("{key} of {}", self.name(at));
                    compare_text(&name, then, now, self.changes);
                }
                "type" => self.types(at, then, now),
                "enum" => self.values(at, then, now),
                "properties" => self.properties(at, &before, &after, depth),
                "required" => self.required(at, &before, &after),
                "items" => self.below(&format!("{at}[]"), key, then, now, depth),
                "additionalProperties" => self.additional(at, then, now, depth),
                "$defs" | "definitions" => self.definitions(key, then, now, depth),
                key if LEAST.contains(&key) => self.bound(at, key, then, now, false),
                key if MOST.contains(&key) => self.bound(at, key, then, now, true),
                key => self.unclear(at, key, then, now),
            }
        }
    }

    /// A schema that is part of another.
    fn below(&mut self, at: &str, key: &str, then: Option<&str>, now: Option<&str>, depth: usize) {
        match (then, now) {
            (Some(then), Some(now)) => self.schema(at, then, now, depth),
            _ => self.unclear(at, key, then, now),
        }
    }

    fn types(&mut self, at: &str, then: Option<&str>, now: Option<&str>) {
        let (before, after) = (types(then), types(now));
        if before == after {
            return;
        }
        let words = |types: &Option<BTreeSet<String>>| match types {
            None => "any".to_owned(),
            Some(types) => types.iter().cloned().collect::<Vec<_>>().join("|"),
        };
        let told = (words(&before), words(&after));
        let (wider, narrower) = moved(all_types(before).as_ref(), all_types(after).as_ref());
        let what = format!("type of {}: {} → {}", self.name(at), told.0, told.1);
        self.add(self.class(wider, narrower), what);
    }

    fn values(&mut self, at: &str, then: Option<&str>, now: Option<&str>) {
        let read = |text: Option<&str>| -> Option<BTreeSet<String>> {
            let items = json::array(text?).ok()?.into_iter();
            Some(items.map(|item| canonical(item, DEPTH)).collect())
        };
        let (before, after) = (read(then), read(now));
        if before == after {
            return;
        }
        let (wider, narrower) = moved(before.as_ref(), after.as_ref());
        let name = self.name(at);
        let what = match (&before, &after) {
            (Some(before), Some(after)) => {
                let more = told(after.difference(before));
                let fewer = told(before.difference(after));
                let more = (!more.is_empty()).then(|| format!("also {more}"));
                let fewer = (!fewer.is_empty()).then(|| format!("no more {fewer}"));
                let both: Vec<_> = more.into_iter().chain(fewer).collect();
                format!("enum of {name}: {}", both.join("; "))
            }
            (None, Some(after)) => format!("enum of {name}: only {}", told(after.iter())),
            (_, None) => format!("enum of {name} is gone: any value"),
        };
        self.add(self.class(wider, narrower), what);
    }

    fn properties(&mut self, at: &str, then: &Object<'_>, now: &Object<'_>, depth: usize) {
        let read = |schema: &'_ Object<'_>| schema.get("properties").map(str::to_owned);
        let texts = (read(then), read(now));
        let parse = |text: &'_ Option<String>| -> Option<()> {
            Object::parse(text.as_deref().unwrap_or("{}"))
                .ok()
                .map(drop)
        };
        if parse(&texts.0).is_none() || parse(&texts.1).is_none() {
            return self.unclear(at, "properties", texts.0.as_deref(), texts.1.as_deref());
        }
        let before = Object::parse(texts.0.as_deref().unwrap_or("{}")).unwrap_or_default();
        let after = Object::parse(texts.1.as_deref().unwrap_or("{}")).unwrap_or_default();
        let required = names(now.get("required"));
        for (name, then, now) in pair_members(&before, &after) {
            let below = below(at, name);
            match (then, now) {
                (Some(then), Some(now)) => self.schema(&below, then, now, depth),
                (None, Some(_)) => self.added(&below, required.contains(name)),
                (Some(_), None) => {
                    let what = format!("{} removed", self.name(&below));
                    self.add(ChangeClass::Narrowed, what);
                }
                (None, None) => {}
            }
        }
    }

    fn added(&mut self, at: &str, required: bool) {
        self.found = true;
        if self.promises {
            let what = format!("new {}", self.name(at));
            self.changes.add(ChangeClass::Widened, what);
        } else {
            add_argument(at, required, self.changes);
        }
    }

    fn required(&mut self, at: &str, then: &Object<'_>, now: &Object<'_>) {
        let (before, after) = (names(then.get("required")), names(now.get("required")));
        let known = |schema: &Object<'_>| -> BTreeSet<String> {
            let properties = schema.get("properties").map(Object::parse);
            let properties = properties.and_then(Result::ok).unwrap_or_default();
            properties.iter().map(|(name, _)| name.to_owned()).collect()
        };
        let (were, are) = (known(then), known(now));
        for name in before.symmetric_difference(&after) {
            let required = after.contains(name);
            // A property that is new or gone as a whole is reported already.
            let told = were.contains(name) != are.contains(name);
            if told {
                continue;
            }
            self.found = true;
            let below = below(at, name);
            match (self.promises, required) {
                (false, required) => add_requirement(&below, required, self.changes),
                (true, true) => {
                    let what = format!("result `{below}` is always there now");
                    self.changes.add(ChangeClass::Widened, what);
                }
                (true, false) => {
                    let what = format!("result `{below}` may be missing now");
                    self.changes.add(ChangeClass::Narrowed, what);
                }
            }
        }
    }

    fn additional(&mut self, at: &str, then: Option<&str>, now: Option<&str>, depth: usize) {
        let open = |text: Option<&str>| match text {
            None | Some("true" | "{}") => Some(true),
            Some("false") => Some(false),
            Some(_) => None,
        };
        match (open(then), open(now)) {
            (Some(before), Some(after)) if before == after => {}
            (Some(false), _) => {
                let what = format!("{} may have other members now", self.name(at));
                self.add(self.class(true, false), what);
            }
            (_, Some(false)) => {
                let what = format!("{} may have no other members now", self.name(at));
                self.add(self.class(false, true), what);
            }
            _ => self.below(&below(at, "*"), "additionalProperties", then, now, depth),
        }
    }

    fn definitions(&mut self, key: &str, then: Option<&str>, now: Option<&str>, depth: usize) {
        let parse = |text: Option<&'_ str>| Object::parse(text.unwrap_or("{}")).is_ok();
        if !parse(then) || !parse(now) {
            return self.unclear("", key, then, now);
        }
        let before = Object::parse(then.unwrap_or("{}")).unwrap_or_default();
        let after = Object::parse(now.unwrap_or("{}")).unwrap_or_default();
        for (name, then, now) in pair_members(&before, &after) {
            // A definition that is not used has no effect, and a new one that is used is reported
            // where it is.
            if let (Some(then), Some(now)) = (then, now) {
                self.schema(&below(key, name), then, now, depth);
            }
        }
    }

    fn bound(&mut self, at: &str, key: &str, then: Option<&str>, now: Option<&str>, above: bool) {
        let number = |text: Option<&str>| match text {
            None => Some(None),
            Some(text) => text.parse::<f64>().ok().map(Some),
        };
        let (Some(before), Some(after)) = (number(then), number(now)) else {
            return self.unclear(at, key, then, now);
        };
        let wider = match (before, after) {
            (Some(before), Some(after)) if above => after > before,
            (Some(before), Some(after)) => after < before,
            (_, after) => after.is_none(),
        };
        if before == after {
            return;
        }
        let words = |text: Option<&str>| text.unwrap_or("none").chars().take(VALUE).collect();
        let (then, now): (String, String) = (words(then), words(now));
        let what = format!("{key} of {}: {then} → {now}", self.name(at));
        self.add(self.class(wider, !wider), what);
    }
}

/// Returns the place of a property. Long ones are cut: each change below repeats them.
fn below(at: &str, name: &str) -> String {
    let dot = if at.is_empty() { "" } else { "." };
    let (at, name) = (cut(at, 2 * PLACE), cut(name, PLACE));
    format!("{at}{dot}{name}")
}

fn cut(text: &str, most: usize) -> &str {
    let end = text.char_indices().nth(most);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// `type`: `None` where any will do.
fn types(text: Option<&str>) -> Option<BTreeSet<String>> {
    let text = text?;
    if let Some(one) = json::string(text) {
        return Some(BTreeSet::from([one.into_owned()]));
    }
    let items = json::array(text).ok()?;
    let items = items.into_iter().filter_map(json::string);
    Some(items.map(|item| item.into_owned()).collect())
}

/// Whole numbers are numbers.
fn all_types(mut types: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    if let Some(types) = &mut types
        && types.contains("number")
    {
        types.insert("integer".to_owned());
    }
    types
}

/// Whether there is something that was not there before, and whether something is not there any
/// more. `None` is everything.
fn moved(then: Option<&BTreeSet<String>>, now: Option<&BTreeSet<String>>) -> (bool, bool) {
    match (then, now) {
        (None, None) => (false, false),
        (Some(_), None) => (true, false),
        (None, Some(_)) => (false, true),
        (Some(then), Some(now)) => (!now.is_subset(then), !then.is_subset(now)),
    }
}

/// `required`, as far as it is a list of names.
fn names(text: Option<&str>) -> BTreeSet<String> {
    let items = text.and_then(|text| json::array(text).ok());
    let items = items.into_iter().flatten().filter_map(json::string);
    items.map(|name| name.into_owned()).collect()
}

/// Values of an `enum`, no more than anybody reads.
fn told<'v>(values: impl Iterator<Item = &'v String>) -> String {
    let values: Vec<_> = values.collect();
    let first = values.iter().take(VALUES);
    let first = first.map(|value| value.chars().take(VALUE).collect::<String>());
    let mut words = first.collect::<Vec<_>>().join(", ");
    if values.len() > VALUES {
        words.push_str(&format!(" and {} more", values.len() - VALUES));
    }
    words
}
