//! Checkpoints: lines that sign all lines before them (Ed25519, RFC 8032).
//!
//! A writer of the file can compute a chain anew; without the key nobody can sign it. The text that is
//! signed is
//!
//! ```text
//! weir audit checkpoint 1
//! INSTANCE
//! SEQ
//! PREV
//! TIME
//! ```
//!
//! of the checkpoint's own members, each line of it ended by a line break.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::json;

use crate::audit::chain::ChainEnd;
use crate::audit::event::AuditEvent;
use crate::audit::line::{AuditLine, time_text};
use crate::pem::{self, PemError};
use crate::seal::NoRandom;

/// The first bytes of a public key of Ed25519 in DER (RFC 8410 §4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The beginning of the text of a public key.
const ALGORITHM: &str = "ed25519:";

/// The key that signs checkpoints.
#[derive(Clone)]
pub struct AuditSigner {
    pair: Arc<Ed25519KeyPair>,
}

/// The key that checkpoints are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditPublicKey([u8; 32]);

/// A checkpoint that was read.
#[derive(Debug, Deserialize)]
pub(super) struct Checkpoint<'a> {
    time: &'a str,
    instance: &'a str,
    pub(super) seq: u64,
    prev: &'a str,
    pub(super) hash: &'a str,
    event: Signature<'a>,
}

#[derive(Debug, Deserialize)]
struct Signature<'a> {
    key: &'a str,
    signature: &'a str,
}

impl AuditSigner {
    /// Reads a private key of Ed25519 in PEM (PKCS#8, RFC 8410), as `openssl genpkey -algorithm
    /// ed25519` makes it.
    ///
    /// # Errors
    /// The text is no such key.
    pub fn from_pem(text: &str) -> Result<Self, PemError> {
        let pair = Arc::new(pem::ed25519(text)?);
        Ok(Self { pair })
    }

    /// Makes the text of a new key, for [`AuditSigner::from_pem`].
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn new_pem() -> Result<String, NoRandom> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NoRandom)?;
        let base64 = STANDARD.encode(made.as_ref());
        let lines: Vec<_> = base64
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        Ok(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        ))
    }

    /// Returns the key that its signatures are checked with.
    #[must_use]
    pub fn public_key(&self) -> AuditPublicKey {
        let mut bytes = [0; 32];
        let public = self.pair.public_key().as_ref();
        bytes
            .iter_mut()
            .zip(public)
            .for_each(|(to, from)| *to = *from);
        AuditPublicKey(bytes)
    }

    /// Writes the members of the checkpoint that comes after `end`.
    pub(super) fn checkpoint(&self, end: &ChainEnd, time: SystemTime, instance: &str) -> Vec<u8> {
        let text = signed_text(instance, end.seq + 1, end.hash.as_str(), &time_text(time));
        let signature = STANDARD.encode(self.pair.sign(text.as_bytes()));
        let event = json!({ "key": self.public_key().to_string(), "signature": signature });
        AuditLine {
            time: Some(time),
            method: AuditEvent::CHECKPOINT,
            instance: Some(instance),
            event: Some(&event.to_string()),
            ..AuditLine::default()
        }
        .write()
    }
}

impl fmt::Debug for AuditSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSigner")
    }
}

fn signed_text(instance: &str, seq: u64, prev: &str, time: &str) -> String {
    format!("weir audit checkpoint 1\n{instance}\n{seq}\n{prev}\n{time}\n")
}

impl AuditPublicKey {
    /// Reads a key: `ed25519:` and 32 bytes in base64, as checkpoints have it, or PEM, as
    /// `openssl pkey -pubout` writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = match text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
            Some(rest) => {
                let inside = rest.strip_suffix("-----END PUBLIC KEY-----")?;
                let inside: String = inside.split_whitespace().collect();
                let der = STANDARD.decode(inside).ok()?;
                der.strip_prefix(&SPKI)?.to_vec()
            }
            None => {
                let inside = text.strip_prefix(ALGORITHM).unwrap_or(text);
                STANDARD.decode(inside).ok()?
            }
        };
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for AuditPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for AuditPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Checkpoint<'a> {
    /// Reads a line of a checkpoint; `None` if it is another one.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Returns whether a line, whose hash is right, is a checkpoint: only weir writes this method.
    pub(super) fn is_one(line: &[u8]) -> bool {
        static METHOD: LazyLock<Finder<'static>> =
            LazyLock::new(|| Finder::new(b",\"method\":\"weir/checkpoint\",\"tool_name\":"));
        METHOD.find(line).is_some()
    }

    /// Reads a line that may be any, with its line break or without; `None` if it is no checkpoint.
    pub(super) fn of_line(line: &'a [u8]) -> Option<Self> {
        Self::is_one(line).then(|| Self::parse(line))?
    }

    /// Returns the signature as base64.
    pub(super) fn signature(&self) -> &'a str {
        self.event.signature
    }

    /// Returns the key that it names.
    pub(super) fn key(&self) -> Option<AuditPublicKey> {
        AuditPublicKey::parse(self.event.key)
    }

    /// Returns whether its signature is that of a key.
    pub(super) fn is_signed_by(&self, key: &AuditPublicKey) -> bool {
        let text = signed_text(self.instance, self.seq, self.prev, self.time);
        let public = UnparsedPublicKey::new(&ED25519, key.0);
        let signature = STANDARD.decode(self.event.signature);
        signature.is_ok_and(|signature| public.verify(text.as_bytes(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(signer: &AuditSigner) -> Vec<u8> {
        let mut end = ChainEnd::EMPTY;
        let mut line = signer.checkpoint(&end, SystemTime::now(), "weir-1");
        end.end_line(&mut line);
        line.pop();
        line
    }

    #[test]
    fn a_checkpoint_is_signed_by_its_key_and_no_other() {
        let [signer, other] = [0, 1].map(|_| {
            let text = AuditSigner::new_pem().unwrap();
            AuditSigner::from_pem(&text).unwrap()
        });
        let line = line(&signer);
        assert!(Checkpoint::is_one(&line));
        let read = Checkpoint::parse(&line).unwrap();
        assert_eq!(read.key(), Some(signer.public_key()));
        assert!(read.is_signed_by(&signer.public_key()));
        assert!(!read.is_signed_by(&other.public_key()));
        let text = String::from_utf8(line.clone()).unwrap();
        let elsewhere = text.replace("weir-1", "weir-2");
        let elsewhere = Checkpoint::parse(elsewhere.as_bytes()).unwrap();
        assert!(!elsewhere.is_signed_by(&signer.public_key()));
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // openssl genpkey -algorithm ed25519; openssl pkey -pubout (RFC 8410 §10.3 and §10.1)
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let signer = AuditSigner::from_pem(private).unwrap();
        assert_eq!(AuditPublicKey::parse(public), Some(signer.public_key()));
        let text = signer.public_key().to_string();
        assert_eq!(AuditPublicKey::parse(&text), Some(signer.public_key()));
        for wrong in ["", "ed25519:", "ed25519:AAAA", private] {
            assert_eq!(AuditPublicKey::parse(wrong), None, "{wrong}");
        }
    }
}
