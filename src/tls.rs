//! TLS towards upstreams: one rustls configuration for all of them, made when the first needs it.
//!
//! Reading the machine's certificates takes milliseconds and megabytes, so it is not done per upstream,
//! and not at all where every upstream is plain HTTP.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

/// The machine's trusted certificates cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no usable TLS certificates on this machine")]
pub struct TlsError(#[source] Arc<rustls::Error>);

/// What connections are made with.
#[derive(Debug, Default)]
pub struct Tls {
    trusting: OnceLock<Result<ClientConfig, TlsError>>,
}

impl Tls {
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
        let builder = builder(&Arc::new(ring::default_provider()))?;
        Ok(builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth())
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(provider: &Arc<CryptoProvider>) -> Result<Builder, TlsError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(Arc::new(error)))
}

fn trusting() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        Verifier::new(Arc::clone(&provider)).map_err(|error| TlsError(Arc::new(error)))?;
    // The one way to a verifier of one's own; it checks as strictly as the built-in one.
    Ok(builder(&provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
