//! Finds words that have the form of a pseudonym, as models and programs write them.

use std::collections::BTreeMap;
use std::ops::Range;

use memchr::memchr3_iter;

use crate::classes::{Class, PSEUDONYM_DOMAIN};

use super::base32;
use super::pseudonym::{Found, ID};

/// The characters of a stored body, and the fewest and most of a sealed one: 2 bytes of a head, 16
/// of authentication and the value.
const STORED: usize = 16;
const FEWEST_SEALED: usize = 30;
const MOST_SEALED: usize = 1_700;
/// The most characters of a body in the id under which records name it.
const MOST_ID: usize = 26;
/// The most characters of a word of a class.
const MOST_WORD: usize = 64;

/// Returns the length of a `_` at a place, as it is written: for HTML and URLs too.
fn underscore(text: &[u8]) -> Option<usize> {
    const FORMS: [&[u8]; 5] = [b"_", b"%5F", b"%5f", b"&#95;", b"&lowbar;"];
    let found = FORMS.iter().find(|form| text.starts_with(form))?;
    Some(found.len())
}

/// Finds the pseudonyms of these classes.
pub(super) fn find(text: &str, words: &BTreeMap<String, Class>) -> Vec<Found> {
    let bytes = text.as_bytes();
    let mut found: Vec<Found> = Vec::new();
    for at in memchr3_iter(b'_', b'%', b'&', bytes) {
        let from = found.last().map_or(0, |last| last.range.end);
        if at < from {
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(length) = underscore(rest)
            && let Some(pseudonym) = read(text, from, at..at + length, words)
        {
            found.push(pseudonym);
        }
    }
    found
}

/// Reads the pseudonym around a `_`.
fn read(
    text: &str,
    from: usize,
    underscore: Range<usize>,
    words: &BTreeMap<String, Class>,
) -> Option<Found> {
    let rest = text.get(underscore.end..)?.as_bytes();
    let length = rest
        .iter()
        .take(MOST_SEALED + 1)
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let is_stored = length == STORED;
    if !is_stored && !(FEWEST_SEALED..=MOST_SEALED).contains(&length) {
        return None;
    }
    let end = underscore.end + length;
    let body = base32::decode(text.get(underscore.end..end)?)?;
    if is_stored != (body.len() == ID) {
        return None;
    }
    let (start, class) = class_before(text, from, underscore.start, words)?;
    let id = id_of(&class, text.get(underscore.end..end)?);
    let range = start..end + domain(text.get(end..)?);
    Some(Found {
        range,
        class,
        body,
        id,
    })
}

/// Returns the id under which records name a pseudonym, however it is written: that of a long one
/// is its beginning.
pub(super) fn id_of(class: &Class, body: &str) -> String {
    let body = body
        .chars()
        .take(MOST_ID)
        .map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        });
    let mut id = class.word();
    id.push('_');
    id.extend(body);
    id
}

/// Returns the class whose word ends at a place, and where it begins: the longest, as in
/// `work_email_…`. A letter may stand right before it, as it stood before the value.
fn class_before(
    text: &str,
    from: usize,
    end: usize,
    words: &BTreeMap<String, Class>,
) -> Option<(usize, Class)> {
    let bytes = text.get(from..end)?.as_bytes();
    let (mut word, mut longest, mut ending) = (String::new(), None, None);
    let mut at = bytes.len();
    // Markdown: `email\_…`.
    at -= usize::from(bytes.ends_with(b"\\"));
    while word.len() < MOST_WORD {
        let before = bytes.get(..at)?;
        let (c, length) = match (before_underscore(before), before.last()) {
            (Some(length), _) => ('_', length),
            // `\nemail_…`, in JSON that is quoted in prose.
            (None, Some(_)) if is_json_escape(before) && class_of(&word, words).is_some() => break,
            (None, Some(byte)) if byte.is_ascii_alphanumeric() && !is_escape(before) => {
                (char::from(*byte), 1)
            }
            (None, _) => break,
        };
        if let Some(class) = class_of(&word, words) {
            ending = Some((from + at, class));
        }
        if c == '_' {
            longest = class_of(&word, words)
                .map(|class| (from + at, class))
                .or(longest);
        }
        word.insert(0, c.to_ascii_lowercase());
        at -= length;
    }
    class_of(&word, words)
        .map(|class| (from + at, class))
        .or(longest)
        .or(ending)
}

fn class_of(word: &str, words: &BTreeMap<String, Class>) -> Option<Class> {
    words.get(word).cloned()
}

/// Returns the length of the `_` at the end of a text, with the sign before it that escapes it.
fn before_underscore(before: &[u8]) -> Option<usize> {
    const FORMS: [&[u8]; 6] = [b"\\_", b"_", b"%5F", b"%5f", b"&#95;", b"&lowbar;"];
    let found = FORMS.iter().find(|form| before.ends_with(form))?;
    Some(found.len())
}

/// Returns whether a text ends with another character in percent-encoding.
fn is_escape(before: &[u8]) -> bool {
    matches!(before, [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// Returns whether a text ends with a character in an escape of JSON.
fn is_json_escape(before: &[u8]) -> bool {
    let [.., sign, letter] = before else {
        return false;
    };
    if let [.., b'\\', b'u', a, b, c, d] = before {
        return [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit());
    }
    *sign == b'\\' && b"nrtbf".contains(letter)
}

/// Returns the length of the domain of pseudonyms at the beginning of a text, with its `@`.
fn domain(text: &str) -> usize {
    let sign = ["@", "%40", "&#64;", "&commat;"]
        .into_iter()
        .find(|sign| text.starts_with(sign));
    let Some(sign) = sign else {
        return 0;
    };
    let domain = text.get(sign.len()..sign.len() + PSEUDONYM_DOMAIN.len());
    let is_ours = domain.is_some_and(|domain| domain.eq_ignore_ascii_case(PSEUDONYM_DOMAIN));
    if is_ours {
        sign.len() + PSEUDONYM_DOMAIN.len()
    } else {
        0
    }
}
