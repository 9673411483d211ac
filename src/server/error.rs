//! Why a weir does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::audit::AuditFileError;
use crate::authentication::AuthenticationSetupError;
use crate::credentials::SetupError;
use crate::credentials::secrets::SecretUnavailable;
use crate::guard::detectors::DetectorsError;
use crate::guard::pseudonyms::KeyTextError;
use crate::hooks::HookSetupError;
use crate::live::schedule::ScheduleError;
use crate::name::UpstreamId;
use crate::pem::PemError;
use crate::seal::NoRandom;
use crate::tls::TlsError;
use crate::upstream::http::WireError;

/// Why a weir does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on the Unix socket {}", path.display())]
    BindUnix {
        /// The socket.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The state folder cannot be used.
    #[error("cannot use the state folder {}", path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The certificate of the listener, or what trusts those of callers, cannot be used.
    #[error("`listen.tls`")]
    Tls(#[from] TlsError),
    /// The key of the listener's certificate cannot be read.
    #[error("`listen.tls.key`")]
    TlsKey(#[from] SecretUnavailable),
    /// The admin token cannot be read.
    #[error("`admin.token`")]
    AdminToken(#[source] SecretUnavailable),
    /// An upstream cannot be set up.
    #[error("upstream `{upstream}`")]
    Upstream {
        /// Its name.
        upstream: UpstreamId,
        /// Why.
        #[source]
        source: WireError,
    },
    /// A hook cannot be set up.
    #[error("hooks")]
    Hooks(#[from] HookSetupError),
    /// Callers cannot be authenticated as the config says.
    #[error("callers cannot be authenticated")]
    Authentication(#[from] AuthenticationSetupError),
    /// Records cannot be written.
    #[error("no records can be kept")]
    Audit(#[from] AuditFileError),
    /// The key of their checkpoints cannot be used.
    #[error("`audit.sign`")]
    AuditKey(#[source] PemError),
    /// A rule for data cannot be used.
    #[error("`guard.redact`")]
    Guard(#[from] DetectorsError),
    /// The key of pseudonyms cannot be used.
    #[error("`guard.redact.key`")]
    PseudonymKey(#[from] KeyTextError),
    /// TLS towards the store of the replicas cannot be set up.
    #[error("`replicas.store.tls`")]
    Replicas(#[source] TlsError),
    /// The password of the store, or the key of weir's certificate for it, cannot be read.
    #[error("`replicas.store`")]
    ReplicasKey(#[source] SecretUnavailable),
    /// The host of the store is no name that a certificate can have.
    #[error("`replicas.store.url`: no certificate can have this name")]
    ReplicasName,
    /// Weir stops while it sets itself up.
    #[error("it was stopped meanwhile")]
    Unfinished,
    /// Spans and log records cannot be sent as the config says.
    #[error("`telemetry`")]
    Telemetry(#[source] SetupError),
    /// The resync schedule cannot be set up.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// There are no random numbers for a sealing key or an instance name.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}
