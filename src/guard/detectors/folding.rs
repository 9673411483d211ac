//! Digits of other scripts and invisible characters, as in `４１１１` or `41\u{200b}11`: text with
//! them is looked at as if it had been written without.

use std::ops::Range;

use super::search::Hit;

/// The bytes of a text in whose places values of one piece begin.
const PIECE: usize = 64 << 10;
/// The bytes before and after a piece that are looked at too.
const BEFORE: usize = 512;
const AFTER: usize = 16 << 10;

/// A piece of a text in other characters, with the way back to the places of the first.
pub(super) struct Folded {
    /// The text to look at.
    pub text: String,
    /// The character that each byte stands for, by where it begins and ends in the original.
    places: Vec<(u32, u32)>,
    /// Where the piece begins in the original.
    from: usize,
    /// Where values begin that are of this piece.
    own: Range<usize>,
}

/// Returns the character that one is looked at as: another, or none.
fn seen_as(c: char) -> Option<Option<char>> {
    let digit = |first: u32| char::from_digit(u32::from(c) - first, 10);
    Some(match u32::from(c) {
        // Soft hyphen, zero-width characters, marks of direction, variation selectors.
        0xAD
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x2064
        | 0x2066..=0x2069
        | 0xFEFF
        | 0xFE00..=0xFE0F => None,
        // Arabic, Persian, Devanagari, Bengali, Thai.
        0x0660..=0x0669 => digit(0x0660),
        0x06F0..=0x06F9 => digit(0x06F0),
        0x0966..=0x096F => digit(0x0966),
        0x09E6..=0x09EF => digit(0x09E6),
        0x0E50..=0x0E59 => digit(0x0E50),
        // Full width digits, letters, and the signs of addresses and telephone numbers.
        0xFF10..=0xFF19
        | 0xFF21..=0xFF3A
        | 0xFF41..=0xFF5A
        | 0xFF20
        | 0xFF08..=0xFF09
        | 0xFF0B
        | 0xFF0D..=0xFF0F
        | 0xFF3F => char::from_u32(u32::from(c) - 0xFEE0),
        _ => return None,
    })
}

/// Returns whether a text has characters that are looked at as others.
pub(super) fn is_needed(text: &str) -> bool {
    !text.is_ascii() && text.chars().any(|c| !c.is_ascii() && seen_as(c).is_some())
}

/// Returns the pieces of a text, as they are looked at: the memory for one is bounded.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Folded> {
    (0..text.len()).step_by(PIECE).map(|start| {
        let end = (start + PIECE).min(text.len());
        fold(text, start..end)
    })
}

fn fold(text: &str, own: Range<usize>) -> Folded {
    let from = text.floor_char_boundary(own.start.saturating_sub(BEFORE));
    let to = text.ceil_char_boundary((own.end + AFTER).min(text.len()));
    let piece = text.get(from..to).unwrap_or_default();
    let mut folded = Folded {
        text: String::with_capacity(piece.len()),
        places: Vec::with_capacity(piece.len()),
        from,
        own,
    };
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    for (at, c) in piece.char_indices() {
        let seen = match seen_as(c) {
            Some(None) => continue,
            Some(Some(other)) => other,
            // In Japanese, the sign of a long vowel often stands for a dash.
            None if c == 'ー' => '-',
            None => c,
        };
        folded.text.push(seen);
        let here = (place(at), place(at + c.len_utf8()));
        folded.places.resize(folded.text.len(), here);
    }
    folded
}

impl Folded {
    /// Returns a hit at its place in the original, if it is of this piece.
    pub(super) fn place(&self, hit: Hit) -> Option<Hit> {
        let (start, _) = self.places.get(hit.start)?;
        let (_, end) = self.places.get(hit.end.checked_sub(1)?)?;
        let start = self.from + usize::try_from(*start).ok()?;
        let end = self.from + usize::try_from(*end).ok()?;
        let is_own = self.own.contains(&start);
        is_own.then_some(Hit { start, end, ..hit })
    }
}
