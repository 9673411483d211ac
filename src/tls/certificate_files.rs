//! A certificate of weir's own, in files that may be replaced: towards an upstream, or of the listener.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::files::FileCell;
use crate::latest::Latest;
use crate::pem;
use crate::secret::Secret;
use crate::tls::error::TlsError;

/// A private key in PEM that may change.
pub trait KeySource: Debug + Send + Sync {
    /// Returns the key; `None` if it has not been fetched yet.
    fn current(&self) -> Option<Secret>;

    /// Returns a number that grows whenever the key changes.
    fn version(&self) -> u64;
}

/// A certificate and its key, as they are in the files now.
#[derive(Debug)]
pub(super) struct CertificateFiles {
    path: PathBuf,
    cert: FileCell,
    key: Box<dyn KeySource>,
    loaded: Latest<LoadedPair>,
}

/// The certificate and key that were loaded from these versions, or before them if these did not
/// match.
#[derive(Debug)]
struct LoadedPair {
    versions: (u64, u64),
    /// `None` only if the key has not been fetched yet.
    pair: Option<Arc<CertifiedKey>>,
}

impl CertificateFiles {
    pub(super) fn new(
        path: &Path,
        cert: FileCell,
        key: Box<dyn KeySource>,
    ) -> Result<Self, TlsError> {
        let versions = (cert.version(), key.version());
        let pair = load(path, &cert, &*key)?;
        Ok(Self {
            path: path.to_owned(),
            cert,
            key,
            loaded: Latest::new(LoadedPair { versions, pair }),
        })
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let versions = (self.cert.version(), self.key.version());
        let loaded = self.loaded.get();
        if loaded.versions == versions {
            return loaded.pair.clone();
        }
        // The two files are replaced one after the other: until they match, the old pair stays in
        // use.
        let pair = load(&self.path, &self.cert, &*self.key).unwrap_or_else(|error| {
            tracing::warn!(%error, "the previous certificate stays in use");
            loaded.pair.clone()
        });
        self.loaded.set(LoadedPair {
            versions,
            pair: pair.clone(),
        });
        pair
    }
}

fn load(
    path: &Path,
    cert: &FileCell,
    key: &dyn KeySource,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(key) = key.current() else {
        return Ok(None);
    };
    let pair = pem::identity(cert.now().expose(), key.expose());
    pair.map(Some).map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })
}

impl ResolvesClientCert for CertificateFiles {
    // The CAs that the server hints at are ignored: it rejects a wrong certificate with a better
    // reason.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for CertificateFiles {
    // One listener has one certificate, whatever name a client asks for.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}
