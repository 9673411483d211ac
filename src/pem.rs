//! Certificates and private keys in PEM (RFC 7468).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::signature::Ed25519KeyPair;
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::{parse_x509_certificate, parse_x509_crl};

/// Why text is not the PEM that it should be. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Not PEM, or incomplete.
    #[error("not PEM: `-----BEGIN …-----`, lines of base64, `-----END …-----`")]
    Syntax,
    /// No certificate.
    #[error("there is no certificate in it: `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// PEM with the label of a certificate, but other content.
    #[error("certificate {0} in it cannot be read")]
    Certificate(usize),
    /// No list of revoked certificates.
    #[error("there is no list of revoked certificates in it: `-----BEGIN X509 CRL-----`")]
    NoRevocations,
    /// PEM with the label of such a list, but other content.
    #[error("list {0} of revoked certificates in it cannot be read")]
    Revocations(usize),
    /// No key.
    #[error("there is no private key in it: `-----BEGIN PRIVATE KEY-----`, `… RSA …` or `… EC …`")]
    NoKey,
    /// A key with a password.
    #[error("the private key is encrypted, and weir has nobody to ask for the password")]
    Encrypted,
    /// A key of a kind that is not supported.
    #[error("the private key is none of RSA, P-256, P-384, Ed25519")]
    Key,
    /// A key of another certificate.
    #[error("the private key does not fit the certificate")]
    Mismatch,
    /// A certificate that nobody accepts any more.
    #[error("the certificate has expired")]
    Expired,
}

/// Returns all certificates of a text: at least one.
///
/// # Errors
/// There is none, or the text is no PEM.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(PemError::NoCertificate),
        Ok(found) => Ok(found),
        Err(_) => Err(PemError::Syntax),
    }
}

/// Returns the certificates of a text as roots of trust.
///
/// # Errors
/// One cannot be read, or there is none.
pub fn roots(text: &str) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(text)?.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|_| PemError::Certificate(index + 1))?;
    }
    Ok(roots)
}

/// Returns the lists of revoked certificates of a text (RFC 5280 §5): at least one.
///
/// # Errors
/// There is none, or the text is no PEM.
pub fn revocations(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let found = CertificateRevocationListDer::pem_slice_iter(text.as_bytes());
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::Syntax)?;
    if found.is_empty() {
        return Err(PemError::NoRevocations);
    }
    let unreadable = found.iter().position(|list| parse_x509_crl(list).is_err());
    match unreadable {
        Some(index) => Err(PemError::Revocations(index + 1)),
        None => Ok(found),
    }
}

/// Returns the first private key of a text: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// There is none, or it is encrypted.
pub fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    // An encrypted PKCS#8 key has its own label; PKCS#1 and SEC1 have a header (RFC 1421 §4.6).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(PemError::Encrypted);
    }
    let found = PrivateKeyDer::from_pem_slice(text.as_bytes());
    found.map_err(|error| match matches!(error, pem::Error::NoItemsFound) {
        true => PemError::NoKey,
        false => PemError::Syntax,
    })
}

/// Returns the first private key of a text, which has to be one of Ed25519 in PKCS#8 (RFC 8410).
///
/// # Errors
/// There is none, it is encrypted, or it is of another kind.
pub fn ed25519(text: &str) -> Result<Ed25519KeyPair, PemError> {
    let PrivateKeyDer::Pkcs8(der) = private_key(text)? else {
        return Err(PemError::Key);
    };
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
    pair.map_err(|_| PemError::Key)
}

/// Returns a certificate with its key and the intermediate certificates up to its CA.
///
/// # Errors
/// One cannot be read, or the key does not fit the certificate.
pub fn identity(cert: &str, key: &str) -> Result<Arc<CertifiedKey>, PemError> {
    let chain = certificates(cert)?;
    let key = provider::sign::any_supported_type(&private_key(key)?).map_err(|_| PemError::Key)?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(identity))
        }
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(PemError::Mismatch)
        }
        Err(_) => Err(PemError::Certificate(1)),
    }
}

/// Returns when the first certificate of a text ends to be valid; `None` if it cannot be read.
#[must_use]
pub fn ends(cert: &str) -> Option<SystemTime> {
    let chain = certificates(cert).ok()?;
    let (_, parsed) = parse_x509_certificate(chain.first()?).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    let seconds = u64::try_from(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> (String, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn a_key_fits_its_certificate_and_no_other() {
        let ((cert, key), (other, _)) = (made("a.example"), made("b.example"));
        assert!(identity(&cert, &key.serialize_pem()).is_ok());
        let both = format!("{other}{cert}");
        for cert in [&other, &both] {
            let fits = identity(cert, &key.serialize_pem());
            assert_eq!(fits.map(drop), Err(PemError::Mismatch));
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (cert, key) = made("a.example");
        let key = key.serialize_pem();
        let of_key = |text: &str| private_key(text).map(drop);
        assert_eq!(certificates(&key), Err(PemError::NoCertificate));
        assert_eq!(certificates("hello"), Err(PemError::NoCertificate));
        assert_eq!(of_key(&cert), Err(PemError::NoKey));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(of_key(&encrypted), Err(PemError::Encrypted));
        let broken = &cert[..cert.len() / 2];
        assert_eq!(certificates(broken), Err(PemError::Syntax));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(
            roots(&format!("{cert}{nonsense}")).map(drop),
            Err(PemError::Certificate(2))
        );
        let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(identity(&cert, nonsense).map(drop), Err(PemError::Key));
    }
}
