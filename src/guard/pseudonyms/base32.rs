//! Crockford's base32 (<https://www.crockford.com/base32.html>): no letter looks like a digit, and
//! case means nothing.

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Writes bytes, five bits a character. Ten bytes are sixteen characters.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(bits >> count));
        }
    }
    if count > 0 {
        text.push(digit(bits << (5 - count)));
    }
    text
}

fn digit(value: u32) -> char {
    let at = usize::try_from(value & 31).unwrap_or(0);
    DIGITS.get(at).map_or('0', |digit| char::from(*digit))
}

/// Reads what was written, in any case, with letters in place of digits that look like them.
/// Returns `None` for everything else: bits that are left over have to be zero.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            other => other,
        };
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    let left = bits & ((1 << count) - 1);
    (count < 5 && left == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            let text = encode(&bytes);
            proptest::prop_assert_eq!(decode(&text), Some(bytes.clone()));
            proptest::prop_assert_eq!(decode(&text.to_uppercase()), Some(bytes));
        }
    }

    #[test]
    fn only_digits_are_read() {
        assert_eq!(encode(&[0; 10]), "0".repeat(16));
        assert_eq!(decode("oOiIlL00"), decode("00111100"));
        for wrong in ["u", "uuuuuuuu", "0000000-", "00000001", "0", "ää"] {
            let bytes = decode(wrong);
            assert!(bytes.is_none() || wrong == "00000001", "{wrong}");
        }
        assert_eq!(decode("01"), None, "bits are left over");
    }
}
