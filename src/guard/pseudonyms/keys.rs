//! The keys of pseudonyms, derived from secret text (HKDF-SHA-256, RFC 5869).

use std::fmt;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::hmac;

use crate::classes::Class;

use super::pseudonym::ID;

/// The fewest characters of a secret: 128 bits of base64url are 22.
const FEWEST: usize = 22;
/// The most keys.
const MOST: usize = 16;
/// The bytes of a key of AES-SIV with AES-256: two keys of 32.
const SIV: usize = 64;

/// The keys of a weir, of its replicas and of the weirs of a chain: the first makes pseudonyms, all
/// of them lead back, so that a key can be replaced.
pub struct PseudonymKeys {
    first: PseudonymKey,
    others: Vec<PseudonymKey>,
}

/// One key.
pub(super) struct PseudonymKey {
    number: u8,
    ids: hmac::Key,
    siv: Box<[u8; SIV]>,
}

/// Why secret texts are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// There is none.
    #[error("there is no key")]
    None,
    /// There are too many.
    #[error("there are more than {MOST} keys")]
    Many,
    /// One is too short to be random.
    #[error(
        "the key has fewer than {FEWEST} characters: take 32 random bytes, as `openssl rand -base64 32` prints them"
    )]
    Short,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl PseudonymKeys {
    /// Derives keys from secret texts, of which the first makes pseudonyms. White space around a
    /// text means nothing.
    ///
    /// # Errors
    /// There is none, or one is too short.
    pub fn from_texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, KeyTextError> {
        let keys: Result<Vec<_>, _> = texts.into_iter().map(PseudonymKey::from_text).collect();
        let keys = keys?;
        if keys.len() > MOST {
            return Err(KeyTextError::Many);
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            first: keys.next().ok_or(KeyTextError::None)?,
            others: keys.collect(),
        })
    }

    /// Returns the key that makes pseudonyms.
    pub(super) fn first(&self) -> &PseudonymKey {
        &self.first
    }

    /// Returns all keys, the first one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &PseudonymKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl PseudonymKey {
    fn from_text(text: &str) -> Result<Self, KeyTextError> {
        let text = text.trim();
        if text.chars().count() < FEWEST {
            return Err(KeyTextError::Short);
        }
        let secret = Salt::new(HKDF_SHA256, b"weir pseudonym key 1").extract(text.as_bytes());
        let [number] = derive::<1>(&secret, b"number");
        let ids = derive::<32>(&secret, b"ids");
        Ok(Self {
            number,
            ids: hmac::Key::new(hmac::HMAC_SHA256, &ids),
            siv: Box::new(derive::<SIV>(&secret, b"values")),
        })
    }

    /// Returns the number that sealed pseudonyms name their key by. Two keys may have the same.
    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Returns the id of a value: 80 bits of an HMAC over all that it belongs to.
    pub(super) fn id_of(&self, attempt: u8, tenant: &str, class: &Class, value: &str) -> [u8; ID] {
        let mut context = hmac::Context::with_key(&self.ids);
        let attempt = [attempt];
        let parts = [
            &attempt,
            tenant.as_bytes(),
            class.name().as_bytes(),
            value.as_bytes(),
        ];
        for part in parts {
            // The length goes before each part, so that no two lists of parts are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut id = [0; ID];
        for (to, from) in id.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        id
    }

    /// Encrypts a value, always to the same bytes: 16 more than it has.
    pub(super) fn encrypt<T: AsRef<[u8]>>(
        &self,
        associated: &[T],
        value: &[u8],
    ) -> Option<Vec<u8>> {
        let mut cipher = Aes256Siv::new((&*self.siv).into());
        cipher.encrypt(associated, value).ok()
    }

    /// Decrypts a value. Returns `None` if a bit of it, or of what it belongs to, differs.
    pub(super) fn decrypt<T: AsRef<[u8]>>(
        &self,
        associated: &[T],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let mut cipher = Aes256Siv::new((&*self.siv).into());
        cipher.decrypt(associated, sealed).ok()
    }
}

/// Derives bytes for one use.
fn derive<const N: usize>(secret: &Prk, purpose: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let info = [purpose];
    // It only fails for more than 8,160 bytes.
    let derived = secret
        .expand(&info, Length(N))
        .and_then(|derived| derived.fill(&mut bytes));
    debug_assert!(derived.is_ok());
    bytes
}

impl fmt::Debug for PseudonymKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKeys({})", self.others.len() + 1)
    }
}
