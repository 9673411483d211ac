//! Text that is encoded within a string: percent-encoded, as in URLs, escaped as in JSON that is
//! quoted in prose, or with character references of HTML. Values are found in what it stands for.

use std::ops::Range;

use memchr::memchr3_iter;

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
    let byte = |at: usize| -> Option<u8> {
        let digits = text.get(3 * at..3 * at + 3)?.strip_prefix('%')?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let mut bytes = [byte(0)?, 0, 0, 0];
    for length in 1..=4 {
        let (encoded, _) = bytes.split_at(length);
        if let Ok(text) = std::str::from_utf8(encoded) {
            return text.chars().next().map(|char| (char, 3 * length));
        }
        if let Some(next) = bytes.get_mut(length) {
            *next = byte(length)?;
        }
    }
    None
}

/// `\u0040`
fn decode_escape(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    char::from_u32(unit).map(|char| (char, 6))
}

/// `&#64;`, `&#x40;`, and the names of signs that are in addresses.
fn decode_reference(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 8] = [
        ("&commat;", '@'),
        ("&period;", '.'),
        ("&lowbar;", '_'),
        ("&hyphen;", '-'),
        ("&plus;", '+'),
        ("&colon;", ':'),
        ("&nbsp;", '\u{a0}'),
        ("&sol;", '/'),
    ];
    if let Some(number) = text.strip_prefix("&#") {
        let end = number.bytes().take(9).position(|byte| byte == b';')?;
        let digits = number.get(..end)?;
        let code = match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let char = code.ok().and_then(char::from_u32)?;
        return Some((char, end + 3));
    }
    let mut names = NAMES.iter();
    let (name, char) = names.find(|(name, _)| text.starts_with(name))?;
    Some((*char, name.len()))
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
}
