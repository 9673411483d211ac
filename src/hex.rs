//! Bytes as hexadecimal digits, in lower case.

/// Returns the two digits of a byte.
#[must_use]
pub const fn digits(byte: u8) -> [u8; 2] {
    const fn digit(of: u8) -> u8 {
        match of {
            0..=9 => b'0' + of,
            _ => b'a' + of - 10,
        }
    }
    [digit(byte >> 4), digit(byte & 15)]
}

/// Adds the digits of bytes to a text.
pub fn push(text: &mut String, bytes: &[u8]) {
    text.reserve(2 * bytes.len());
    for [first, second] in bytes.iter().copied().map(digits) {
        text.push(char::from(first));
        text.push(char::from(second));
    }
}

/// Returns the digits of bytes.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    push(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits_each() {
        let all: Vec<u8> = (0..=255).collect();
        let expected: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text(&all), expected);
    }
}
