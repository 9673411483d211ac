//! Signatures of tokens, verified by ring: the `jsonwebtoken` crate brings no cryptography.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{self as ring_signature, RsaParameters, VerificationAlgorithm};

/// The provider for the `jsonwebtoken` crate. It signs nothing, and does not derive keys.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: refuse_to_sign,
    verifier_factory: make_verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the library that verifies tokens in this process. Later calls change nothing.
pub(super) fn install() {
    // Fails if there is a provider already.
    let _ = PROVIDER.install_default();
}

/// A key with the algorithm that it is used with.
struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn refuse_to_sign(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn make_verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], bytes: &Vec<u8>) -> signature::Result<()> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                find(&RSA, self.algorithm).map(|parameters| {
                    ring_signature::RsaPublicKeyComponents { n, e }
                        .verify(parameters, message, bytes)
                })
            }
            DecodingKeyKind::SecretOrDer(key) => find(&CURVES, self.algorithm).map(|algorithm| {
                ring_signature::UnparsedPublicKey::new(algorithm, key).verify(message, bytes)
            }),
        };
        match verified {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(signature::Error::new()),
        }
    }
}

/// How ring verifies with an RSA key: of 2,048 to 8,192 bits.
static RSA: [(Algorithm, &RsaParameters); 6] = [
    (
        Algorithm::RS256,
        &ring_signature::RSA_PKCS1_2048_8192_SHA256,
    ),
    (
        Algorithm::RS384,
        &ring_signature::RSA_PKCS1_2048_8192_SHA384,
    ),
    (
        Algorithm::RS512,
        &ring_signature::RSA_PKCS1_2048_8192_SHA512,
    ),
    (Algorithm::PS256, &ring_signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &ring_signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &ring_signature::RSA_PSS_2048_8192_SHA512),
];

/// How ring verifies with a key that is a point on a curve. There is no HMAC: its key is a secret,
/// and weir has only public keys.
static CURVES: [(Algorithm, &dyn VerificationAlgorithm); 3] = [
    (Algorithm::ES256, &ring_signature::ECDSA_P256_SHA256_FIXED),
    (Algorithm::ES384, &ring_signature::ECDSA_P384_SHA384_FIXED),
    (Algorithm::EdDSA, &ring_signature::ED25519),
];

/// Returns what a table has for an algorithm.
fn find<T: Copy>(table: &[(Algorithm, T)], algorithm: Algorithm) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == algorithm);
    found.map(|(_, how)| *how)
}
