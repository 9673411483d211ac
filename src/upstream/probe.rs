//! Finds the era that an upstream speaks, and shakes hands
//! (`basic/versioning.mdx#backward-compatibility`).
//!
//! A modern request goes first. An upstream that answers it as a modern one is modern. One that
//! refuses weir's credentials, is overloaded or does not answer gives no evidence about its era: as
//! long as nothing is known of it, `initialize` decides. Everything else is legacy. Ids are not
//! compared: real servers answer a probe with ids of their own.

mod era;
mod http;
mod requests;
mod stdio;
mod versions;

pub use era::KnownEra;
pub use requests::{SessionProfile, UnsolicitedMessages, request_meta};

use std::sync::Arc;

use crate::upstream::caller_login::CallerLogin;
use crate::upstream::error::LinkError;
use crate::upstream::link::{Link, Wire};
use crate::upstream::peer::Peer;

/// A connection that was made.
#[derive(Debug)]
pub struct Connected {
    /// The server at the other end.
    pub peer: Peer,
    /// Its messages that belong to no request, if they come on the same connection.
    pub unsolicited: Option<UnsolicitedMessages>,
    /// The era, as far as it is known now.
    pub era: KnownEra,
}

/// Connects a link: finds the era, or takes the known one, and shakes hands.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no version that weir speaks.
pub async fn connect(link: &Link, known: KnownEra) -> Result<Connected, LinkError> {
    match &link.wire {
        Wire::Http(wire) => {
            let (peer, era) = http::connect(link, wire, known).await?;
            Ok(Connected {
                peer,
                unsolicited: None,
                era,
            })
        }
        Wire::Child(spec) => {
            let (peer, unsolicited, era) = stdio::connect(link, spec, known).await?;
            Ok(Connected {
                peer,
                unsolicited: Some(unsolicited),
                era,
            })
        }
    }
}

/// Opens a legacy session beside the link's own, over HTTP with the login of a caller if there is one.
/// Over stdio it is another process.
///
/// # Errors
/// The upstream cannot be reached, refuses, or speaks no legacy version.
pub async fn open_session(
    link: &Link,
    profile: &SessionProfile,
    login: Option<&Arc<CallerLogin>>,
) -> Result<(Peer, Option<UnsolicitedMessages>), LinkError> {
    match &link.wire {
        Wire::Http(wire) => Ok((http::open_session(link, wire, profile, login).await?, None)),
        Wire::Child(spec) => {
            let (peer, unsolicited) = stdio::open_session(link, spec, profile).await?;
            Ok((peer, Some(unsolicited)))
        }
    }
}
