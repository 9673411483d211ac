//! `admin:`

mod roles;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::fingerprint::Fingerprint;
use crate::secret::Secret;

pub use roles::{AdminRoles, OperatorRule};

/// `admin:`
#[derive(Debug)]
pub struct Admin {
    /// Where to bind: on loopback or a Unix socket, unless there is a token.
    pub address: AdminAddress,
    /// The token that operators send as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Whether `token` is needed for reading too.
    pub reading: AdminReading,
    /// The callers of `listen.auth` that are operators; `None` if there are none.
    pub auth: Option<AdminRoles>,
    /// The rights of the page for people.
    pub page: AdminPage,
    /// Whether operators may call tools.
    pub try_tools: bool,
}

/// `admin.address`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AdminAddress {
    /// `IP:PORT`
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix {
        /// The file of the socket.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl AdminAddress {
    /// Returns whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix { .. } => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `admin.reading`: which requests that change nothing are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminReading {
    /// Those with the token or a role, if one is written.
    Token,
    /// All.
    Open,
}

/// `admin.page`: what the page for people may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminPage {
    /// It shows, and changes nothing.
    Read,
    /// It also changes what the token may change.
    Write,
    /// There is none.
    Off,
}

impl Admin {
    /// Returns a digest of all settings, the token's text included.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let Self {
            address,
            token,
            reading,
            auth,
            page,
            try_tools,
        } = self;
        let token = token.as_ref().map(Secret::expose);
        Fingerprint::of(&(address, token, reading, auth, page, try_tools))
    }
}
