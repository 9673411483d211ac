//! Session ids: sealed tokens, so that any replica, and the same weir after a restart, can serve
//! them. They authenticate nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::protocol::era::{Era, Version};
use crate::seal::{NoRandom, Sealer, random};

/// The purpose that the tokens are sealed for: a token of another purpose is not accepted.
pub(super) const PURPOSE: &str = "session";

/// The format of the tokens that are made now.
const FORMAT: u8 = 2;

/// The content of a session's id.
#[derive(Clone, Debug)]
pub struct SessionToken {
    pub(super) key: [u8; 16],
    /// The version agreed on.
    pub version: Version,
    /// `ClientCapabilities` as JSON text.
    pub capabilities: Arc<str>,
    /// When it was issued, in seconds since 1970. How long it lives: see [`crate::session::lives`].
    pub(super) issued: u64,
}

/// The sealed JSON text.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// Format of this token.
    f: u8,
    /// Random identity.
    k: u128,
    /// Protocol version.
    v: Cow<'a, str>,
    /// Time of issue, seconds since 1970.
    i: u64,
    /// `ClientCapabilities` as JSON text.
    #[serde(default)]
    c: Cow<'a, str>,
}

impl SessionToken {
    /// Makes the id of a new session: visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub(super) fn issue(
        sealer: &Sealer,
        version: Version,
        capabilities: &str,
    ) -> Result<String, NoRandom> {
        let body = Body {
            f: FORMAT,
            k: u128::from_le_bytes(random()?),
            v: version.as_str().into(),
            i: now(),
            c: capabilities.into(),
        };
        let plain = serde_json::to_vec(&body).unwrap_or_default();
        sealer.seal(&plain)
    }

    /// Opens an id; `None` if this key did not seal it.
    pub(super) fn open(sealer: &Sealer, id: &str) -> Option<Self> {
        let plain = sealer.open(id)?;
        let body: Body<'_> = serde_json::from_slice(&plain)
            .ok()
            .filter(|body: &Body<'_>| body.f == FORMAT)?;
        let version = Version::parse(&body.v).filter(|version| version.era() == Era::Legacy)?;
        let capabilities = if body.c.is_empty() { "{}" } else { &body.c };
        Some(Self {
            key: body.k.to_le_bytes(),
            version,
            capabilities: capabilities.into(),
            issued: body.i,
        })
    }
}

/// Returns the seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
