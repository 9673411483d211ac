//! The caller of a request. Its session's state is something else: see
//! [`crate::session::CallerSession`].

mod certificate;
mod handle;
mod identity;
mod presence;
mod room;
mod share;
mod tags;

use std::net::IpAddr;
use std::sync::Arc;

use crate::memory::MemoryShare;

pub use certificate::{CertificateError, PeerCertificate};
pub use handle::Handle;
pub use identity::{Caller, Identity, IdentityDigest, Principal, PrincipalKey};
pub use presence::{Presence, PresenceState, WaitingRequest};
pub use room::{Occupant, Rest, Room, RoomIsFull};
pub use share::{Contention, Holdings, ShareKey, Turn};
pub use tags::tags_of;

/// The connection that the requests of a caller come over.
#[derive(Clone, Debug)]
pub struct CallerConnection {
    /// The address at its other end; `None` over stdio.
    pub address: Option<IpAddr>,
    /// The bytes that are kept for it: requests that arrive, answers until they are sent.
    pub memory: MemoryShare,
    /// The certificate that the caller proved to have at the handshake of TLS.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl CallerConnection {
    /// Returns the key of the caller's share.
    #[must_use]
    pub fn share(&self) -> ShareKey {
        ShareKey::of(self.address)
    }
}

/// Marks an HTTP response as a stream of changes, which stands for as long as its caller likes. It
/// is an extension of the response that the listener takes off.
#[derive(Clone, Copy, Debug)]
pub struct StandingAnswer;
