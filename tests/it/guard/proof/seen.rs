//! Looks for planted values in all that others saw, in any form.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::super::planted::base64_forms;
use super::values::{DIGITS, MARKS};

/// The rounds of taking escapes away: a text may be escaped again.
const LAYERS: usize = 3;

/// Fails if a planted value is in bytes: as it is, in other case, escaped, percent-encoded, as character
/// references, in base64 or in hexadecimal digits, with or without separators, at several layers.
pub fn assert_none(bytes: &[u8], place: &str) {
    if let Some(found) = find(bytes) {
        panic!("{place} has a planted value: {found}");
    }
}

/// Returns what is found, with what is around it.
fn find(bytes: &[u8]) -> Option<String> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for _ in 0..LAYERS {
        if let Some(found) = find_here(&text) {
            return Some(found);
        }
        match unescaped(&text) {
            Cow::Owned(next) => text = next,
            Cow::Borrowed(_) => return None,
        }
    }
    None
}

fn around(text: &str, at: usize) -> String {
    let begin = text.floor_char_boundary(at.saturating_sub(600));
    let end = text.ceil_char_boundary((at + 300).min(text.len()));
    format!("…{}…", &text[begin..end])
}

/// Encoded forms of each mark, the marks in any case, and the digits.
static SEARCHES: LazyLock<[AhoCorasick; 3]> = LazyLock::new(|| {
    let spelled = MARKS.iter().chain(&DIGITS);
    let spelled = spelled.flat_map(|mark| [mark.to_string(), mark.to_uppercase(), capital(mark)]);
    let encoded = spelled.flat_map(|mark| {
        let hex = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = base64_forms(&STANDARD, &mark);
        forms.extend(base64_forms(&URL_SAFE, &mark));
        forms.push(hex);
        forms
    });
    let mut any_case = AhoCorasick::builder();
    any_case.ascii_case_insensitive(true);
    [
        AhoCorasick::new(encoded).unwrap(),
        any_case.build(MARKS).unwrap(),
        AhoCorasick::new(DIGITS).unwrap(),
    ]
});

fn find_here(text: &str) -> Option<String> {
    let [encoded, marks, digits] = &*SEARCHES;
    let found = encoded.find(text).or_else(|| marks.find(text));
    if let Some(found) = found {
        return Some(around(text, found.start()));
    }
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '\u{a0}' | '/');
    let joined: String = text.chars().filter(|c| !is_separator(*c)).collect();
    let found = digits.find(&joined)?;
    Some(around(&joined, found.start()))
}

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// Takes one layer of escapes away: `\u0061`, `%61`, `&#97;`, `&#x61;`.
fn unescaped(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    let mut is_changed = false;
    while let Some(at) = rest.find(['\\', '%', '&']) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let (char, length) = decode(after).unwrap_or_else(|| {
            let first = after.chars().next().unwrap();
            (first, first.len_utf8())
        });
        is_changed |= length > 1;
        out.push(char);
        rest = &after[length..];
    }
    if !is_changed {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn decode(text: &str) -> Option<(char, usize)> {
    let hex = |digits: &str| {
        u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
    };
    if let Some(rest) = text.strip_prefix("\\u") {
        return Some((hex(rest.get(..4)?)?, 6));
    }
    if let Some(rest) = text.strip_prefix("\\\\") {
        return Some(('\\', text.len() - rest.len()));
    }
    if let Some(rest) = text.strip_prefix('%') {
        return Some((hex(rest.get(..2)?)?, 3));
    }
    let rest = text.strip_prefix("&#")?;
    let (number, _) = rest.get(..rest.len().min(9))?.split_once(';')?;
    let char = match number.strip_prefix(['x', 'X']) {
        Some(digits) => hex(digits)?,
        None => char::from_u32(number.parse().ok()?)?,
    };
    Some((char, number.len() + 3))
}

/// Looks into every file of a folder and below it.
pub fn assert_no_file(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_file(&path);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            assert_none(&bytes, &path.display().to_string());
        }
    }
}

#[test]
fn a_planted_value_is_found_in_every_form() {
    let mail = "xx zanzibar.7@quagga.example.com";
    for form in [
        mail.to_owned(),
        mail.to_uppercase(),
        r"\u007aan\u007Aibar".to_owned(),
        r"\\u007aanzibar and so on".to_owned(),
        "%7Aanzi%62ar".to_owned(),
        "&#122;anzibar".to_owned(),
        "quag&#x67;a".to_owned(),
        STANDARD.encode(mail),
        STANDARD.encode(&mail[1..]),
        STANDARD.encode(&mail[2..]),
        URL_SAFE.encode(mail),
        "4539-5787-6300-0001".to_owned(),
        "DE89 3704 0044 0532 0130 00".to_owned(),
        "+49 30 555123001".to_owned(),
        "7a616e7a69626172".to_owned(),
    ] {
        assert!(find(form.as_bytes()).is_some(), "{form}");
    }
    let harmless = r"email_7k3qz0v5m2c8h1xt %40 & \n 4111 zan";
    assert_eq!(find(harmless.as_bytes()), None);
}
