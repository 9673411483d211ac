//! Keys that sign tokens for tests, as JWKs, and tokens signed with them in every way. Uses nothing of
//! the crate: the tests of whole weirs and the benches use this file too.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code, of which each user needs a part"
)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use serde_json::{Value, json};

/// Two private keys of 2,048 bits, made for these tests (PKCS#8, base64): ring makes none.
const RSA: [&str; 2] = [
    concat!(
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDSz3Gha4PZeT42CVr/yX9QDscDBpiiusQL",
        "TrUPXFfsHVnRycuAmfY+K5aHsVwz+bkbusl+RAdo/jQfPjujgM1I7mHlO+ARZ8HP/045Uw4GqPKDQW6ol4h2",
        "jMEIScCQFQuRKnihjqLkibF/M4pH1ikFe5gFhxO8ppisRbpRKpQ0lp9ogb44rEi5kPYXsyoB9Qar5RvRE8MK",
        "l8Jk6ssHRfd4C5yVDbj1LafZHEtHBDOIlHh5ZD4hHId0+S8jpzQ6IKMhVB/LczZG1Y4ETrLCNvIOdvGFoZFG",
        "Snx/VVqWrHlmt0jFGlartrjPZVVbXVVn5lAHK/Li5dkWEq1jmGK0h08XAgMBAAECggEACRZKFqQ0zcYNKXUj",
        "yAzegQvyBi5dm/4i/z3ITj4zyAjH22Qwcn2wgKOOXJEHoXHtScW2c8vo6dyzUHl1RqoBr1gfPitjkDyBvT6L",
        "F6t92kmkEoZah8foaPvOQlYzh8JwejRzeLtWSDWrQgltt4UCxaq7NdnJvwMLZ7mlu2PzeYTEjS3LMlMaOxbW",
        "zXYnv+lJWFCc7zxIIfzKkdcEdhw4jDKwoSRDXTThh49lib/J4KxUcP03iPS+lCYV7AZLBSsJ+0tQQW1YMN+H",
        "E9evsUD2gbYK9wVVN/vWZpyqPKzl46HTZ4SJj/Day3ZUSt0ePcv6tW9RRMZEyxMkzouK9fYhsQKBgQD4xKUZ",
        "e6RDfI3N7tlW1VZ1ukMa8tmyKmR/MUYCpin34qk8kD+VrYh0+kjBEqEjLC+FQeaGvZtdFp9g/aY8uh7fnqlk",
        "qSsZwf0wBvkPyO05+0e7uK5+i6EGzxWsLmeqOeXEl5M/5g94r+IvNg598rpbczSYmW61ci7+4EnIN7uK/wKB",
        "gQDY8FA9a+ZZraVgIpoZq5LxlJIIIaDLhwmeIGEQDDpL2N/O3JR1P3ekGtK3I4CMjvDyX03SYKuG5pUQYZyl",
        "oPys6n12SV/6m4aK0AvS6rq+REAYQLv0bv1Wp+fie475t9rBljLOO7FVTKEqkY+gAZyj455M9SP9Xh47i4WQ",
        "Stsz6QKBgQDhPdOrFhsuC7mtiyT4jWOiZsrZvKdFvUKPM8MLJP589pp7PrSDxsL1/6QeRMrnuNsyEfAzcbwZ",
        "diFKxX9eHrtTiCoh/VYMFWw0ryuVkjzRMebKXraH188uBhS+eKneJFwZO5DU226IvN/UFWLbwQnhQZeOz+XA",
        "nilVFylXArdpawKBgGsSIOhPyv9T/x11to0Y64ukgnbU8iHB4nNTE9Tx1Av/XGci43sC+i/atUmCkj3Nhwp5",
        "E1XUNJR+VfAh3Ui6LjvB+G5bRK3R+ROmH0/YXpbt5JyTxrCb3xnYAVD9HtINdkC5uxWizKGHEryJ31NfuEoD",
        "W+wrybmRrGZDNIbFC2+RAoGBANNortii2VtIxOsqNT7zhhA3oxX8ZfJuXnLF3YCqa8TmfytDTJJC3flHl8v7",
        "pOLxCNbEGibP6g6A6uW0hD+YvjS4AQtO1Xk9DouaDDc/gwdA22fyvrnNj87Hb6qGLuykloxupNq7ZkGwmJXu",
        "i6BU72fXxrXoYeiX9UQiZ6EcyufH",
    ),
    concat!(
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDW7pbANWO0h+NtRARbYYSSPpKQ9J2aoNW1",
        "k9roabcsUbefPhBGnQ8y/NN/gFV+aDb3fxm+g97S8S7f2cnJgMl8khXlteM63KVRJCm+ZPTdLl7Hko8JMXGa",
        "2xP0/ybj8vmWepn6huxj0RcO7iLbJlN6WIFkwmgztOOA1IAXggFrUX3iCwL7T+eBGKv9LMahYNq095dABAct",
        "3YzY0YpngHiOoAsPX9f/fufysifiCstppTvGLnQSOje1C0Cc7ZnlTP/VdolnMZMFroKi+yaxOr2kGZDc9Wh8",
        "Cxqaf1fdAV1lNmCwv8kIh6ZO2TN+/1puR1T34Iffb8Cbow3ZSFYh6O/DAgMBAAECggEAEzC3Vg8OSXKunDVr",
        "/Cq/Vv1uQbINll5Q5ob+jyzNNZBQSFAWzO8+CavoSGSRfZlZewympEuK7COrr0H3Ud4FX3F9sgZk9P75Zb7I",
        "WV8TO+JlhQUxbz0yawSvifr0InsxzL1CnUtJtPnYyLT7eLy5zF01pGT1P9ShUYHns/GgJdA1bxwO1SuPgBEX",
        "OrJ7gKabNja0qeuUSA9WMbOi6ib8ebAKy2DiSERv7SnIFseGP2lNZV3qC39FsYELbIimBvoMo0silBDqetss",
        "4M7s2VrpTSLLNbnPhq7Hat+pb8UgRGXZYukNWNacuJwoR12Sj8bopOWfXD1VV2e1hjy6cPdQtQKBgQD2+1XT",
        "myImXrIdOxIcxkBu/gCCggGbjKqDitxM6Cs45QTRvCYOkDyH/6wnE0Qeeflr7KIDk9sCN+LB+sX9byNn59p1",
        "1SfmwVGdhx6b/29SBGgLXQ+y+Lcx5Jglbx7l0GTBvGsWsBU6Nz/11UhGOPGJnOqoKjuEaPp/w/bCbSK9JQKB",
        "gQDex6r42pgq5KTucpSKcCHvpitB86hU2hy8IPgUL23O9M+XwwUKMvaBN2UPST9sQWSYoW0j+s2rAn8DK0Mr",
        "sRyNFc2xpn2sMIQEwyVr540i3cqpjF1wt53twccSQSXnwQAuBpO6dz+VL2G6SEUMlKUHMPME1dUp/NgoUwnB",
        "IafIxwKBgQDO+m5AuX9y/GT0Di7tok8ZNRAkTuMeAlJbjqF0ahTexz60raKPDd1Mc71HueOaTsnx4gscSGp/",
        "f2ou+gO2kc7wIuN3YDziKxxEkZnbTcNyznKLI2AmsjyEOXgv1uHj4jKuEUMFbmc7tFWLpUO+ZbY1hyU37LyY",
        "CIn1TLqc0W0NaQKBgQC3wYgj9eJ31tq4F+iv++fyDWU25CzfuHzlLGiT9b8kasfkjSbWD81GLhP8tNVMjO/V",
        "+ajVeaU1PjzXt1KTcmZzdR2SQBr+8ZGjf/eY9ohyzvDAQxg7xijNGP4D75q9e3OTgzdNIdlfS5LXnY7e3qj0",
        "sopxXZOTK4x8TmoIVKNZtwKBgF1zGZhqy18xePJI6vc24/isw8seDUUM3RFdQp5ye0buZs/GVwDQuF8WB/rr",
        "AT6O8PdIG3/ObHs4srokd9c2oNc4pBATIQsgHlro1pb38BmyQikA4KGFO3VunfPqj7IkG4kXNPkx6fZkTmz/",
        "unzP2S5Zi9Vi2jUJXgSs7Bqi64go",
    ),
];

/// A private key.
pub enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// One of two RSA keys.
    pub fn rsa(index: usize) -> Self {
        let der = STANDARD.decode(RSA.get(index).unwrap()).unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).unwrap()))
    }

    /// A new key on P-256.
    pub fn p256() -> Self {
        let (form, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(form, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(form, key.as_ref(), &random).unwrap())
    }

    /// A new key on P-384.
    pub fn p384() -> Self {
        let (form, random) = (&ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(form, &random).unwrap();
        Self::P384(EcdsaKeyPair::from_pkcs8(form, key.as_ref(), &random).unwrap())
    }

    /// A new Ed25519 key.
    pub fn ed25519() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// The algorithm that fits it, the first if there are several.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as a JWK with this `kid`, for signatures.
    pub fn jwk(&self, id: &str) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public key as a JWK without anything that may be left out.
    pub fn bare_jwk(&self) -> Value {
        let point = |key: &[u8], curve: &str| {
            let (x, y) = key.get(1..).unwrap().split_at(key.len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
        };
        match self {
            Self::Rsa(key) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
            Self::P256(key) => point(key.public_key().as_ref(), "P-256"),
            Self::P384(key) => point(key.public_key().as_ref(), "P-384"),
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) })
            }
        }
    }

    /// A token with this header, whose `alg` is filled in if it is missing, and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut header = header.clone();
        if header.get("alg").is_none() {
            header["alg"] = json!(self.algorithm());
        }
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A token of these texts, signed as the header says if the key can do it.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let written: Value = serde_json::from_str(header).unwrap_or_default();
        let signature = self.signature(signed.as_bytes(), written["alg"].as_str());
        format!("{signed}.{}", encode(&signature))
    }

    fn signature(&self, message: &[u8], algorithm: Option<&str>) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let form: &dyn signature::RsaEncoding = match algorithm {
                    Some("RS384") => &signature::RSA_PKCS1_SHA384,
                    Some("RS512") => &signature::RSA_PKCS1_SHA512,
                    Some("PS256") => &signature::RSA_PSS_SHA256,
                    Some("PS384") => &signature::RSA_PSS_SHA384,
                    Some("PS512") => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(form, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) => {
                key.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token of these texts with an HMAC of this secret.
pub fn sign_hmac(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// Base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWK Set.
pub fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
