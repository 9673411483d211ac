//! TLS towards upstreams and token endpoints.
//!
//! One rustls configuration serves all that trust what the machine trusts, made when the first needs it: reading the
//! machine's certificates takes milliseconds and megabytes, so it is not done per upstream, and not at all where
//! every upstream is plain HTTP. Who has `tls` settings has a configuration of its own, whose trust and identity are
//! looked up at each handshake: files that are replaced are in use for the next connection, whichever HTTP client
//! makes it.

mod cause;
mod identity;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

pub use cause::{cause, is_refusal};
pub use identity::Key;

use crate::config::{MAX_CERTIFICATES, TlsSettings, TlsVersion};
use crate::files::{FileError, Files};
use crate::pem::PemError;
use identity::Identity;
use trust::Trust;

/// No TLS can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsError {
    /// The machine's trusted certificates cannot be used.
    #[error("no usable TLS certificates on this machine")]
    Machine(#[source] Arc<rustls::Error>),
    /// A file of `tls` cannot be used any more.
    #[error(transparent)]
    File(#[from] Arc<FileError>),
    /// What is in it cannot be used any more.
    #[error("`{}`: {source}", path.display())]
    Pem {
        /// The file of the certificates.
        path: PathBuf,
        /// What is wrong with it, or with the key that belongs to it.
        source: PemError,
    },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Machine(Arc::new(error))
    }
}

/// What connections are made with.
#[derive(Debug, Default)]
pub struct Tls {
    files: Arc<Files>,
    trusting: OnceLock<Result<ClientConfig, TlsError>>,
}

impl Tls {
    /// For a weir whose files are `files`.
    #[must_use]
    pub fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            trusting: OnceLock::new(),
        }
    }

    /// For `https`: trusts what the machine trusts.
    ///
    /// # Errors
    /// The machine's certificates cannot be read.
    pub fn trusting(&self) -> Result<ClientConfig, TlsError> {
        self.trusting.get_or_init(trusting).clone()
    }

    /// For `http`, where nothing is encrypted: trusts nobody.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn none() -> Result<ClientConfig, TlsError> {
        let builder = builder(&provider(), TlsVersion::default())?;
        let mut config = builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        // Room for sessions is taken in advance, 17 KiB of it.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// For an upstream with `tls` settings. `key` is the private key of their `identity`. The server's name is the
    /// connector's affair: it is part of a connection.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_upstream(
        &self,
        settings: &TlsSettings,
        key: Option<Box<dyn Key>>,
    ) -> Result<ClientConfig, TlsError> {
        let is_usual = settings.ca.is_none() && settings.min_version == TlsVersion::default();
        let identity = settings.identity.as_ref().zip(key);
        if is_usual && identity.is_none() {
            return self.trusting();
        }
        let provider = provider();
        let builder = builder(&provider, settings.min_version)?.dangerous();
        let builder = match &settings.ca {
            Some(ca) => {
                let trust = Trust::new(ca, self.file(ca)?, provider, false)?;
                builder.with_custom_certificate_verifier(Arc::new(trust))
            }
            None => builder.with_custom_certificate_verifier(machine(provider)?),
        };
        let mut config = match identity {
            Some((identity, key)) => {
                let cert = self.file(&identity.cert)?;
                let identity = Identity::new(&identity.cert, cert, key)?;
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        };
        // A resumed session is neither verified nor logged in to again.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// For the token endpoint of an upstream: trusts what the machine trusts and the upstream's private CA, and shows
    /// no client certificate.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn for_tokens(&self, settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
        let Some(ca) = &settings.ca else {
            return self.trusting();
        };
        let provider = provider();
        let builder = builder(&provider, settings.min_version)?;
        let trust = Trust::new(ca, self.file(ca)?, provider, true)?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn file(&self, path: &std::path::Path) -> Result<crate::files::FileCell, TlsError> {
        let file = self.files.open(path, MAX_CERTIFICATES);
        file.map_err(|error| TlsError::File(Arc::new(error)))
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder(provider: &Arc<CryptoProvider>, least: TlsVersion) -> Result<Builder, TlsError> {
    let versions = match least {
        TlsVersion::V1_2 => rustls::DEFAULT_VERSIONS,
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    Ok(builder.with_protocol_versions(versions)?)
}

fn machine(provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>, TlsError> {
    Ok(Arc::new(Verifier::new(provider)?))
}

fn trusting() -> Result<ClientConfig, TlsError> {
    let provider = provider();
    // The one way to a verifier of one's own; it checks as strictly as the built-in one.
    Ok(builder(&provider, TlsVersion::default())?
        .dangerous()
        .with_custom_certificate_verifier(machine(provider)?)
        .with_no_client_auth())
}
