//! What weir shows of itself, by files that may be replaced.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::TlsError;
use crate::files::FileCell;
use crate::latest::Latest;
use crate::pem;
use crate::secret::Secret;

/// A private key in PEM that may change.
pub trait Key: Debug + Send + Sync {
    /// The key, if it is here already.
    fn now(&self) -> Option<Secret>;

    /// Grows whenever the key changes.
    fn version(&self) -> u64;
}

/// A client certificate and its key: those that are in the files now.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    cert: FileCell,
    key: Box<dyn Key>,
    made: Latest<Made>,
}

/// What was made of certificate and key in these versions, or stayed when they did not fit.
#[derive(Debug)]
struct Made {
    versions: (u64, u64),
    /// Nothing only where the key has not been fetched yet.
    pair: Option<Arc<CertifiedKey>>,
}

impl Identity {
    pub(super) fn new(path: &Path, cert: FileCell, key: Box<dyn Key>) -> Result<Self, TlsError> {
        let versions = (cert.version(), key.version());
        let pair = make(path, &cert, &*key)?;
        Ok(Self {
            path: path.to_owned(),
            cert,
            key,
            made: Latest::new(Made { versions, pair }),
        })
    }

    fn now(&self) -> Option<Arc<CertifiedKey>> {
        let versions = (self.cert.version(), self.key.version());
        let made = self.made.get();
        if made.versions == versions {
            return made.pair.clone();
        }
        // The two are replaced one after the other: until they fit, the old pair stays.
        let pair = make(&self.path, &self.cert, &*self.key).unwrap_or_else(|error| {
            tracing::warn!(%error, "the client certificate of before stays in use");
            made.pair.clone()
        });
        self.made.set(Made {
            versions,
            pair: pair.clone(),
        });
        pair
    }
}

fn make(
    path: &Path,
    cert: &FileCell,
    key: &dyn Key,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(key) = key.now() else {
        return Ok(None);
    };
    let pair = pem::identity(cert.now().expose(), key.expose());
    pair.map(Some).map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })
}

impl ResolvesClientCert for Identity {
    // Whatever CAs the server hints at: it can refuse better than weir can guess.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.now()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
