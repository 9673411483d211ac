//! Control characters, and characters in which text can be hidden from people, in the strings of a
//! JSON text.
//!
//! The text is read as it is written: raw characters and escapes (`\u200b`, surrogate pairs) count
//! alike. Removing one cuts its bytes out and leaves every other byte as it is. Which characters
//! those are is decided in [`printable`]; what scripts and emoji need is text all the same:
//! - line ends and tabs;
//! - marks of direction (U+200E, U+200F, U+061C) and the soft hyphen, which hide and turn nothing;
//! - a joiner (U+200C, U+200D) or one variation selector after a character beyond Latin, as in
//!   Persian, Hindi, and emoji of several parts;
//! - the tags of a flag: three to six after U+1F3F4, with their end (Unicode TS 51, ED-14a).

use std::borrow::Cow;

use crate::printable;

/// The characters found in a JSON text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvisibleCount {
    /// Characters in strings that are values.
    pub in_values: usize,
    /// Characters in strings that are names of members.
    pub in_names: usize,
}

impl InvisibleCount {
    /// Returns whether there is nothing.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.in_values == 0 && self.in_names == 0
    }
}

/// Counts the characters in the strings of a JSON text, in linear time. Text that is no JSON has
/// what can be read of it counted.
#[must_use]
pub fn count(json: &str) -> InvisibleCount {
    scan(json, None)
}

/// Returns the JSON text without such characters in its values, and what it had. Names of members
/// stay: without them two could be the same.
#[must_use]
pub fn remove(json: &str) -> (Cow<'_, str>, InvisibleCount) {
    let found = count(json);
    if found.in_values == 0 {
        return (Cow::Borrowed(json), found);
    }
    let mut kept = Kept {
        out: String::with_capacity(json.len()),
        from: 0,
    };
    scan(json, Some(&mut kept));
    let rest = json.get(kept.from..).unwrap_or_default();
    kept.out.push_str(rest);
    (Cow::Owned(kept.out), found)
}

/// The text that stays, up to a position.
struct Kept {
    out: String,
    from: usize,
}

impl Kept {
    fn cut(&mut self, json: &str, cuts: &[(usize, usize)]) {
        for (from, to) in cuts {
            self.out
                .push_str(json.get(self.from..*from).unwrap_or_default());
            self.from = *to;
        }
    }
}

/// Looks at every string. The characters of values are cut out of `kept`.
fn scan(json: &str, mut kept: Option<&mut Kept>) -> InvisibleCount {
    let bytes = json.as_bytes();
    let mut found = InvisibleCount::default();
    let mut at = 0;
    // Most texts have none of it: nothing but printable ASCII, and no escape of a code unit.
    if is_plain(bytes) {
        return found;
    }
    let mut cuts = Vec::new();
    while let Some(start) = memchr::memchr(b'"', bytes.get(at..).unwrap_or_default()) {
        let start = at + start + 1;
        cuts.clear();
        let (end, number) = scan_string(json, start, kept.is_some().then_some(&mut cuts));
        at = end + 1;
        let rest = bytes.get(at..).unwrap_or_default();
        let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        if next == Some(&b':') {
            found.in_names += number;
            continue;
        }
        found.in_values += number;
        if let Some(kept) = &mut kept {
            kept.cut(json, &cuts);
        }
    }
    found
}

/// Returns whether a JSON text can have nothing of it.
fn is_plain(bytes: &[u8]) -> bool {
    let odd = |byte: &u8| *byte >= 0x7f;
    !bytes.iter().any(odd) && memchr::memmem::find(bytes, b"\\").is_none()
}

/// Looks at the string that begins at `start`, after its quotes. Returns the position of the quotes
/// at its end, and how many characters there are; their places go to `cuts`.
fn scan_string(
    json: &str,
    start: usize,
    mut cuts: Option<&mut Vec<(usize, usize)>>,
) -> (usize, usize) {
    let mut number = 0;
    let mut context = Context::default();
    let mut at = start;
    loop {
        let Some((c, length)) = next_character(json, at) else {
            return (at, number);
        };
        if context.is_hidden(c, json, at + length) {
            number += 1;
            if let Some(cuts) = &mut cuts {
                cuts.push((at, at + length));
            }
        }
        at += length;
    }
}

/// Returns the character of a string at a position, and how many bytes it is written with; `None` at
/// the end of the string. A lone surrogate is U+FFFD.
fn next_character(json: &str, at: usize) -> Option<(char, usize)> {
    let rest = json.get(at..)?;
    let c = rest.chars().next()?;
    match c {
        '"' => None,
        '\\' => Some(escaped(rest)),
        _ => Some((c, c.len_utf8())),
    }
}

/// Reads an escape (RFC 8259 §7).
fn escaped(rest: &str) -> (char, usize) {
    let Some(letter) = rest.chars().nth(1) else {
        return ('\\', 1);
    };
    let plain = match letter {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return escaped_unit(rest),
        other => other,
    };
    (plain, 1 + letter.len_utf8())
}

/// Reads `\uXXXX`, or two that are a surrogate pair.
fn escaped_unit(rest: &str) -> (char, usize) {
    let Some(first) = code_unit(rest, 0) else {
        return (char::REPLACEMENT_CHARACTER, 2);
    };
    if let Some(c) = char::from_u32(u32::from(first)) {
        return (c, 6);
    }
    let pair = code_unit(rest, 6).map(|second| [first, second]);
    let pair = pair.and_then(|pair| char::decode_utf16(pair).next()?.ok());
    pair.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12))
}

fn code_unit(rest: &str, at: usize) -> Option<u16> {
    let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

/// The characters before one.
#[derive(Default)]
struct Context {
    /// The last one that is read.
    base: Option<char>,
    /// Whether a variation selector came after it.
    has_selector: bool,
    /// Whether a joiner came after it.
    is_joined: bool,
    /// How many tags of a flag are still to come.
    tags: usize,
}

impl Context {
    /// Returns whether a character hides. What follows it begins at `next`.
    fn is_hidden(&mut self, c: char, json: &str, next: usize) -> bool {
        match c {
            '\t' | '\n' | '\r' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{ad}' => false,
            '\u{200c}' | '\u{200d}' => {
                let is_text = !self.is_joined && self.base.is_some_and(takes_joiners);
                self.is_joined = true;
                !is_text
            }
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {
                let is_free = !self.has_selector && !self.is_joined;
                let is_text = is_free && self.base.is_some_and(takes_joiners);
                self.has_selector = true;
                !is_text
            }
            '\u{e0020}'..='\u{e007f}' if self.tags > 0 => {
                self.tags -= 1;
                false
            }
            c if printable::is_harmless(c) => {
                let tags = match c {
                    '\u{1f3f4}' => count_tags(json, next),
                    _ => 0,
                };
                *self = Self {
                    base: Some(c),
                    tags,
                    ..Self::default()
                };
                false
            }
            _ => true,
        }
    }
}

/// Returns whether joiners and selectors mean something after a character: beyond Latin, or in a
/// keycap.
fn takes_joiners(base: char) -> bool {
    base >= '\u{250}' || base.is_ascii_digit() || matches!(base, '#' | '*' | '©' | '®')
}

/// Returns how many tags of a flag come, their end included; 0 if they are none.
fn count_tags(json: &str, mut at: usize) -> usize {
    for number in 0..=6 {
        match next_character(json, at) {
            Some(('\u{e007f}', _)) if number >= 3 => return number + 1,
            Some(('\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}', length)) => at += length,
            Some(_) | None => return 0,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A JSON object with a text under `a`, written raw and with escapes.
    fn both(text: &str) -> [String; 2] {
        let raw = serde_json::to_string(text).unwrap();
        let units: String = text.encode_utf16().map(|u| format!("\\u{u:04X}")).collect();
        [
            format!("{{\"a\": {raw} , \"b\":1e400}}"),
            format!("{{\"a\":\"{units}\"}}"),
        ]
    }

    #[test]
    fn what_hides_is_found_raw_and_escaped_and_cut_out_alone() {
        for (text, without) in [
            ("a\u{200b}b", "ab"),
            ("pay\u{202e}001\u{202c}", "pay001"),
            ("x\u{e0069}\u{e0067}\u{e006e}y", "xy"),
            ("a\u{1b}[31mb", "a[31mb"),
            ("\u{feff}a\u{2060}", "a"),
            ("a\u{85}b\u{7f}", "ab"),
            ("a\u{200d}b", "ab"),
            // Bytes hidden in a row of variation selectors.
            ("😀\u{e0110}\u{e0121}\u{e0132}", "😀\u{e0110}"),
        ] {
            for json in both(text) {
                let (kept, found) = remove(&json);
                let value: serde_json::Value =
                    serde_json::from_str(&kept.replace("1e400", "1")).unwrap();
                assert_eq!(value["a"], without, "{json}");
                let number = text.chars().count() - without.chars().count();
                assert_eq!((found.in_values, found.in_names), (number, 0), "{json}");
                assert_eq!(count(&json), found);
            }
        }
    }

    #[test]
    fn what_scripts_and_emoji_need_stays() {
        for text in [
            "two\nlines\tand\r\n",
            "می‌خواهم",
            "क्‍ष",
            "👩‍👩‍👧 ❤️ ❤️‍🔥 1️⃣ 🏳️‍🌈",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} flag",
            "שלום\u{200f} world",
            "葛\u{e0100}",
            "co\u{ad}operate",
            "plain \\ \" / text",
        ] {
            for json in both(text) {
                let (kept, found) = remove(&json);
                assert!(found.is_none(), "{json}: {found:?}");
                assert!(matches!(kept, Cow::Borrowed(_)));
            }
        }
    }

    #[test]
    fn names_of_members_are_counted_apart_and_stay() {
        let json = "{\"a\u{200b}\" : [\"b\u{200b}\"], \"c\\u200b\":{}}";
        let (kept, found) = remove(json);
        assert_eq!((found.in_names, found.in_values), (2, 1));
        assert_eq!(kept, "{\"a\u{200b}\" : [\"b\"], \"c\\u200b\":{}}");
    }

    #[test]
    fn what_is_no_json_costs_nothing_but_time() {
        for text in [
            "\"",
            "\"\\",
            "\"\\u12",
            "\\\"\u{200b}",
            "\"\\ud800\\u0041\"",
            "",
        ] {
            let _ = remove(text);
        }
    }

    proptest! {
        /// The rest has nothing of it, and a text without any does not change.
        #[test]
        fn nothing_is_left(text in "[a\u{200b}\u{200d}\u{202e}\u{e0061}\u{1f3f4}\u{fe0f}é\u{1b}\"\\\\]{0,20}") {
            for json in both(&text) {
                let (kept, found) = remove(&json);
                prop_assert_eq!(found.is_none(), kept == json.as_str());
                let again = serde_json::from_str::<serde_json::Value>(&kept.replace("1e400", "1"));
                prop_assert!(again.is_ok());
            }
        }
    }
}
