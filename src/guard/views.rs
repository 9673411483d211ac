//! Text that is encoded within a string: percent-encoded, as in URLs, escaped as in JSON that is
//! quoted in prose, or with character references of HTML. Values are found in what it stands for.
//! Text that is encoded several times over counts too: JSON in JSON that is quoted in prose.

use std::ops::Range;

use memchr::memchr3_iter;

/// How often a character may be encoded.
const LAYERS: usize = 4;
/// The most backslashes of one escape.
const SIGNS: usize = 15;

/// A text with its encoded characters decoded, and where each part of it came from.
#[derive(Debug)]
pub(super) struct DecodedView {
    pub(super) text: String,
    /// The characters that were encoded, in order: where each is in the view and in the original.
    decoded: Vec<DecodedChar>,
}

#[derive(Debug)]
struct DecodedChar {
    view: Range<usize>,
    original: Range<usize>,
}

impl DecodedView {
    /// Decodes a text; `None` if nothing in it is encoded.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut view: Option<Self> = None;
        let mut copied = 0;
        for at in memchr3_iter(b'%', b'\\', b'&', text.as_bytes()) {
            if at < copied {
                continue;
            }
            let Some((decoded, length)) = text.get(at..).and_then(decode) else {
                continue;
            };
            let view = view.get_or_insert_with(|| Self {
                text: String::with_capacity(text.len()),
                decoded: Vec::new(),
            });
            view.text.push_str(text.get(copied..at).unwrap_or_default());
            let begin = view.text.len();
            view.text.push(decoded);
            view.decoded.push(DecodedChar {
                view: begin..view.text.len(),
                original: at..at + length,
            });
            copied = at + length;
        }
        let mut view = view?;
        view.text.push_str(text.get(copied..).unwrap_or_default());
        Some(view)
    }

    /// Returns the part of the original that a part of the view came from.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        self.place(range.start, |char| char.original.start)
            ..self.place(range.end, |char| char.original.end)
    }

    /// Returns where a part begins that does not begin in the middle of an encoded character, as the
    /// `n` of `\n` would: after it. Digits are never left out, as they may be part of a value.
    pub(super) fn after_encoded(&self, original: &str, at: usize) -> usize {
        let after = self
            .decoded
            .partition_point(|char| char.original.start < at);
        let before = after.checked_sub(1).and_then(|last| self.decoded.get(last));
        let is_digit = original.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        match before {
            Some(char) if at < char.original.end && !is_digit => char.original.end,
            _ => at,
        }
    }

    /// Returns where an end of a part is in the original. `inside` decides for one inside of a
    /// character.
    fn place(&self, at: usize, inside: fn(&DecodedChar) -> usize) -> usize {
        let after = self.decoded.partition_point(|char| char.view.start < at);
        let Some(before) = after.checked_sub(1).and_then(|last| self.decoded.get(last)) else {
            return at;
        };
        match at.checked_sub(before.view.end) {
            Some(distance) => before.original.end + distance,
            None => inside(before),
        }
    }
}

/// Decodes the character at the beginning of a text, and returns how many bytes encode it.
fn decode(text: &str) -> Option<(char, usize)> {
    match text.as_bytes().first()? {
        b'%' => decode_percent(text),
        b'\\' => decode_escape(text),
        _ => decode_reference(text),
    }
}

/// `%40`, and up to four of them for one character of UTF-8 (RFC 3986 §2.1).
fn decode_percent(text: &str) -> Option<(char, usize)> {
    let (first, mut length) = percent_byte(text)?;
    let mut bytes = [first, 0, 0, 0];
    for count in 1..=4 {
        let (encoded, _) = bytes.split_at(count);
        if let Ok(decoded) = std::str::from_utf8(encoded) {
            return decoded.chars().next().map(|char| (char, length));
        }
        if let Some(next) = bytes.get_mut(count) {
            let (byte, more) = percent_byte(text.get(length..)?)?;
            (*next, length) = (byte, length + more);
        }
    }
    None
}

/// Reads `%40`, or `%2540`, which stands for it, and returns how many bytes encode it.
fn percent_byte(text: &str) -> Option<(u8, usize)> {
    let hex = |at: usize| {
        let digits = text.get(at..at + 2)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let mut at = text.starts_with('%').then_some(1)?;
    for _ in 0..LAYERS {
        if hex(at) == Some(b'%') && hex(at + 2).is_some() {
            at += 2;
        }
    }
    Some((hex(at)?, at + 2))
}

/// `\u0040`, `\ud83d\ude00`, `\n`, `\"`, each with any of the backslashes that JSON within JSON
/// needs: an odd one is an escape of its own, and those before it are backslashes.
fn decode_escape(text: &str) -> Option<(char, usize)> {
    let signs = text.bytes().take(SIGNS + 1);
    let signs = signs.take_while(|byte| *byte == b'\\').count();
    let rest = text.get(signs..).filter(|_| signs <= SIGNS)?;
    if signs > 1 && signs % 2 == 1 {
        return Some(('\\', 2));
    }
    let char = match rest.bytes().next()? {
        b'u' => return decode_units(text, signs),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' | b'f' => ' ',
        sign @ (b'"' | b'/') => char::from(sign),
        _ => return None,
    };
    Some((char, signs + 1))
}

/// One unit of UTF-16, or two, each after so many backslashes.
fn decode_units(text: &str, signs: usize) -> Option<(char, usize)> {
    let length = signs + 5;
    let unit = |at: usize| {
        let escape = text.get(at..at + signs)?;
        let digits = text.get(at + signs..at + length)?.strip_prefix('u')?;
        let is_legal = escape.bytes().all(|byte| byte == b'\\')
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_legal)
    };
    let first = unit(0)?;
    if let Some(char) = char::from_u32(u32::from(first)) {
        return Some((char, length));
    }
    let pair = [first, unit(length)?];
    let char = char::decode_utf16(pair).next()?.ok()?;
    Some((char, 2 * length))
}

/// `&#64;`, `&#x40;`, and the names of signs that are in addresses.
fn decode_reference(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 8] = [
        ("commat;", '@'),
        ("period;", '.'),
        ("lowbar;", '_'),
        ("hyphen;", '-'),
        ("plus;", '+'),
        ("colon;", ':'),
        ("nbsp;", '\u{a0}'),
        ("sol;", '/'),
    ];
    let mut inside = text.strip_prefix('&')?;
    for _ in 0..LAYERS {
        inside = inside.strip_prefix("amp;").unwrap_or(inside);
    }
    let signs = text.len() - inside.len();
    if let Some(number) = inside.strip_prefix('#') {
        let end = number.bytes().take(9).position(|byte| byte == b';')?;
        let digits = number.get(..end)?;
        let code = match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let char = code.ok().and_then(char::from_u32)?;
        return Some((char, signs + end + 2));
    }
    let mut names = NAMES.iter();
    let (name, char) = names.find(|(name, _)| inside.starts_with(name))?;
    Some((*char, signs + name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_view_lead_back_to_what_encodes_them() {
        let text = r"to ann%40x.example, \u0061nn&#64;x.example &commat; 100% %zz %C3%A9&amp;";
        let view = DecodedView::of(text).unwrap();
        assert_eq!(
            view.text,
            "to ann@x.example, ann@x.example @ 100% %zz é&amp;"
        );
        let original = |part: &str| {
            let found = view.text.match_indices(part);
            let ranges = found.map(|(at, _)| view.original(&(at..at + part.len())));
            ranges.map(|range| &text[range]).collect::<Vec<_>>()
        };
        assert_eq!(
            original("ann@x.example"),
            ["ann%40x.example", r"\u0061nn&#64;x.example"]
        );
        assert_eq!(original("to"), ["to"]);
        assert_eq!(original("é"), ["%C3%A9"]);
        assert_eq!(original("&amp;"), ["&amp;"]);
        assert_eq!(original("100%"), ["100%"]);
        assert!(DecodedView::of("plain 100% & \\ text").is_none());
    }

    #[test]
    fn what_is_encoded_several_times_over_is_decoded() {
        for (text, expected) in [
            (r#"a\\nb\\\\u0040\\\"c"#, "a\nb@\\\"c"),
            (r"\\ud83d\\ude00 \ud83d\ude00 \ud83d", "😀 😀 \\ud83d"),
            ("%2540 %252540 %25zz %25", "@ @ %zz %"),
            ("&amp;#64; &amp;amp;commat; &amp;", "@ @ &amp;"),
        ] {
            assert_eq!(DecodedView::of(text).unwrap().text, expected, "{text}");
        }
        let signs = "\\".repeat(100_000);
        let row = DecodedView::of(&signs).unwrap().text.len();
        assert!((99_990..100_000).contains(&row), "only the last of them");
    }

    #[test]
    fn no_part_begins_in_the_middle_of_an_escape() {
        let text = r"\nann@x \\u00e9bob \u4111";
        let view = DecodedView::of(text).unwrap();
        let after = |part: &str| {
            let at = text.find(part).unwrap();
            &text[view.after_encoded(text, at)..][..3]
        };
        assert_eq!(after("nann"), "ann");
        assert_eq!(after("u00e9"), "bob");
        assert_eq!(after("4111"), "411");
        assert_eq!(after("ann@"), "ann");
    }
}
