//! The text of an API key: `weir_<id>_<secret><checksum>`, in the form of GitHub's tokens.
//!
//! `_` is in none of its parts, and a double click selects all of it. The prefix and the checksum
//! let scanners of secrets tell a key from other text, and weir a misspelt key from a wrong one.

use std::fmt;

use flate2::Crc;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::ApiKeyEntry;
use crate::hex;
use crate::secret::Secret;

/// The beginning of every key.
const PREFIX: &str = "weir_";
/// The digits of base 62.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of the secret: 62^43 is 256 bits.
const SECRET: usize = 43;
/// Digits of the checksum: 62^6 is more than 32 bits.
const CHECKSUM: usize = 6;

/// An API key as it is presented, taken apart. Its checksum is right.
#[derive(Clone, Copy)]
pub struct ApiKeyText<'k> {
    /// The id, under which the file has it.
    pub id: &'k str,
    secret: &'k str,
}

/// Why a text is no API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// It does not begin like one, or has not its parts.
    #[error("it has not the form of an API key")]
    Form,
    /// The checksum differs: a character is missing or wrong.
    #[error("its checksum is wrong: a character is missing or was changed")]
    Checksum,
}

impl fmt::Debug for ApiKeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyText({})", self.id)
    }
}

impl<'k> ApiKeyText<'k> {
    /// Returns whether a credential is meant to be an API key.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Takes a key apart.
    ///
    /// # Errors
    /// It has another form, or a character of it is wrong.
    pub fn parse(text: &'k str) -> Result<Self, ApiKeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(ApiKeyError::Form)?;
        let (id, last) = rest.split_once('_').ok_or(ApiKeyError::Form)?;
        let is_last = last.len() == SECRET + CHECKSUM && last.bytes().all(|b| DIGITS.contains(&b));
        if !ApiKeyEntry::is_id(id) || !is_last {
            return Err(ApiKeyError::Form);
        }
        let (secret, sum) = last.split_at_checked(SECRET).ok_or(ApiKeyError::Form)?;
        let body = text.strip_suffix(sum).ok_or(ApiKeyError::Form)?;
        match checksum(body) == sum {
            true => Ok(Self { id, secret }),
            false => Err(ApiKeyError::Checksum),
        }
    }

    /// Returns the hash that the file has of the key: SHA-256 of the secret. The secret has 256
    /// random bits, so that nothing slower is needed.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        let digest = digest(&SHA256, self.secret.as_bytes());
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        hash
    }
}

/// Makes a new key with this id; `None` if the machine has no random numbers.
#[must_use]
pub fn make_api_key(id: &str) -> Option<Secret> {
    let random = SystemRandom::new();
    let mut text = format!("{PREFIX}{id}_");
    let length = text.len() + SECRET;
    while text.len() < length {
        let mut bytes = [0; SECRET];
        random.fill(&mut bytes).ok()?;
        // The rest of 256 after four times 62 is thrown away, so that all digits are as likely.
        let digits = bytes.iter().filter(|byte| **byte < 4 * 62);
        let digits = digits.filter_map(|byte| DIGITS.get(usize::from(*byte) % DIGITS.len()));
        let free = length - text.len();
        text.extend(digits.take(free).map(|digit| char::from(*digit)));
    }
    let sum = checksum(&text);
    text.push_str(&sum);
    Some(Secret::new(&text))
}

/// Returns a hash as the file has it.
#[must_use]
pub fn write_hash(hash: &[u8; 32]) -> String {
    let mut text = "sha256:".to_owned();
    hex::push(&mut text, hash);
    text
}

/// Returns CRC-32 of a text in base 62.
fn checksum(text: &str) -> String {
    let mut crc = Crc::new();
    crc.update(text.as_bytes());
    let (mut rest, mut digits) = (crc.sum() as usize, Vec::new());
    for _ in 0..CHECKSUM {
        digits.extend(
            DIGITS
                .get(rest % DIGITS.len())
                .map(|digit| char::from(*digit)),
        );
        rest /= DIGITS.len();
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        for id in ["a", "ci-2", &"x".repeat(32)] {
            let key = make_api_key(id).unwrap();
            let parsed = ApiKeyText::parse(key.expose()).unwrap();
            assert_eq!(parsed.id, id);
            assert_eq!(key.expose().len(), 5 + id.len() + 1 + 43 + 6);
            let shown = format!("{parsed:?} {key:?}");
            assert!(!shown.contains(parsed.secret), "{shown}");
        }
        let (one, two) = (make_api_key("a").unwrap(), make_api_key("a").unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn digits_of_secrets_are_all_as_likely() {
        let mut counts = [0_u32; 62];
        for _ in 0..1000 {
            let key = make_api_key("a").unwrap();
            for byte in key.expose()[7..50].bytes() {
                counts[DIGITS.iter().position(|digit| *digit == byte).unwrap()] += 1;
            }
        }
        // 694 each on average; eight standard deviations.
        let odd = counts.iter().find(|count| !(480..910).contains(*count));
        assert_eq!(odd, None, "{counts:?}");
    }

    #[test]
    fn any_wrong_character_is_noticed() {
        let key = make_api_key("ci").unwrap();
        let key = key.expose();
        for at in 0..key.len() {
            for with in ["a", "Z", "-", "_", ""] {
                let changed = format!("{}{with}{}", &key[..at], &key[at + 1..]);
                if changed != key {
                    assert!(ApiKeyText::parse(&changed).is_err(), "{changed}");
                }
            }
        }
        let table = [
            ("", ApiKeyError::Form),
            ("weir_", ApiKeyError::Form),
            ("weir_ci", ApiKeyError::Form),
            ("weir__0123", ApiKeyError::Form),
            ("weir_ci_", ApiKeyError::Form),
            ("weir_é_x", ApiKeyError::Form),
        ];
        for (text, error) in table {
            assert_eq!(ApiKeyText::parse(text).map(drop), Err(error), "{text}");
        }
        let swapped = format!("{}{}", &key[..key.len() - 1], "!");
        assert_eq!(
            ApiKeyText::parse(&swapped).map(drop),
            Err(ApiKeyError::Form)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(weir_)?[a-z-]{0,3}_?\\PC{0,60}") {
            if let Ok(parsed) = ApiKeyText::parse(&text) {
                proptest::prop_assert!(ApiKeyEntry::is_id(parsed.id));
            }
        }
    }

    #[test]
    fn the_form_stays_what_it_was() {
        let key = "weir_ci_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg";
        let key = format!("{key}{}", checksum(key));
        let parsed = ApiKeyText::parse(&key).unwrap();
        insta::assert_snapshot!(format!("{key}\n{}", write_hash(&parsed.hash())), @r"
    weir_ci_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg2MkaHB
    sha256:71d84b1859bad11abcb3dfd9353c8d1873aafd883ffaf6f2c9df7cbcfc3e1850
    ");
    }
}
