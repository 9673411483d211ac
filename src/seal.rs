//! Sealed tokens: text that only this weir and its replicas can make and read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// The operating system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandom;

/// The bytes of a key's id, which a token begins with.
const ID_LEN: usize = 4;

/// The keys of weir and its replicas: the first seals, all of them open, so that a key can be
/// replaced without an end to what it sealed (HKDF-SHA-256, RFC 5869).
pub struct KeyRing {
    first: RingKey,
    others: Vec<RingKey>,
}

struct RingKey {
    id: [u8; ID_LEN],
    secret: Prk,
}

/// Seals tokens of one purpose, and opens them (ChaCha20-Poly1305, RFC 8439). Each purpose has keys
/// of its own, so a token of another purpose does not open.
pub struct Sealer {
    first: SealingKey,
    others: Vec<SealingKey>,
    random: SystemRandom,
}

struct SealingKey {
    id: [u8; ID_LEN],
    key: LessSafeKey,
}

/// The characters of a mark: 96 bits in base64url.
pub const MARK_LEN: usize = 16;

/// Marks text, so that nobody else can make or change a mark (HMAC-SHA-256, RFC 2104). The same text
/// always gets the same mark.
pub struct MarkKeys {
    first: hmac::Key,
    others: Vec<hmac::Key>,
}

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

    /// Derives the key for marks.
    fn for_marks(&self) -> Result<hmac::Key, Unspecified> {
        let derived = self.secret.expand(&[b"mark"], hmac::HMAC_SHA256)?;
        Ok(hmac::Key::from(derived))
    }

    /// Derives the key for one purpose.
    fn for_purpose(&self, purpose: &str) -> Result<SealingKey, Unspecified> {
        let info = [b"seal ".as_slice(), purpose.as_bytes()];
        let derived = self.secret.expand(&info, &CHACHA20_POLY1305)?;
        Ok(SealingKey {
            id: self.id,
            key: LessSafeKey::new(UnboundKey::from(derived)),
        })
    }
}

impl SealingKey {
    fn open(&self, nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::empty(), &mut sealed);
        Some(plain.ok()?.to_vec())
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing")
    }
}

impl std::fmt::Debug for MarkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkKeys")
    }
}

impl MarkKeys {
    /// Returns the mark of a list of parts: [`MARK_LEN`] characters, `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn mark(&self, parts: &[&[u8]]) -> String {
        mark(&self.first, parts)
    }

    /// Returns whether a text is the mark of these parts, by any of the keys. It takes as long for
    /// every wrong mark.
    #[must_use]
    pub fn is_mark(&self, text: &str, parts: &[&[u8]]) -> bool {
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        keys.any(|key| {
            let right = mark(key, parts);
            let pairs = right.bytes().zip(text.bytes());
            let differing = pairs.fold(0, |all, (a, b)| all | (a ^ b));
            text.len() == right.len() && differing == 0
        })
    }
}

fn mark(key: &hmac::Key, parts: &[&[u8]]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        // The length goes before each part, so that no two lists of parts are the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut mark = URL_SAFE_NO_PAD.encode(context.sign());
    mark.truncate(MARK_LEN);
    mark
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl KeyRing {
    /// Derives the keys from secret texts, of which the first seals. The same text gives the same key
    /// on every replica. Returns `None` if there is no text.
    #[must_use]
    pub fn from_texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<Self> {
        let keys: Result<Vec<_>, _> = texts.into_iter().map(RingKey::from_text).collect();
        let mut keys = keys.ok()?.into_iter();
        Some(Self {
            first: keys.next()?,
            others: keys.collect(),
        })
    }

    /// Makes secret text for [`KeyRing::from_texts`]: 32 random bytes in base64url.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn new_text() -> Result<String, NoRandom> {
        random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Derives the keys for one purpose. Returns `None` only if they cannot be derived, which does
    /// not happen.
    #[must_use]
    pub fn sealer(&self, purpose: &str) -> Option<Sealer> {
        let others = self.others.iter().map(|key| key.for_purpose(purpose));
        Some(Sealer {
            first: self.first.for_purpose(purpose).ok()?,
            others: others.collect::<Result<_, _>>().ok()?,
            random: SystemRandom::new(),
        })
    }
}

impl KeyRing {
    /// Derives the keys for marks.
    #[must_use]
    pub fn mark_keys(&self) -> Option<MarkKeys> {
        let others = self.others.iter().map(RingKey::for_marks);
        Some(MarkKeys {
            first: self.first.for_marks().ok()?,
            others: others.collect::<Result<_, _>>().ok()?,
        })
    }
}

impl Sealer {
    /// Seals bytes: `[A-Za-z0-9_-]`, a third longer than the bytes, plus 43 characters.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn seal(&self, plain: &[u8]) -> Result<String, NoRandom> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandom)?;
        let mut sealed = plain.to_vec();
        let key = &self.first.key;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        )
        .map_err(|_| NoRandom)?;
        let mut token = self.first.id.to_vec();
        token.extend_from_slice(&nonce);
        token.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens what was sealed, by whichever key its id names. Returns `None` for everything else.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<Vec<u8>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, rest) = token.split_first_chunk::<ID_LEN>()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = std::iter::once(&self.first).chain(&self.others);
        // Two keys may have the same id by chance.
        keys.filter(|key| key.id == *id)
            .find_map(|key| key.open(nonce, sealed))
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

    fn ring(texts: &[&'static str]) -> KeyRing {
        KeyRing::from_texts(texts.iter().copied()).unwrap()
    }

    fn sealer(texts: &[&'static str]) -> Sealer {
        ring(texts).sealer("session").unwrap()
    }

    #[test]
    fn only_the_same_key_and_purpose_open_a_token() {
        let token = sealer(&["a"]).seal(b"plain").unwrap();
        let opened = sealer(&["a"]).open(&token);
        assert_eq!(opened.as_deref(), Some(b"plain".as_slice()));
        assert_eq!(ring(&["a"]).sealer("state").unwrap().open(&token), None);
        assert_eq!(sealer(&["b"]).open(&token), None);
    }

    #[test]
    fn a_changed_token_does_not_open() {
        let sealer = sealer(&["a"]);
        let token = sealer.seal(b"plain").unwrap();
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                sealer.open(&String::from_utf8(forged).unwrap()),
                None,
                "at {at}"
            );
        }
        assert_eq!(sealer.open(""), None);
        assert_eq!(sealer.open("not base64!"), None);
    }

    #[test]
    fn a_mark_is_of_its_parts_and_keys_only() {
        let keys = |texts: &[&'static str]| ring(texts).mark_keys().unwrap();
        let parts: &[&[u8]] = &[b"a", b"bc"];
        let mark = keys(&["k"]).mark(parts);
        assert_eq!(mark.len(), MARK_LEN);
        assert!(keys(&["k"]).is_mark(&mark, parts));
        assert!(keys(&["new", "k"]).is_mark(&mark, parts));
        assert!(!keys(&["new"]).is_mark(&mark, parts));
        for other in [[b"ab".as_slice(), b"c"], [b"a", b"bd"], [b"", b"abc"]] {
            assert!(!keys(&["k"]).is_mark(&mark, &other));
        }
        for wrong in [
            "",
            &mark[1..],
            &format!("{mark}A"),
            &mark.replace(&mark[..1], "~"),
        ] {
            assert!(!keys(&["k"]).is_mark(wrong, parts), "{wrong}");
        }
    }

    #[test]
    fn tokens_never_repeat() {
        let sealer = sealer(&["a"]);
        assert_ne!(sealer.seal(b"x").unwrap(), sealer.seal(b"x").unwrap());
    }

    #[test]
    fn the_first_key_seals_and_all_of_them_open() {
        let old = sealer(&["a"]).seal(b"plain").unwrap();
        let both = sealer(&["b", "a"]);
        assert!(both.open(&old).is_some());
        let new = both.seal(b"plain").unwrap();
        assert!(sealer(&["b"]).open(&new).is_some());
        assert_eq!(sealer(&["a"]).open(&new), None);
        assert_eq!(sealer(&["b"]).open(&old), None);
        assert!(KeyRing::from_texts([]).is_none());
    }
}
