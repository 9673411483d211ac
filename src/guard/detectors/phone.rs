//! Telephone numbers: with the code of a country (ITU-T E.164), or as people write them at home.
//!
//! There is no checksum. A number is taken for one if it is written as such numbers are, or stands
//! near a word that says so.

use super::boundary::{self, Separator, separator};
use super::search::{Evidence, TextSearch};
use super::words::WordSet;

/// The most digits (E.164 §6.2.1), and the most groups of them.
const DIGITS: usize = 15;
const GROUPS: usize = 8;

/// Groups of digits with separators between them.
struct Groups {
    /// The digits of each group, as numbers of characters.
    lengths: [usize; GROUPS],
    /// Where each group ends.
    ends: [usize; GROUPS],
    count: usize,
    digits: [u8; DIGITS],
    total: usize,
    /// Whether the first group stood in brackets.
    in_brackets: bool,
    /// Whether a single zero in brackets was left out: `+49 (0) 30`.
    separators: [Option<Separator>; GROUPS],
}

impl Groups {
    /// Reads groups of digits from a place on, which is a digit or an opening bracket.
    fn read(text: &str, start: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut groups = Self {
            lengths: [0; GROUPS],
            ends: [0; GROUPS],
            count: 0,
            digits: [0; DIGITS],
            total: 0,
            in_brackets: false,
            separators: [None; GROUPS],
        };
        let mut at = start;
        let mut before = None;
        while groups.count < GROUPS {
            let is_open = bytes.get(at) == Some(&b'(');
            let from = at + usize::from(is_open);
            let rest = bytes.get(from..)?;
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let is_closed = bytes.get(from + length) == Some(&b')');
            if length == 0 || is_open != is_closed && is_open {
                break;
            }
            let digits = rest.get(..length)?;
            let is_trunk = is_open && digits == b"0" && groups.count > 0;
            if !is_trunk {
                if groups.push(digits, from + length, before).is_none() {
                    break;
                }
                groups.in_brackets |= is_open && groups.count == 1;
            }
            at = from + length;
            if is_open {
                at += 1;
                if let Some(end) = groups.ends.get_mut(groups.count.saturating_sub(1))
                    && !is_trunk
                {
                    *end = at;
                }
            }
            // Letters go on: it is no number.
            if bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
                groups.pop();
                break;
            }
            let Some((next, length)) = Self::between(bytes, at, is_open) else {
                break;
            };
            before = next;
            at += length;
        }
        (groups.count > 0).then_some(groups)
    }

    /// Returns the separator between two groups and its length.
    fn between(bytes: &[u8], at: usize, after_bracket: bool) -> Option<(Option<Separator>, usize)> {
        let is_next = |at: usize| {
            bytes
                .get(at)
                .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'(')
        };
        if let Some((found, length)) = separator(bytes, at) {
            if is_next(at + length) {
                return Some((Some(found), length));
            }
            // ` - ` and `) / ` are in use too.
            let (second, more) = separator(bytes, at + length)?;
            let third = separator(bytes, at + length + more).map_or(0, |(_, third)| third);
            let is_spaced = found == Separator::Space && second != Separator::Space && third > 0;
            let all = length + more + third;
            return (is_spaced && is_next(at + all)).then_some((Some(second), all));
        }
        let is_joined = after_bracket && is_next(at) || bytes.get(at) == Some(&b'(') && is_next(at);
        is_joined.then_some((None, 0))
    }

    fn push(&mut self, digits: &[u8], end: usize, before: Option<Separator>) -> Option<()> {
        let room = self.digits.get_mut(self.total..self.total + digits.len())?;
        room.copy_from_slice(digits);
        *self.lengths.get_mut(self.count)? = digits.len();
        *self.ends.get_mut(self.count)? = end;
        *self.separators.get_mut(self.count)? = before;
        self.total += digits.len();
        self.count += 1;
        Some(())
    }

    fn pop(&mut self) {
        let Some(last) = self.count.checked_sub(1) else {
            return;
        };
        self.total -= self.lengths.get(last).copied().unwrap_or(0);
        self.count = last;
    }

    fn lengths(&self) -> &[usize] {
        self.lengths.get(..self.count).unwrap_or_default()
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.total).unwrap_or_default()
    }

    fn end(&self) -> Option<usize> {
        self.ends.get(self.count.checked_sub(1)?).copied()
    }

    /// Leaves out groups at the end until the number fits.
    fn shorten(&mut self, fits: impl Fn(&Self) -> bool) -> Option<usize> {
        while self.count > 0 {
            if fits(self) {
                return self.end();
            }
            self.pop();
        }
        None
    }
}

/// Looks for a number that begins with the digits at a place.
pub(super) fn find(search: &mut TextSearch<'_>, class: u16, digits: usize, words: &WordSet) {
    let bytes = search.bytes();
    let before = bytes.get(..digits).unwrap_or_default();
    let start = match before {
        [.., b'+' | b'('] => digits - 1,
        // `+(49)`.
        _ => digits,
    };
    let start = match bytes.get(..start).unwrap_or_default() {
        [.., b'+'] if start < digits && bytes.get(start) == Some(&b'(') => start - 1,
        _ => start,
    };
    if !boundary::may_begin(search.text, start) {
        return;
    }
    let is_abroad = bytes.get(start) == Some(&b'+');
    let from = if bytes.get(digits.wrapping_sub(1)) == Some(&b'(') {
        digits - 1
    } else {
        digits
    };
    let Some(mut groups) = Groups::read(search.text, from) else {
        return;
    };
    if is_abroad {
        if let Some(end) = groups.shorten(|groups| is_international(groups.digits(), true)) {
            end_at(search, class, start, end, Evidence::FormAndWord);
        }
        return;
    }
    let before = search.bytes().get(..start).unwrap_or_default();
    let is_more = matches!(before, [.., last, b'-' | b'.' | b'/' | b','] if last.is_ascii_digit());
    let is_price = matches!(before.last(), Some(b'$' | b'#')) && groups.count == 1;
    if is_more || is_price || follows_digits(before) {
        return;
    }
    if let Some(digits) = groups.digits().strip_prefix(b"00")
        && (groups.count > 1 || groups.total >= 11)
        && is_international(digits, false)
    {
        let fits = |groups: &Groups| {
            let digits = groups.digits().get(2..).unwrap_or_default();
            is_international(digits, false)
        };
        if let Some(end) = groups.shorten(fits) {
            end_at(search, class, start, end, Evidence::Form);
        }
        return;
    }
    let Some(end) = groups.shorten(|groups| (7..=13).contains(&groups.total)) else {
        return;
    };
    if is_home(&mut groups) {
        let end = groups.end().unwrap_or(end);
        end_at(search, class, start, end, Evidence::Guess);
    } else if is_plausible(&groups) && search.has_word(start, end, words) {
        end_at(search, class, start, end, Evidence::FormAndWord);
    }
}

/// Returns whether a longer word with digits stands before, as in an account number written in
/// groups.
fn follows_digits(before: &[u8]) -> bool {
    let Some((b' ', before)) = before.split_last() else {
        return false;
    };
    let word = before.iter().rev().take(12);
    let word = word.take_while(|byte| byte.is_ascii_alphanumeric());
    word.clone().any(u8::is_ascii_digit) && word.count() >= 3
}

fn end_at(search: &mut TextSearch<'_>, class: u16, start: usize, end: usize, evidence: Evidence) {
    let after = search.bytes().get(end..).unwrap_or_default();
    let goes_on = matches!(after, [b'.' | b'/' | b'-' | b':', next, ..] if next.is_ascii_digit());
    if boundary::may_end(search.text, end) && !goes_on {
        search.add(start, end, class, evidence);
    }
}

/// Returns whether digits are the code of a country and a number there. Not all codes are known.
fn is_international(digits: &[u8], or_unknown: bool) -> bool {
    /// Codes of countries with the fewest and the most digits that follow.
    const CODES: &[(&[u8], usize, usize)] = &[
        (b"1", 10, 10),
        (b"7", 10, 10),
        (b"20", 8, 10),
        (b"27", 9, 9),
        (b"30", 10, 10),
        (b"31", 9, 9),
        (b"32", 8, 9),
        (b"33", 9, 9),
        (b"34", 9, 9),
        (b"36", 8, 9),
        (b"39", 6, 11),
        (b"40", 9, 9),
        (b"41", 9, 9),
        (b"43", 4, 13),
        (b"44", 9, 10),
        (b"45", 8, 8),
        (b"46", 7, 10),
        (b"47", 8, 8),
        (b"48", 9, 9),
        (b"49", 6, 12),
        (b"52", 10, 10),
        (b"54", 10, 11),
        (b"55", 10, 11),
        (b"56", 9, 9),
        (b"57", 10, 10),
        (b"60", 8, 10),
        (b"61", 9, 9),
        (b"62", 8, 12),
        (b"63", 8, 10),
        (b"64", 8, 10),
        (b"65", 8, 8),
        (b"66", 8, 9),
        (b"81", 9, 10),
        (b"82", 8, 10),
        (b"84", 9, 10),
        (b"86", 9, 11),
        (b"90", 10, 10),
        (b"91", 10, 10),
        (b"351", 9, 9),
        (b"353", 7, 9),
        (b"358", 5, 12),
        (b"380", 9, 9),
        (b"420", 9, 9),
        (b"421", 9, 9),
        (b"852", 8, 8),
        (b"972", 8, 9),
    ];
    if !(8..=DIGITS).contains(&digits.len()) || digits.first() == Some(&b'0') {
        return false;
    }
    let known = CODES.iter().find(|(code, ..)| digits.starts_with(code));
    known.map_or(or_unknown, |(code, fewest, most)| {
        let rest = digits.len() - code.len();
        (*fewest..=*most).contains(&rest)
    })
}

/// Returns whether a number is written as one is at home: an area in brackets, three groups as in
/// North America, or a zero before the area.
fn is_home(groups: &mut Groups) -> bool {
    if groups.in_brackets {
        let area = groups.lengths().first().copied().unwrap_or(0);
        let is_area = matches!(area, 2 | 3) || groups.digits().first() == Some(&b'0') && area <= 6;
        return is_area && groups.count > 1 && (8..=12).contains(&groups.total);
    }
    is_north_american(groups) || has_trunk_zero(groups)
}

/// Returns whether three groups are area, exchange and line of the North American numbering plan.
fn is_north_american(groups: &mut Groups) -> bool {
    let is_code =
        |digits: Option<&[u8]>| digits.is_some_and(|digits| matches!(digits, [b'2'..=b'9', ..]));
    let from = match groups.lengths() {
        [1, 3, 3, 4, ..] if groups.digits().first() == Some(&b'1') => 1,
        [3, 3, 4, ..] => 0,
        _ => return false,
    };
    while groups.total > from + 10 {
        groups.pop();
    }
    let digits = groups.digits();
    // With spaces alone it could be many a number.
    let is_written = groups
        .separators
        .iter()
        .flatten()
        .any(|found| *found != Separator::Space);
    is_written && is_code(digits.get(from..)) && is_code(digits.get(from + 3..))
}

/// Returns whether a number begins with the zero of long distance and has several groups.
fn has_trunk_zero(groups: &mut Groups) -> bool {
    let is_zero = matches!(groups.digits(), [b'0', b'1'..=b'9', ..]);
    let area = groups.lengths().first().copied().unwrap_or(0);
    if !is_zero || !(2..=6).contains(&area) || groups.count < 2 || is_date(groups) {
        return false;
    }
    // Twelve digits at most; what follows is another number.
    while groups.total > 12 {
        groups.pop();
    }
    let is_group = |length: &usize| (2..=8).contains(length);
    groups.count > 1 && groups.total >= 9 && groups.lengths().iter().skip(1).all(is_group)
}

/// Returns whether the first groups are a day, a month and a year.
fn is_date(groups: &Groups) -> bool {
    let year = groups.digits().get(4..6);
    matches!(groups.lengths(), [2, 2, 4, ..]) && matches!(year, Some(b"19" | b"20"))
}

/// Returns whether digits near a word about telephones can be a number: no date, no year.
fn is_plausible(groups: &Groups) -> bool {
    let has_slash = groups.separators.contains(&Some(Separator::Slash));
    let is_iso = matches!(groups.lengths(), [4, 2, 2, ..]);
    !(is_date(groups) || is_iso || has_slash && groups.count > 2)
}
