//! Texts that a definition has not had anywhere, wherever they stand: models read the whole of a
//! schema.

use std::borrow::Cow;

use foldhash::HashSet;

use crate::catalog::Kind;
use crate::json::{self, Object};

/// Longest text that counts as a name.
const NAME: usize = 64;

/// The first text of `now` that reads like words and that is nowhere in `then`. Keys count too: an
/// argument may be called whatever its upstream likes. Names without blanks do not count, nor does
/// what no model sees: `_meta` and `icons`.
pub(super) fn find_new_text(kind: Kind, then: &Object<'_>, now: &Object<'_>) -> Option<String> {
    let is_read = |key: &str| key != kind.key() && !matches!(key, "_meta" | "icons");
    let mut known = HashSet::default();
    for (_, value) in then.iter().filter(|(key, _)| is_read(key)) {
        known.extend(strings(value).map(|(text, _)| text));
    }
    let members = now.iter().filter(|(key, _)| is_read(key));
    let mut texts = members.flat_map(|(key, value)| {
        let key = is_words(key).then_some(Cow::Borrowed(key));
        let found = strings(value).filter(|(text, is_text)| *is_text || is_words(text));
        key.into_iter().chain(found.map(|(text, _)| text))
    });
    let new = texts.find(|text| !known.contains(text))?;
    Some(new.into_owned())
}

/// Returns whether a text reads like words of any language.
fn is_words(text: &str) -> bool {
    text.len() > NAME || text.contains(|c: char| c.is_whitespace() || !c.is_ascii())
}

/// The strings of JSON text, keys included, in one pass; and whether each is the value of a
/// `description` or a `title`.
fn strings(json: &str) -> impl Iterator<Item = (Cow<'_, str>, bool)> {
    let (mut rest, mut is_text) = (json, false);
    std::iter::from_fn(move || {
        let from = rest.find('"')?;
        let literal = rest.get(from..)?;
        let end = literal_end(literal);
        let (literal, after) = literal.split_at_checked(end)?;
        rest = after;
        // Half a character is a text too.
        let text = json::string(literal).unwrap_or(Cow::Borrowed(literal));
        if after.trim_start().starts_with(':') {
            is_text = matches!(&*text, "description" | "title");
            return Some((text, false));
        }
        Some((text, std::mem::take(&mut is_text)))
    })
}

/// Where a string literal ends that the text begins with.
fn literal_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
