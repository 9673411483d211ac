//! Decodes JSON strings.

use crate::json;

/// Returns the text of a JSON string with its quotes (RFC 8259 §7); `None` if an escape is none. Half
/// a surrogate pair, which stands for no character, becomes U+FFFD, so that what is around it can
/// be looked at.
#[must_use]
pub fn decode(quoted: &str) -> Option<String> {
    if let Some(text) = json::string(quoted) {
        return Some(text.into_owned());
    }
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        let escape = chars.next()?;
        rest = chars.as_str();
        out.push(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (unit, after) = unit(rest)?;
                rest = after;
                let pair = rest.strip_prefix("\\u").and_then(self::unit);
                let pair = pair.filter(|(low, _)| is_high(unit) && is_low(*low));
                match pair {
                    Some((low, after)) => {
                        rest = after;
                        let high = u32::from(unit) - 0xd800;
                        char::from_u32(0x1_0000 + (high << 10) + u32::from(low) - 0xdc00)?
                    }
                    None => char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            _ => return None,
        });
    }
    out.push_str(rest);
    Some(out)
}

/// Reads four digits of hex, and returns what follows them.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((unit, rest))
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}
