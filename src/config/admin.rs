//! `admin:`

mod roles;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth::SecretRef;
use super::fingerprint::Fingerprint;
use crate::secret::Secret;

pub use roles::{AdminRoles, OperatorRule};

/// `admin:`
#[derive(Debug)]
pub struct Admin {
    /// Where to bind: on loopback or a Unix socket, unless there is a token.
    pub address: AdminAddress,
    /// The token that operators send as `Authorization: Bearer`. Its file is watched.
    pub token: Option<SecretRef>,
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
    /// Returns the token as it was when the config was read; `None` if none is written.
    #[must_use]
    pub fn first_token(&self) -> Option<&Secret> {
        self.token.as_ref()?.first()
    }

    /// Returns a digest of where the token comes from: its text, or its file.
    pub(super) fn token_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&match &self.token {
            None | Some(SecretRef::Aws(_)) => None,
            Some(SecretRef::Fixed(text)) => Some(("text", text.expose().to_owned())),
            Some(SecretRef::File { path, .. }) => Some(("file", path.display().to_string())),
        })
    }

    /// Returns a digest of all settings that cannot change while weir runs. Whether there is a token is
    /// one of them; which one it is, is not.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let Self {
            address,
            token,
            reading,
            auth,
            page,
            try_tools,
        } = self;
        let has_token = token.is_some();
        Fingerprint::of(&(address, has_token, reading, auth, page, try_tools))
    }
}
