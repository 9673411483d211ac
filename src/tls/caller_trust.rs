//! The CAs whose certificates callers log in with, in files that may be replaced.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::files::FileCell;
use crate::latest::Latest;
use crate::pem::{self, PemError};
use crate::tls::error::TlsError;

/// Decides which certificates of callers are trusted: those of the CAs that are in a file now, but
/// for those that a list of the CA revokes (RFC 5280 §5).
#[derive(Debug)]
pub struct CallerTrust {
    ca: TrustFile,
    crl: Option<TrustFile>,
    is_required: bool,
    provider: Arc<CryptoProvider>,
    loaded: Latest<LoadedTrust>,
}

/// A file of CAs, or of what they revoke.
#[derive(Debug)]
pub(super) struct TrustFile {
    pub(super) path: PathBuf,
    pub(super) file: FileCell,
}

/// The verifier that was loaded from this version of the files, or before it if they cannot be used.
#[derive(Debug)]
struct LoadedTrust {
    version: u64,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl CallerTrust {
    /// Reads the files. A caller without a certificate is let in unless `is_required`.
    pub(super) fn new(
        ca: TrustFile,
        crl: Option<TrustFile>,
        is_required: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let loaded = LoadedTrust {
            version: version(&ca, crl.as_ref()),
            verifier: load(&ca, crl.as_ref(), &provider)?,
        };
        Ok(Self {
            ca,
            crl,
            is_required,
            provider,
            loaded: Latest::new(loaded),
        })
    }

    /// Returns a number that grows when one of the files was replaced. What was trusted before is
    /// then to be verified again.
    #[must_use]
    pub fn version(&self) -> u64 {
        version(&self.ca, self.crl.as_ref())
    }

    /// Returns whether a chain of certificates, the caller's first, is trusted now.
    #[must_use]
    pub fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((caller, intermediates)) = chain.split_first() else {
            return false;
        };
        let now = UnixTime::now();
        let verified = self.verify_client_cert(caller, intermediates, now);
        verified.is_ok()
    }

    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        let version = self.version();
        let loaded = self.loaded.get();
        if loaded.version == version {
            return Arc::clone(&loaded.verifier);
        }
        let verifier = load(&self.ca, self.crl.as_ref(), &self.provider).unwrap_or_else(|error| {
            // Logged once: the version is stored below.
            tracing::warn!(%error, "the previous CAs of callers stay in use");
            Arc::clone(&loaded.verifier)
        });
        self.loaded.set(LoadedTrust {
            version,
            verifier: Arc::clone(&verifier),
        });
        verifier
    }
}

fn version(ca: &TrustFile, crl: Option<&TrustFile>) -> u64 {
    ca.file.version() + crl.map_or(0, |crl| crl.file.version())
}

fn load(
    ca: &TrustFile,
    crl: Option<&TrustFile>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let invalid = |file: &TrustFile, source: PemError| TlsError::Pem {
        path: file.path.clone(),
        source,
    };
    let roots = pem::roots(ca.file.now().expose()).map_err(|error| invalid(ca, error))?;
    let roots = Arc::new(roots);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    if let Some(crl) = crl {
        let lists = pem::revocations(crl.file.now().expose());
        // A certificate of a CA without a list is refused: nobody knows whether it is revoked.
        builder = builder.with_crls(lists.map_err(|error| invalid(crl, error))?);
    }
    let verifier = builder.build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    Ok(verifier)
}

impl ClientCertVerifier for CallerTrust {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    // No hints: a client then sends what it has, also if the file was replaced meanwhile.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verifier = self.current();
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
