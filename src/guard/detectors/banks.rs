//! Account numbers whose length depends on the country (IBAN, ISO 13616), and codes of banks
//! (ISO 9362).

use super::boundary::{self, separator};
use super::checks;
use super::layout::CompactValue;
use super::search::{Evidence, TextSearch};
use super::words::WordSet;

/// Looks for an IBAN that begins at a place, by two letters of a country.
pub(super) fn find_iban(search: &mut TextSearch<'_>, class: u16, start: usize) {
    let Some(end) = iban(search.text, start) else {
        return;
    };
    search.add(start, end, class, Evidence::Checksum);
}

fn iban(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let [first, second] = *bytes.get(start..)?.first_chunk()?;
    // Two digits follow. Most words end here.
    let after = separator(bytes, start + 2).map_or(0, |(_, length)| length);
    bytes
        .get(start + 2 + after)?
        .is_ascii_digit()
        .then_some(())?;
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let length = checks::iban_length(&country)?;
    if !boundary::may_begin(text, start) {
        return None;
    }
    let (mut at, mut value, mut left) = (start, CompactValue::new(), length);
    while left > 0 {
        let byte = *bytes.get(at)?;
        if byte.is_ascii_alphanumeric() {
            value.push(byte)?;
            at += 1;
            left -= 1;
        } else {
            at += separator(bytes, at)?.1;
            // One separator, and then more of it.
            bytes.get(at)?.is_ascii_alphanumeric().then_some(())?;
        }
    }
    let checks = value.as_bytes().get(2..4)?.iter().all(u8::is_ascii_digit);
    let is_right = checks && checks::iban(value.as_bytes()) && boundary::may_end(text, at);
    is_right.then_some(at)
}

/// Looks for the code of a bank in a word of eight or eleven capitals. They are words of languages
/// too: another word has to say what they are, unless they have digits.
pub(super) fn find_swift(
    search: &mut TextSearch<'_>,
    class: u16,
    start: usize,
    end: usize,
    words: &WordSet,
) {
    let word = search.bytes().get(start..end).unwrap_or_default();
    let is_form = matches!(word.len(), 8 | 11)
        && word.iter().take(6).all(u8::is_ascii_uppercase)
        && word
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !is_form || !checks::swift(word) {
        return;
    }
    let is_whole = boundary::may_begin(search.text, start) && boundary::may_end(search.text, end);
    if is_whole && search.has_word(start, end, words) {
        search.add(start, end, class, Evidence::FormAndWord);
    }
}
