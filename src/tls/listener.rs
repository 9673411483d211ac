//! TLS of weir's own listener.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsVersion;
use crate::tls::caller_trust::CallerTrust;
use crate::tls::certificate_files::CertificateFiles;
use crate::tls::error::TlsError;
use crate::tls::failure;
use crate::tls::versions::versions;

/// Most bytes of answers that a connection keeps encrypted until the client takes them: one record
/// (RFC 8446 §5.1).
const SEND_BUFFER: usize = 16 << 10;

/// Makes connections of the listener secure.
pub struct ListenerTls {
    config: Arc<ServerConfig>,
    callers: Option<Arc<CallerTrust>>,
    failures: AtomicU64,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerTls").finish_non_exhaustive()
    }
}

impl ListenerTls {
    pub(super) fn new(
        provider: &Arc<CryptoProvider>,
        min_version: TlsVersion,
        certificate: CertificateFiles,
        callers: Option<Arc<CallerTrust>>,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
        let builder = builder.with_protocol_versions(versions(min_version))?;
        let builder = match callers.clone() {
            Some(trust) => builder.with_client_cert_verifier(trust),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if callers.is_some() {
            // A resumed session would skip the verification of the client's certificate: one that
            // was revoked meanwhile would be let in.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            config: Arc::new(config),
            callers,
            failures: AtomicU64::default(),
        })
    }

    /// Returns the version of the trust in certificates of callers.
    #[must_use]
    pub fn trust_version(&self) -> u64 {
        self.callers.as_ref().map_or(0, |trust| trust.version())
    }

    /// Shakes hands with a client. The caller bounds the time.
    ///
    /// # Errors
    /// The client is gone, speaks something else, or there is no agreement. The operator's reason
    /// is logged.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let bounded = |connection: &mut rustls::ServerConnection| {
            connection.set_buffer_limit(Some(SEND_BUFFER));
        };
        let accepted = acceptor.accept_with(stream, bounded).await;
        if let Err(error) = &accepted {
            self.count_failure();
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            match inner {
                Some(reason) => tracing::info!(
                    reason = failure::describe_refusal(reason),
                    "no TLS connection was made with a caller"
                ),
                // It hung up, as probes of the port do.
                None => tracing::debug!(%error, "a TLS handshake ended early"),
            }
        }
        accepted
    }

    /// Counts a handshake that took too long.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Returns how many handshakes have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }
}
