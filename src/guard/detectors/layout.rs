//! Reads a value in a layout of `super::kinds`.

use super::boundary::{self, Separator, separator};

/// The most characters of a value, without separators.
pub(super) const MOST: usize = 40;

/// The letters and digits of a value, letters in capitals.
pub(super) struct CompactValue {
    bytes: [u8; MOST],
    length: usize,
}

impl CompactValue {
    /// Returns a value without characters.
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; MOST],
            length: 0,
        }
    }

    /// Adds a character, if there is room.
    pub(super) fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = byte.to_ascii_uppercase();
        self.length += 1;
        Some(())
    }

    /// Returns the characters.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Reads the value that begins at a place, and returns it with its end, if it has the layout and
/// ends where a word ends.
pub(super) fn read(layout: &str, text: &str, start: usize) -> Option<(CompactValue, usize)> {
    let bytes = text.as_bytes();
    let (mut at, mut value, mut separators) = (start, CompactValue::new(), None::<Separator>);
    for wanted in layout.bytes() {
        if wanted.is_ascii_alphanumeric() {
            let byte = *bytes.get(at)?;
            let fits = match wanted {
                b'9' => byte.is_ascii_digit(),
                b'A' => byte.is_ascii_alphabetic(),
                b'X' => byte.is_ascii_alphanumeric(),
                letter => byte.eq_ignore_ascii_case(&letter),
            };
            if !fits {
                return None;
            }
            value.push(byte)?;
            at += 1;
            continue;
        }
        if wanted == b'+' {
            (*bytes.get(at)? == b'+').then_some(())?;
            at += 1;
            continue;
        }
        let (found, length) = separator(bytes, at)?;
        let fits = match wanted {
            b'-' => found == Separator::Dash,
            b'.' => found == Separator::Dot,
            b'/' => found == Separator::Slash,
            b'_' => found == Separator::Space,
            _ => found != Separator::Slash && separators.is_none_or(|first| first == found),
        };
        if !fits {
            return None;
        }
        if wanted == b' ' {
            separators = Some(found);
        }
        at += length;
    }
    let is_whole = boundary::may_end(text, at) && boundary::may_begin(text, start);
    (is_whole && !boundary::is_part_of_more(bytes, start, at)).then_some((value, at))
}

/// The characters after the first group of a layout, or after a word: a separator, and the first character behind it.
/// It tells at a glance that most words begin no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Following {
    /// Kinds of separators; none where nothing follows, or nothing that tells anything.
    separators: u8,
    /// Kinds of characters behind it.
    characters: u8,
}

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const ANY: u8 = 0xFF;

fn bit(separator: Separator) -> u8 {
    1 << separator as u8
}

impl Following {
    /// Returns what follows the first group of a layout.
    pub(super) fn of(layout: &str) -> Self {
        let mut rest = layout.bytes();
        let separator = rest.find(|wanted| !wanted.is_ascii_alphanumeric());
        let separators = match separator {
            None | Some(b'+') => 0,
            Some(b'-') => bit(Separator::Dash),
            Some(b'.') => bit(Separator::Dot),
            Some(b'/') => bit(Separator::Slash),
            Some(b'_') => bit(Separator::Space),
            Some(_) => ANY & !bit(Separator::Slash),
        };
        let characters = match rest.next() {
            Some(b'9') => DIGIT,
            Some(b'X') => DIGIT | LETTER,
            Some(letter) if letter.is_ascii_alphabetic() => LETTER,
            _ => ANY,
        };
        Self {
            separators,
            characters,
        }
    }

    /// Returns what follows a word that ends here.
    pub(super) fn found(bytes: &[u8], end: usize) -> Self {
        let found = separator(bytes, end);
        let length = found.map_or(0, |(_, length)| length);
        let characters = match bytes.get(end + length) {
            Some(byte) if byte.is_ascii_digit() => DIGIT,
            Some(byte) if byte.is_ascii_alphabetic() => LETTER,
            // A separator may stand there: of that nothing is said here.
            _ => ANY & !(DIGIT | LETTER),
        };
        Self {
            separators: found.map_or(0, |(separator, _)| bit(separator)),
            characters,
        }
    }

    /// Returns whether a layout may fit where that was found.
    pub(super) fn may_be(self, found: Self) -> bool {
        self.separators == 0
            || self.separators & found.separators != 0 && self.characters & found.characters != 0
    }
}

/// Returns the length of the first group of a layout, and whether it may be digits alone, and
/// whether it may have letters.
pub(super) fn first_group(layout: &str) -> (usize, bool, bool) {
    let group = layout.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let group = group.unwrap_or_default();
    let may_be_digits = group.bytes().all(|c| matches!(c, b'9' | b'X'));
    let may_have_letters = group.bytes().any(|c| c != b'9');
    (group.len(), may_be_digits, may_have_letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(layout: &str, text: &str) -> Option<String> {
        let (value, end) = read(layout, text, 0)?;
        assert!(boundary::may_end(text, end));
        Some(String::from_utf8(value.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_space_stands_for_one_kind_of_separator() {
        for text in ["12 34 5", "12-34-5", "12.34.5", "12\u{a0}34\u{202f}5"] {
            assert_eq!(value("99 99 9", text).as_deref(), Some("12345"), "{text}");
        }
        for text in [
            "12 34-5",
            "12345",
            "12  34 5",
            "12/34/5",
            "12 34 56",
            "12 34 5é",
        ] {
            assert_eq!(value("99 99 9", text), None, "{text}");
        }
    }

    #[test]
    fn other_characters_stand_for_their_kind() {
        assert_eq!(value("aA-9X", "aB-1c").as_deref(), Some("AB1C"));
        assert_eq!(value("aA-9X", "bB-1c"), None);
        assert_eq!(value("99/9", "12/3").as_deref(), Some("123"));
        assert_eq!(value("99/9", "12/3/4"), None, "a date goes on");
        let follows = |layout: &str, text: &str| {
            Following::of(layout).may_be(Following::found(text.as_bytes(), 2))
        };
        for (layout, text) in [
            ("99", "12 x"),
            ("99 9", "12.3"),
            ("99 9", "12\u{a0}3"),
            ("99-A", "12-b"),
            ("99-X", "12-3"),
            ("99_X", "12 x"),
            ("99/9", "12/3"),
            ("99+9", "12+3"),
        ] {
            assert!(follows(layout, text), "{layout} {text}");
        }
        for (layout, text) in [
            ("99 9", "12/3"),
            ("99 9", "12 x"),
            ("99 9", "12"),
            ("99-A", "12-3"),
            ("99_9", "12-3"),
        ] {
            assert!(!follows(layout, text), "{layout} {text}");
        }
        assert_eq!(first_group("99-9"), (2, true, false));
        assert_eq!(first_group("AX 9"), (2, false, true));
        assert_eq!(first_group("XX"), (2, true, true));
    }
}
