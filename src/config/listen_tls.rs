//! `listen.tls`: the listener's own TLS.

use std::path::PathBuf;

use super::{SecretRef, TlsVersion};

/// `listen.tls` — the certificate of the listener.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// PEM: the certificate, then those in between it and the CA; watched.
    pub cert: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), from a file, which is watched, or a variable.
    pub key: SecretRef,
    /// The minimum TLS version.
    pub min_version: TlsVersion,
}

impl ListenTls {
    /// Returns all settings as text, for a digest. What the files hold is not in it: they are
    /// watched.
    pub(super) fn written(&self) -> String {
        let Self {
            cert,
            key,
            min_version,
        } = self;
        let key = match key {
            SecretRef::Fixed(key) => key.expose().to_owned(),
            SecretRef::File { path, .. } => path.display().to_string(),
            SecretRef::Aws(secret) => format!("{secret:?}"),
        };
        format!("{cert:?} {key} {min_version:?}")
    }
}
