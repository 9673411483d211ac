//! The certificates that weir trusts, in a file that may be replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::files::FileCell;
use crate::latest::Latest;
use crate::pem::{self, PemError};
use crate::tls::error::TlsError;

/// Trusts the certificates that are in a file now.
#[derive(Debug)]
pub(super) struct CaFileVerifier {
    path: PathBuf,
    file: FileCell,
    provider: Arc<CryptoProvider>,
    /// Whether what the machine trusts is trusted too.
    with_system: bool,
    loaded: Latest<LoadedVerifier>,
}

/// The verifier that was loaded from this version of the file, or before it if this one cannot be
/// used.
#[derive(Debug)]
struct LoadedVerifier {
    version: u64,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl CaFileVerifier {
    pub(super) fn new(
        path: &Path,
        file: FileCell,
        provider: Arc<CryptoProvider>,
        with_system: bool,
    ) -> Result<Self, TlsError> {
        let version = file.version();
        let verifier = load(path, &file, &provider, with_system)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            provider,
            with_system,
            loaded: Latest::new(LoadedVerifier { version, verifier }),
        })
    }

    fn current(&self) -> Arc<dyn ServerCertVerifier> {
        let version = self.file.version();
        let loaded = self.loaded.get();
        if loaded.version == version {
            return Arc::clone(&loaded.verifier);
        }
        let verifier = load(&self.path, &self.file, &self.provider, self.with_system)
            .unwrap_or_else(|error| {
                // Logged once: the version is stored below.
                tracing::warn!(%error, "the previous certificates of the file stay in use");
                Arc::clone(&loaded.verifier)
            });
        self.loaded.set(LoadedVerifier {
            version,
            verifier: Arc::clone(&verifier),
        });
        verifier
    }
}

fn load(
    path: &Path,
    file: &FileCell,
    provider: &Arc<CryptoProvider>,
    with_system: bool,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let invalid = |source: PemError| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let text = file.now();
    // In both cases: certificates that cannot be read are an error.
    let roots = pem::roots(text.expose()).map_err(invalid)?;
    if with_system {
        let more = pem::certificates(text.expose()).map_err(invalid)?;
        let verifier = Verifier::new_with_extra_roots(more, Arc::clone(provider))?;
        return Ok(Arc::new(verifier));
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = builder.build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    Ok(verifier)
}

impl ServerCertVerifier for CaFileVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.current().verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
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
