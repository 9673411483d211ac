//! Whom weir trusts, by a file that may be replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::TlsError;
use crate::files::FileCell;
use crate::latest::Latest;
use crate::pem::{self, PemError};

/// Trusts the certificates of a file: those that are in it now.
#[derive(Debug)]
pub(super) struct Trust {
    path: PathBuf,
    file: FileCell,
    provider: Arc<CryptoProvider>,
    /// Whether what the machine trusts is trusted besides.
    with_machine: bool,
    made: Latest<Made>,
}

/// What was made of one version of the file, or stayed when nothing could be made of it.
#[derive(Debug)]
struct Made {
    version: u64,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Trust {
    pub(super) fn new(
        path: &Path,
        file: FileCell,
        provider: Arc<CryptoProvider>,
        with_machine: bool,
    ) -> Result<Self, TlsError> {
        let version = file.version();
        let verifier = make(path, &file, &provider, with_machine)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            provider,
            with_machine,
            made: Latest::new(Made { version, verifier }),
        })
    }

    fn now(&self) -> Arc<dyn ServerCertVerifier> {
        let version = self.file.version();
        let made = self.made.get();
        if made.version == version {
            return Arc::clone(&made.verifier);
        }
        let verifier = make(&self.path, &self.file, &self.provider, self.with_machine)
            .unwrap_or_else(|error| {
                // Once: the version is taken note of.
                tracing::warn!(%error, "what the file held stays in use");
                Arc::clone(&made.verifier)
            });
        self.made.set(Made {
            version,
            verifier: Arc::clone(&verifier),
        });
        verifier
    }
}

fn make(
    path: &Path,
    file: &FileCell,
    provider: &Arc<CryptoProvider>,
    with_machine: bool,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let unfit = |source: PemError| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let text = file.now();
    // Both: certificates that cannot be read are refused in either case.
    let roots = pem::roots(text.expose()).map_err(unfit)?;
    if with_machine {
        let more = pem::certificates(text.expose()).map_err(unfit)?;
        let verifier = Verifier::new_with_extra_roots(more, Arc::clone(provider))?;
        return Ok(Arc::new(verifier));
    }
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = builder.build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    Ok(verifier)
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.now()
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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
