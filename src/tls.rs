//! TLS towards upstreams and token endpoints, and of weir's own listener.
//!
//! All connections that trust what the machine trusts share one rustls configuration. It is made
//! when the first connection needs it, because reading the machine's certificates takes
//! milliseconds and megabytes; if every upstream is plain HTTP, they are never read. An upstream
//! with `tls` settings has a configuration of its own. Its CA file and client certificate are
//! looked up at each handshake: a file that is replaced is used by the next connection of any HTTP
//! client.

mod ca_file;
mod caller_trust;
mod certificate_files;
mod error;
mod failure;
mod listener;
mod versions;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

pub use caller_trust::CallerTrust;
pub use certificate_files::KeySource;
pub use error::TlsError;
pub use failure::{describe, describe_refusal, is_rejection};
pub use listener::ListenerTls;

use crate::config::{ListenTls, MAX_CERTIFICATES, MAX_REVOCATIONS, TlsSettings, TlsVersion};
use crate::files::{FileCell, Files};
use ca_file::CaFileVerifier;
use caller_trust::TrustFile;
use certificate_files::CertificateFiles;
use versions::versions;

/// Makes the TLS configurations of connections.
#[derive(Debug, Default)]
pub struct TlsConfigs {
    files: Arc<Files>,
    system_trust: OnceLock<Result<ClientConfig, TlsError>>,
}

impl TlsConfigs {
    /// Creates it for a weir whose files are `files`.
    #[must_use]
    pub fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            system_trust: OnceLock::new(),
        }
    }

    /// Returns the configuration for `https`, which trusts what the machine trusts.
    ///
    /// # Errors
    /// The machine's certificates cannot be read.
    pub fn system_trust(&self) -> Result<ClientConfig, TlsError> {
        self.system_trust.get_or_init(system_trust).clone()
    }

    /// Returns a configuration for clients of `http` URLs, which never use it. It trusts no
    /// certificate.
    ///
    /// # Errors
    /// The TLS library rejects its own defaults.
    pub fn plain() -> Result<ClientConfig, TlsError> {
        let builder = builder(&provider(), TlsVersion::default())?;
        let mut config = builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        // Resumption would allocate 17 KiB for sessions in advance.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Returns the configuration for an upstream with `tls` settings. `key` is the private key of
    /// their `identity`. `server_name` is not used here: it belongs to a connection.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_upstream(
        &self,
        settings: &TlsSettings,
        key: Option<Box<dyn KeySource>>,
    ) -> Result<ClientConfig, TlsError> {
        let is_default = settings.ca.is_none() && settings.min_version == TlsVersion::default();
        let identity = settings.identity.as_ref().zip(key);
        if is_default && identity.is_none() {
            return self.system_trust();
        }
        let provider = provider();
        let builder = builder(&provider, settings.min_version)?.dangerous();
        let builder = match &settings.ca {
            Some(ca) => {
                let trust = CaFileVerifier::new(ca, self.file(ca)?, provider, false)?;
                builder.with_custom_certificate_verifier(Arc::new(trust))
            }
            None => builder.with_custom_certificate_verifier(system_verifier(provider)?),
        };
        let mut config = match identity {
            Some((identity, key)) => {
                let cert = self.file(&identity.cert)?;
                let identity = CertificateFiles::new(&identity.cert, cert, key)?;
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        };
        // A resumed session would skip the verification and the client certificate.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Returns the configuration for the token endpoint of an upstream. It trusts what the machine
    /// trusts and the upstream's private CA, and has no client certificate.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_tokens(&self, settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
        let Some(ca) = &settings.ca else {
            return self.system_trust();
        };
        let provider = provider();
        let builder = builder(&provider, settings.min_version)?;
        let trust = CaFileVerifier::new(ca, self.file(ca)?, provider, true)?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Returns the trust in certificates of callers: of the CAs of a file, but for those that the
    /// lists of another file revoke. A caller without a certificate is let in unless `is_required`.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn caller_trust(
        &self,
        ca: &Path,
        crl: Option<&Path>,
        is_required: bool,
    ) -> Result<Arc<CallerTrust>, TlsError> {
        let open = |path: &Path, limit| -> Result<TrustFile, TlsError> {
            let file = self.files.open(path, limit);
            Ok(TrustFile {
                path: path.to_owned(),
                file: file.map_err(|error| TlsError::File(Arc::new(error)))?,
            })
        };
        let ca = open(ca, MAX_CERTIFICATES)?;
        let crl = crl.map(|crl| open(crl, MAX_REVOCATIONS)).transpose()?;
        CallerTrust::new(ca, crl, is_required, provider()).map(Arc::new)
    }

    /// Returns the TLS of weir's own listener. With `callers`, their certificates are asked for.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_listener(
        &self,
        settings: &ListenTls,
        key: Box<dyn KeySource>,
        callers: Option<Arc<CallerTrust>>,
    ) -> Result<Arc<ListenerTls>, TlsError> {
        let cert = self.file(&settings.cert)?;
        let certificate = CertificateFiles::new(&settings.cert, cert, key)?;
        let min_version = settings.min_version;
        ListenerTls::new(&provider(), min_version, certificate, callers).map(Arc::new)
    }

    fn file(&self, path: &Path) -> Result<FileCell, TlsError> {
        let file = self.files.open(path, MAX_CERTIFICATES);
        file.map_err(|error| TlsError::File(Arc::new(error)))
    }
}

type VersionedBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder(
    provider: &Arc<CryptoProvider>,
    min_version: TlsVersion,
) -> Result<VersionedBuilder, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    Ok(builder.with_protocol_versions(versions(min_version))?)
}

fn system_verifier(provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>, TlsError> {
    Ok(Arc::new(Verifier::new(provider)?))
}

fn system_trust() -> Result<ClientConfig, TlsError> {
    let provider = provider();
    // `dangerous` is needed for any verifier but the built-in one; this one checks as strictly.
    Ok(builder(&provider, TlsVersion::default())?
        .dangerous()
        .with_custom_certificate_verifier(system_verifier(provider)?)
        .with_no_client_auth())
}
