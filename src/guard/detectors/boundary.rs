//! The ends of values in text: what may stand before, between and after.

/// A kind of separator between groups of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// A space of any width.
    Space,
    /// A hyphen or a dash.
    Dash,
    /// A dot.
    Dot,
    /// A slash.
    Slash,
}

/// Returns the separator at a place, and its length in bytes.
pub(super) fn separator(bytes: &[u8], at: usize) -> Option<(Separator, usize)> {
    let rest = bytes.get(at..)?;
    Some(match rest {
        [b' ', ..] => (Separator::Space, 1),
        [b'-', ..] => (Separator::Dash, 1),
        [b'.', ..] => (Separator::Dot, 1),
        [b'/', ..] => (Separator::Slash, 1),
        // U+00A0, no-break space.
        [0xC2, 0xA0, ..] => (Separator::Space, 2),
        // U+2000 to U+200A and U+202F: spaces that differ in width.
        [0xE2, 0x80, 0x80..=0x8A | 0xAF, ..] => (Separator::Space, 3),
        // U+2010 to U+2015: hyphens and dashes. U+2212: minus.
        [0xE2, 0x80, 0x90..=0x95, ..] | [0xE2, 0x88, 0x92, ..] => (Separator::Dash, 3),
        // U+3000: the space of Chinese and Japanese.
        [0xE3, 0x80, 0x80, ..] => (Separator::Space, 3),
        _ => return None,
    })
}

/// Returns whether a value of letters and digits may begin at a place.
pub(super) fn may_begin(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    before.is_none_or(|c| !joins(c))
}

/// Returns whether a value of letters and digits may end at a place.
pub(super) fn may_end(text: &str, at: usize) -> bool {
    let after = text.get(at..).and_then(|text| text.chars().next());
    after.is_none_or(|c| !joins(c))
}

/// Returns whether a character makes one word with a letter or digit beside it. Scripts that write
/// without spaces do not.
fn joins(c: char) -> bool {
    c.is_alphanumeric() && !is_without_spaces(c)
}

/// Returns whether a character is of a script that writes words, or particles after numbers,
/// without a space between.
pub(super) fn is_without_spaces(c: char) -> bool {
    matches!(u32::from(c),
        // Thai, Lao, Tibetan, Burmese, Khmer.
        0x0E00..=0x109F | 0x1780..=0x17FF
        // Kana, Chinese characters, Korean.
        | 0x1100..=0x11FF | 0x2E80..=0xA4CF | 0xA960..=0xA97F | 0xAC00..=0xD7FF
        | 0xF900..=0xFAFF | 0xFF66..=0xFFDC | 0x20000..=0x3FFFF)
}

/// Returns whether digits at a place go on with more of the same number: a decimal, a version, a
/// date, a part of a UUID.
pub(super) fn is_part_of_more(bytes: &[u8], start: usize, end: usize) -> bool {
    goes_on_before(bytes, start) || goes_on_after(bytes, end)
}

fn goes_on_before(bytes: &[u8], start: usize) -> bool {
    const LOOK: usize = 12;
    let before = bytes.get(..start).unwrap_or_default();
    match before.split_last() {
        Some((b'+' | b'$', _)) => true,
        Some((b'-' | b'.' | b'/', before)) => before
            .iter()
            .rev()
            .take(LOOK)
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .any(u8::is_ascii_digit),
        _ => false,
    }
}

fn goes_on_after(bytes: &[u8], end: usize) -> bool {
    match bytes.get(end..).unwrap_or_default() {
        [b'.' | b'/' | b'-', next, ..] => next.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scripts_without_spaces_end_where_digits_begin() {
        for text in ["電話は1", "โทร1", "번호1", " 1", "(1", "_1", "1"] {
            assert!(may_begin(text, text.len() - 1), "{text}");
        }
        for text in ["é1", "ж1", "ß1", "a1", "91"] {
            assert!(!may_begin(text, text.len() - 1), "{text}");
        }
        assert!(may_end("1です", 1) && may_end("1입니다", 1) && !may_end("1é", 1));
    }

    #[test]
    fn separators_are_those_that_people_write() {
        for text in [" ", "\u{a0}", "\u{202f}", "\u{2009}", "\u{3000}"] {
            let found = separator(text.as_bytes(), 0);
            assert_eq!(found, Some((Separator::Space, text.len())));
        }
        for text in ["-", "\u{2010}", "\u{2011}", "\u{2013}", "\u{2212}"] {
            let found = separator(text.as_bytes(), 0);
            assert_eq!(found, Some((Separator::Dash, text.len())));
        }
        assert_eq!(separator("ä".as_bytes(), 0), None);
    }
}
