//! The keys of an issuer: a JWK Set (RFC 7517), of which only what can verify a token is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::MAX_JWKS;

/// The most keys in a set, those included that weir does not use.
const MAX_KEYS: usize = 100;
/// The most keys that are tried for one token: those that share a `kid`, or have none.
const MAX_TRIES: usize = 4;
/// The sizes of RSA keys that are used, in bytes of the modulus: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a JWK Set cannot be used. Has no text of the issuer in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is too long.
    #[error("the key set is longer than {} KiB", MAX_JWKS / 1024)]
    Large,
    /// It is not a set.
    #[error("it is not a JWK Set: a JSON object with a list `keys` of objects")]
    Syntax,
    /// It has too many keys.
    #[error("the key set has {0} keys, more than {MAX_KEYS}")]
    Many(usize),
    /// It has no key that verifies tokens.
    #[error(
        "none of its {0} keys verifies tokens: weir uses RSA keys from 2048 bits, P-256, P-384 and Ed25519"
    )]
    Unusable(usize),
}

/// The keys of an issuer that verify tokens.
#[derive(Clone, Debug)]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
}

/// A public key and what it may be used with.
#[derive(Clone, Debug)]
struct PublicKey {
    id: Option<String>,
    algorithms: Algorithms,
    key: DecodingKey,
}

/// The algorithms of a key. The token chooses among them, never beyond: that is what keeps an RSA
/// key from being taken for the secret of an HMAC (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug)]
enum Algorithms {
    /// `alg` of the key.
    One(Algorithm),
    /// Those that fit the key.
    Family(&'static [Algorithm]),
}

/// The result of trying the keys of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// One of the keys made the signature.
    Good,
    /// The key that the token names did not make it.
    Wrong,
    /// No key fits. The issuer may have published another one meanwhile.
    UnknownKey,
}

#[derive(Deserialize)]
struct WrittenSet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members of a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037) that are read.
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWK Set. Keys that cannot verify tokens are left out: of other kinds, too short, for
    /// encryption, or malformed.
    pub(super) fn parse(text: &str) -> Result<Self, JwksError> {
        if text.len() as u64 > MAX_JWKS {
            return Err(JwksError::Large);
        }
        let written: WrittenSet<'_> = serde_json::from_str(text).map_err(|_| JwksError::Syntax)?;
        let count = written.keys.len();
        if count > MAX_KEYS {
            return Err(JwksError::Many(count));
        }
        let keys: Vec<_> = written.keys.into_iter().filter_map(read_key).collect();
        match keys.is_empty() {
            true => Err(JwksError::Unusable(count)),
            false => Ok(Self { keys }),
        }
    }

    /// Verifies the signature of a token. `signed` is its header and payload as they were sent.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        signed: &str,
        signature: &str,
    ) -> Verification {
        let fits = |key: &&PublicKey| key.algorithms.contain(algorithm);
        let named = |key: &&PublicKey| id.is_some() && key.id.as_deref() == id;
        let unnamed = |key: &&PublicKey| id.is_none() || key.id.is_none();
        let is_known = self.keys.iter().any(|key| named(&key));
        let candidates: Vec<_> = match is_known {
            true => self.keys.iter().filter(named).filter(fits).collect(),
            // RFC 7515 §4.1.4: `kid` is a hint, and both sides may do without.
            false => self.keys.iter().filter(unnamed).filter(fits).collect(),
        };
        let is_good = |key: &PublicKey| {
            let verified =
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.key, algorithm);
            matches!(verified, Ok(true))
        };
        match candidates.into_iter().take(MAX_TRIES).any(is_good) {
            true => Verification::Good,
            false if is_known => Verification::Wrong,
            false => Verification::UnknownKey,
        }
    }

    /// Returns how many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Algorithms {
    fn contain(self, algorithm: Algorithm) -> bool {
        match self {
            Self::One(one) => one == algorithm,
            Self::Family(all) => all.contains(&algorithm),
        }
    }
}

/// Reads one key; `None` if it cannot verify tokens.
fn read_key(raw: &RawValue) -> Option<PublicKey> {
    let written: WrittenKey = serde_json::from_str(raw.get()).ok()?;
    let is_for_signatures = written.r#use.as_deref().is_none_or(|usage| usage == "sig");
    let ops = written.key_ops.as_deref();
    let verifies = ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !is_for_signatures || !verifies {
        return None;
    }
    let (key, fitting) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => (rsa_key(&written)?, RSA),
        ("EC", Some("P-256")) => (ec_key(&written, 32)?, P256),
        ("EC", Some("P-384")) => (ec_key(&written, 48)?, P384),
        ("OKP", Some("Ed25519")) => {
            let x = decode(written.x.as_deref()?)?;
            let key = (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))?;
            (key, ED25519)
        }
        // `oct` among them: a secret that is published is none.
        _ => return None,
    };
    let algorithms = match written.alg.as_deref() {
        None => Algorithms::Family(fitting),
        Some(name) => {
            let algorithm = parse_algorithm(name)?;
            fitting
                .contains(&algorithm)
                .then_some(Algorithms::One(algorithm))?
        }
    };
    Some(PublicKey {
        id: written.kid,
        algorithms,
        key,
    })
}

/// The algorithms that fit an RSA key.
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// The algorithm that fits a key on P-256.
const P256: &[Algorithm] = &[Algorithm::ES256];
/// The algorithm that fits a key on P-384.
const P384: &[Algorithm] = &[Algorithm::ES384];
/// The algorithm that fits an Ed25519 key.
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Returns the algorithm of this name, exactly as it is written, if weir verifies it: none is a
/// symmetric one. `Ed25519` is the newer name of the only `EdDSA` here (RFC 9864).
pub(super) fn parse_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        "PS256" => Some(Algorithm::PS256),
        "PS384" => Some(Algorithm::PS384),
        "PS512" => Some(Algorithm::PS512),
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn rsa_key(written: &WrittenKey) -> Option<DecodingKey> {
    let n = decode(written.n.as_deref()?)?;
    let e = decode(written.e.as_deref()?)?;
    // Some write the modulus as a signed number.
    let n = match n.split_first() {
        Some((0, rest)) => rest,
        _ => &n,
    };
    let legal = RSA_BYTES.contains(&n.len()) && (1..=4).contains(&e.len());
    legal.then(|| DecodingKey::from_rsa_raw_components(n, &e))
}

fn ec_key(written: &WrittenKey, bytes: usize) -> Option<DecodingKey> {
    let x = decode(written.x.as_deref()?)?;
    let y = decode(written.y.as_deref()?)?;
    // An uncompressed point (SEC 1 §2.3.3). Whether it is on the curve is for ring to say.
    let legal = x.len() == bytes && y.len() == bytes;
    legal.then(|| DecodingKey::from_ec_der(&[&[4], &*x, &*y].concat()))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
