//! `private_key_jwt`: a client that proves who it is with a signature (RFC 7523 §2.2, OpenID Connect Core §9).
//!
//! A JWS is three parts in base64 with dots between them, and ring's signatures have the form that
//! JWS needs. Why not jsonwebtoken: see `docs/src/decisions/client-assertions.md`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;

use crate::seal;
use crate::secret::Secret;

/// `client_assertion_type`
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion is good for: it is used at once.
const LIFE: Duration = Duration::from_secs(60);

/// Signing algorithms of JWS (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519, under its older name.
    EdDsa,
    /// Ed25519, under the name that replaces it.
    Ed25519,
}

/// Why there is no assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The key is no PEM with a private key in it.
    #[error("the private key is no PEM (PKCS#8, or PKCS#1 for RSA)")]
    Pem,
    /// The key is of another kind than the algorithm needs, or of none that weir knows.
    #[error("the private key does not fit the algorithm")]
    Key,
    /// It was not signed.
    #[error("nothing can be signed with the private key")]
    Sign,
}

impl Algorithm {
    /// From its name in JWS.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        use Algorithm::{Ed25519, EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let all = [
            Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, EdDsa, Ed25519,
        ];
        all.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in JWS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

/// An assertion for one request.
///
/// # Errors
/// The key is not usable.
pub fn assertion(
    key: &Secret,
    algorithm: Option<Algorithm>,
    key_id: Option<&str>,
    client_id: &str,
    audience: &str,
) -> Result<Secret, AssertionError> {
    let key = Key::read(key, algorithm)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let iat = now.map_err(|_| AssertionError::Sign)?.as_secs();
    let jti: [u8; 16] = seal::random().map_err(|_| AssertionError::Sign)?;
    let claims = Claims {
        iss: client_id,
        sub: client_id,
        aud: audience,
        jti: URL_SAFE_NO_PAD.encode(jti),
        iat,
        exp: iat + LIFE.as_secs(),
    };
    let header = Header {
        alg: key.algorithm().name(),
        typ: "JWT",
        kid: key_id,
    };
    let part = |json: Result<Vec<u8>, _>| json.map(|json| URL_SAFE_NO_PAD.encode(json));
    let header = part(serde_json::to_vec(&header)).map_err(|_| AssertionError::Sign)?;
    let claims = part(serde_json::to_vec(&claims)).map_err(|_| AssertionError::Sign)?;
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
    Ok(Secret::new(&format!("{signed}.{signature}")))
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding, Algorithm),
    Ecdsa(EcdsaKeyPair, Algorithm),
    Ed25519(Ed25519KeyPair, Algorithm),
}

impl Key {
    /// The key, with the algorithm or with one that fits it.
    fn read(pem: &Secret, algorithm: Option<Algorithm>) -> Result<Self, AssertionError> {
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes());
        let der = der.map_err(|_| AssertionError::Pem)?;
        let guesses = match algorithm {
            Some(algorithm) => vec![algorithm],
            None => vec![
                Algorithm::Rs256,
                Algorithm::Es256,
                Algorithm::Es384,
                Algorithm::EdDsa,
            ],
        };
        let mut fitting = guesses
            .into_iter()
            .filter_map(|algorithm| Self::of(&der, algorithm));
        fitting.next().ok_or(AssertionError::Key)
    }

    /// The key, if it is of the kind that the algorithm needs.
    fn of(der: &PrivateKeyDer<'_>, algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Rs256 => rsa(der, &signature::RSA_PKCS1_SHA256, algorithm),
            Algorithm::Rs384 => rsa(der, &signature::RSA_PKCS1_SHA384, algorithm),
            Algorithm::Rs512 => rsa(der, &signature::RSA_PKCS1_SHA512, algorithm),
            Algorithm::Ps256 => rsa(der, &signature::RSA_PSS_SHA256, algorithm),
            Algorithm::Ps384 => rsa(der, &signature::RSA_PSS_SHA384, algorithm),
            Algorithm::Ps512 => rsa(der, &signature::RSA_PSS_SHA512, algorithm),
            Algorithm::Es256 => ecdsa(der, &signature::ECDSA_P256_SHA256_FIXED_SIGNING, algorithm),
            Algorithm::Es384 => ecdsa(der, &signature::ECDSA_P384_SHA384_FIXED_SIGNING, algorithm),
            Algorithm::EdDsa | Algorithm::Ed25519 => {
                // Most tools write no public key beside the private one.
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8(der)?);
                Some(Self::Ed25519(key.ok()?, algorithm))
            }
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_, _, algorithm)
            | Self::Ecdsa(_, algorithm)
            | Self::Ed25519(_, algorithm) => *algorithm,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AssertionError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key, form, _) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*form, &random, message, &mut signature)
                    .map_err(|_| AssertionError::Sign)?;
                Ok(signature)
            }
            Self::Ecdsa(key, _) => {
                let signature = key.sign(&random, message);
                Ok(signature
                    .map_err(|_| AssertionError::Sign)?
                    .as_ref()
                    .to_vec())
            }
            Self::Ed25519(key, _) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

fn pkcs8<'d>(der: &'d PrivateKeyDer<'_>) -> Option<&'d [u8]> {
    let PrivateKeyDer::Pkcs8(der) = der else {
        return None;
    };
    Some(der.secret_pkcs8_der())
}

fn rsa(
    der: &PrivateKeyDer<'_>,
    form: &'static dyn RsaEncoding,
    algorithm: Algorithm,
) -> Option<Key> {
    let key = if let PrivateKeyDer::Pkcs1(der) = der {
        RsaKeyPair::from_der(der.secret_pkcs1_der())
    } else {
        RsaKeyPair::from_pkcs8(pkcs8(der)?)
    };
    Some(Key::Rsa(key.ok()?, form, algorithm))
}

fn ecdsa(
    der: &PrivateKeyDer<'_>,
    form: &'static EcdsaSigningAlgorithm,
    algorithm: Algorithm,
) -> Option<Key> {
    let key = EcdsaKeyPair::from_pkcs8(form, pkcs8(der)?, &SystemRandom::new());
    Some(Key::Ecdsa(key.ok()?, algorithm))
}
