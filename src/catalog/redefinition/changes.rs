//! The changes of one definition, put into words.

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use crate::catalog::canonical::is_same;
use crate::json::{self, Object};

/// Most changes reported of one definition.
const MOST: usize = 64;
/// Most characters that are quoted of a text.
const QUOTED: usize = 120;
/// More of two texts that is the same than this is not quoted.
const SAME: usize = 40;
/// Most characters of a change in words: names of arguments may be as long as their upstream likes.
const WORDS: usize = 400;

/// How far a redefinition departs from the definition that callers know. In ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeClass {
    /// It means the same, spelled differently; or nothing that a model or a call depends on
    /// changed.
    Cosmetic,
    /// All calls that were valid still are, and more are; results promise no less.
    Widened,
    /// Valid calls may have become invalid, results may promise less, or the effect is unknown.
    Narrowed,
    /// An argument is required that was not.
    NewRequired,
    /// A hint about what a call does: `readOnlyHint`, `destructiveHint`, `idempotentHint`,
    /// `openWorldHint`.
    Annotation,
    /// A text that models read.
    Description,
}

impl ChangeClass {
    /// Returns the name as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosmetic => "cosmetic",
            Self::Widened => "widened",
            Self::Narrowed => "narrowed",
            Self::NewRequired => "new_required",
            Self::Annotation => "annotation",
            Self::Description => "description",
        }
    }
}

/// One change of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The class.
    pub class: ChangeClass,
    /// The change in words. It may quote the upstream.
    pub what: String,
}

/// A member of two objects, where they have it.
pub(super) type Pair<'o> = (&'o str, Option<&'o str>, Option<&'o str>);

/// The members of both, those of the first in its order, then the rest.
pub(super) fn pair_members<'o>(then: &'o Object<'_>, now: &'o Object<'_>) -> Vec<Pair<'o>> {
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

/// The changes found, up to a limit.
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

    /// Returns whether one of this class is among them.
    pub(super) fn are(&self, class: ChangeClass) -> bool {
        self.more == Some(class) || self.found.iter().any(|change| change.class == class)
    }

    /// Returns how many changes were added.
    pub(super) fn len(&self) -> usize {
        self.found.len() + usize::from(self.more.is_some())
    }

    pub(super) fn finish(mut self) -> Vec<Change> {
        if let Some(class) = self.more {
            let what = "and more".to_owned();
            self.found.push(Change { class, what });
        }
        self.found
    }
}

/// Compares members whose content is not interpreted.
pub(super) fn compare_opaque(
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

/// Compares texts that models or people read.
pub(super) fn compare_text(
    name: &str,
    then: Option<&str>,
    now: Option<&str>,
    changes: &mut ChangeList,
) {
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
            // The excerpt starts where they begin to differ: that is what reviewers have to see.
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
                format!("new {name}: {}", quote(&now)),
            );
        }
        (Some(_), None) => changes.add(ChangeClass::Description, format!("{name} is gone")),
        (None, None) => changes.add(ChangeClass::Description, format!("{name} changed")),
    }
}

/// Quotes the beginning of a text.
pub(super) fn quote(text: &str) -> String {
    excerpt(text, 0)
}

/// Quotes a part of a text on one line. Invisible characters are escaped.
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
