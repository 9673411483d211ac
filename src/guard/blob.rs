//! Base64 that may stand for text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Base64 of fewer characters may be a word or a number as well: it is looked at as it is.
const SHORT: usize = 64;
/// The characters by whose content text is told from other data: a multiple of four.
const SAMPLE: usize = 4096;

/// Returns the text that base64 stands for; `None` if it is no base64, or not of text.
pub(super) fn decode(text: &str) -> Option<String> {
    if !is_base64(text) || !begins_with_text(text) {
        return None;
    }
    let bytes = engine(text).decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

/// Encodes a text as base64.
pub(super) fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// Returns whether a text is base64 of something other than text, as an image is.
pub(super) fn is_binary(text: &str) -> bool {
    !is_short(text) && is_base64(text)
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
    let Ok(bytes) = engine(sample).decode(sample) else {
        return false;
    };
    let is_text = match std::str::from_utf8(&bytes) {
        Ok(_) => true,
        // A character may be cut at the end of the sample.
        Err(error) => error.error_len().is_none() && sample.len() < text.len(),
    };
    is_text && !bytes.contains(&0)
}

fn engine(text: &str) -> &'static base64::engine::GeneralPurpose {
    match text.ends_with('=') || text.len().is_multiple_of(4) {
        true => &STANDARD,
        false => &STANDARD_NO_PAD,
    }
}
