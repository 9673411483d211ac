//! Base64 that may stand for text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Base64 of fewer characters may be a word or a number as well: it is looked at as it is.
const SHORT: usize = 64;
/// Reads what lenient programs read: without padding, and with bits left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The characters by whose content text is told from other data: a multiple of four.
const SAMPLE: usize = 4096;

/// Returns the text that base64 stands for; `None` if it is no base64, or not of text. It may be cut
/// into lines (RFC 2045 §6.8), or in the alphabet of URLs (RFC 4648 §5).
pub(super) fn decode(text: &str) -> Option<String> {
    let text = plain(text);
    if !is_base64(&text) || !begins_with_text(&text) {
        return None;
    }
    let bytes = LENIENT.decode(&*text).ok()?;
    String::from_utf8(bytes).ok()
}

/// Returns base64 without line breaks, in the standard alphabet.
fn plain(text: &str) -> Cow<'_, str> {
    if is_base64(text) {
        return Cow::Borrowed(text);
    }
    let bytes = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    let standard = bytes.map(|byte| match byte {
        b'-' => '+',
        b'_' => '/',
        other if other.is_ascii() => char::from(other),
        // No base64, whatever the rest is.
        _ => ' ',
    });
    Cow::Owned(standard.collect())
}

/// Encodes a text as base64.
pub(super) fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// Returns whether a text is base64 of something other than text, as an image is.
pub(super) fn is_binary(text: &str) -> bool {
    !is_short(text) && is_base64(text) && text.trim_end_matches('=').len() % 4 != 1
}

/// Returns whether it may be a word or a number as well.
pub(super) fn is_short(text: &str) -> bool {
    text.len() <= SHORT
}

fn is_base64(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !text.is_empty() && text.bytes().all(legal)
}

fn begins_with_text(text: &str) -> bool {
    let sample = text.get(..SAMPLE).unwrap_or(text);
    let Ok(bytes) = LENIENT.decode(sample) else {
        return false;
    };
    let is_text = match std::str::from_utf8(&bytes) {
        Ok(_) => true,
        // A character may be cut at the end of the sample.
        Err(error) => error.error_len().is_none() && sample.len() < text.len(),
    };
    is_text && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_all_that_programs_read_as_base64() {
        let text =
            "to max.mustermann@example.com, ÿÿÿ and some more of it, so that there are lines";
        let whole = STANDARD.encode(text);
        let lines: Vec<_> = whole
            .as_bytes()
            .chunks(76)
            .map(String::from_utf8_lossy)
            .collect();
        for encoded in [
            whole.clone(),
            whole.trim_end_matches('=').to_owned(),
            lines.join("\r\n"),
            whole.replace('+', "-").replace('/', "_"),
        ] {
            assert_eq!(decode(&encoded).as_deref(), Some(text), "{encoded}");
        }
        // The last two bits of `B` are left over.
        assert_eq!(decode("QUFB").as_deref(), Some("AAA"));
        assert_eq!(decode("QUF").as_deref(), Some("AA"));
        assert_eq!(decode("QUH").as_deref(), Some("AA"));
        assert_eq!(decode("QUF ="), None);
        assert_eq!(decode("QUFä"), None);
    }

    #[test]
    fn what_cannot_be_base64_is_no_binary_data() {
        assert!(is_binary(&"iVBORw0KGgoA".repeat(10)));
        assert!(!is_binary(&"4".repeat(65)), "no base64 has this length");
        assert!(!is_binary("iVBORw0KGgoA"), "it may be a word");
    }
}
