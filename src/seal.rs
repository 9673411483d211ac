//! Sealed tokens: text that only this weir and its replicas can make and read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The operating system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// The bytes of a key's id, which a token begins with.
const ID_LEN: usize = 4;

/// Seals tokens with the first of its keys and opens those of all, so that a key can be replaced
/// without an end to what it sealed. Each purpose has a key of its own (HKDF-SHA-256, RFC 5869;
/// ChaCha20-Poly1305, RFC 8439).
pub struct Sealer {
    first: RingKey,
    others: Vec<RingKey>,
    random: SystemRandom,
}

struct RingKey {
    id: [u8; ID_LEN],
    secret: Prk,
}

/// The length of what is derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl RingKey {
    /// Derives a key from secret text.
    fn from_text(text: &str) -> Result<Self, Unspecified> {
        let secret = Salt::new(HKDF_SHA256, b"weir sealing key 2").extract(text.as_bytes());
        let mut id = [0; ID_LEN];
        secret.expand(&[b"id"], Length(ID_LEN))?.fill(&mut id)?;
        Ok(Self { id, secret })
    }

    /// Derives the key for one purpose.
    fn for_purpose(&self, purpose: &str) -> Result<LessSafeKey, Unspecified> {
        let info = [b"seal ".as_slice(), purpose.as_bytes()];
        let derived = self.secret.expand(&info, &CHACHA20_POLY1305)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }

    fn open(&self, purpose: &str, nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let key = self.for_purpose(purpose).ok()?;
        let plain = key.open_in_place(nonce, Aad::from(purpose), &mut sealed);
        Some(plain.ok()?.to_vec())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Derives the keys from secret texts, of which the first seals. The same text gives the same key
    /// on every replica. Returns `None` if there is no text.
    #[must_use]
    pub fn from_texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<Self> {
        let keys: Result<Vec<_>, _> = texts.into_iter().map(RingKey::from_text).collect();
        let mut keys = keys.ok()?.into_iter();
        Some(Self {
            first: keys.next()?,
            others: keys.collect(),
            random: SystemRandom::new(),
        })
    }

    /// Makes secret text for [`Sealer::from_texts`]: 32 random bytes in base64url.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn new_text() -> Result<String, NoRandom> {
        random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Seals bytes for one purpose: `[A-Za-z0-9_-]`, a third longer than the bytes, plus 43
    /// characters.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, NoRandom> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandom)?;
        let mut sealed = plain.to_vec();
        let key = self.first.for_purpose(purpose).map_err(|_| NoRandom)?;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose),
            &mut sealed,
        )
        .map_err(|_| NoRandom)?;
        let mut token = self.first.id.to_vec();
        token.extend_from_slice(&nonce);
        token.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens what was sealed for this purpose, by whichever key its id names. Returns `None` for
    /// everything else.
    #[must_use]
    pub fn open(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, rest) = token.split_first_chunk::<ID_LEN>()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = std::iter::once(&self.first).chain(&self.others);
        // Two keys may have the same id by chance.
        keys.filter(|key| key.id == *id)
            .find_map(|key| key.open(purpose, nonce, sealed))
    }
}

/// Returns random bytes from the operating system.
///
/// # Errors
/// The operating system gives no random numbers.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open_a_token() {
        let sealer = Sealer::from_texts(["a"]).unwrap();
        let token = sealer.seal("session", b"plain").unwrap();
        assert_eq!(
            sealer.open("session", &token).as_deref(),
            Some(b"plain".as_slice())
        );
        assert_eq!(sealer.open("state", &token), None);
        assert_eq!(
            Sealer::from_texts(["b"]).unwrap().open("session", &token),
            None
        );
        assert_eq!(
            Sealer::from_texts(["a"])
                .unwrap()
                .open("session", &token)
                .as_deref(),
            Some(b"plain".as_slice())
        );
    }

    #[test]
    fn a_changed_token_does_not_open() {
        let sealer = Sealer::from_texts(["a"]).unwrap();
        let token = sealer.seal("session", b"plain").unwrap();
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                sealer.open("session", &String::from_utf8(forged).unwrap()),
                None,
                "at {at}"
            );
        }
        assert_eq!(sealer.open("session", ""), None);
        assert_eq!(sealer.open("session", "not base64!"), None);
    }

    #[test]
    fn tokens_never_repeat() {
        let sealer = Sealer::from_texts(["a"]).unwrap();
        assert_ne!(
            sealer.seal("s", b"x").unwrap(),
            sealer.seal("s", b"x").unwrap()
        );
    }

    #[test]
    fn the_first_key_seals_and_all_of_them_open() {
        let ring = |texts: &[&'static str]| Sealer::from_texts(texts.iter().copied()).unwrap();
        let old = ring(&["a"]).seal("session", b"plain").unwrap();
        let both = ring(&["b", "a"]);
        assert!(both.open("session", &old).is_some());
        let new = both.seal("session", b"plain").unwrap();
        assert!(ring(&["b"]).open("session", &new).is_some());
        assert_eq!(ring(&["a"]).open("session", &new), None);
        assert_eq!(ring(&["b"]).open("session", &old), None);
        assert!(Sealer::from_texts([]).is_none());
    }
}
