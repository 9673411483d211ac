//! Sealed tokens: text that only this weir and its replicas can make and read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The operating system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// Seals and opens tokens with one key (ChaCha20-Poly1305, RFC 8439).
pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Derives the key from secret text. The same text gives the same key on every replica.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let derived = digest(&SHA256, format!("weir sealing key 1\n{text}").as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived.as_ref()).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        })
    }

    /// Makes secret text for [`Sealer::from_text`]: 32 random bytes in base64url.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn new_text() -> Result<String, NoRandom> {
        random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Seals bytes for one purpose: `[A-Za-z0-9_-]`, a third longer than the bytes, plus 38
    /// characters.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, NoRandom> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandom)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .map_err(|_| NoRandom)?;
        let mut token = nonce.to_vec();
        token.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens what was sealed for this purpose. Returns `None` for everything else.
    #[must_use]
    pub fn open(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = token.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(purpose), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
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
        let sealer = Sealer::from_text("a").unwrap();
        let token = sealer.seal("session", b"plain").unwrap();
        assert_eq!(
            sealer.open("session", &token).as_deref(),
            Some(b"plain".as_slice())
        );
        assert_eq!(sealer.open("state", &token), None);
        assert_eq!(
            Sealer::from_text("b").unwrap().open("session", &token),
            None
        );
        assert_eq!(
            Sealer::from_text("a")
                .unwrap()
                .open("session", &token)
                .as_deref(),
            Some(b"plain".as_slice())
        );
    }

    #[test]
    fn a_changed_token_does_not_open() {
        let sealer = Sealer::from_text("a").unwrap();
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
        let sealer = Sealer::from_text("a").unwrap();
        assert_ne!(
            sealer.seal("s", b"x").unwrap(),
            sealer.seal("s", b"x").unwrap()
        );
    }
}
