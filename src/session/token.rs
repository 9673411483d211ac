//! Session ids: sealed tokens, so that any replica, and the same weir after a restart, can serve
//! them. They authenticate nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::caller::{Caller, PrincipalKey};
use crate::hex;
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
    /// The beginning of the digest of the key, which names the session in records.
    pub(super) mark: [u8; 8],
    /// The version agreed on.
    pub version: Version,
    /// `ClientCapabilities` as JSON text.
    pub capabilities: Arc<str>,
    /// The principal that opened it, and that it is for; `None` if nobody had to prove anything.
    pub(super) owner: Option<PrincipalKey>,
    /// The name that the client gave itself when it opened it, for records.
    pub agent: Option<Arc<str>>,
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
    /// The principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u128>,
    /// The name that the client gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<Cow<'a, str>>,
}

/// The settings that a session is opened with.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// The version agreed on.
    pub version: Version,
    /// `ClientCapabilities` as JSON text.
    pub capabilities: &'a str,
    /// The caller that opens it.
    pub caller: &'a Caller,
}

/// Returns the name, for records, of the session with this key.
#[must_use]
pub fn session_name(key: &[u8; 16]) -> String {
    hex::text(&mark_of(key))
}

/// Returns what of a session's key is in records.
pub(super) fn mark_of(key: &[u8; 16]) -> [u8; 8] {
    let digest = ring::digest::digest(&ring::digest::SHA256, key);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

impl SessionToken {
    /// Makes the id of a new session: visible ASCII.
    ///
    /// # Errors
    /// No random numbers.
    pub(super) fn issue(sealer: &Sealer, new: NewSession<'_>) -> Result<String, NoRandom> {
        let owner = new.caller.owner();
        let body = Body {
            f: FORMAT,
            k: u128::from_le_bytes(random()?),
            v: new.version.as_str().into(),
            i: now(),
            c: new.capabilities.into(),
            p: owner.map(|owner| u128::from_le_bytes(owner.bytes())),
            a: new.caller.agent().map(Cow::from),
        };
        let plain = serde_json::to_vec(&body).unwrap_or_default();
        sealer.seal(&plain)
    }

    /// Returns a name of the session for records: the same for every request in it. It opens no
    /// session.
    #[must_use]
    pub fn name(&self) -> String {
        hex::text(&self.mark)
    }

    /// Opens an id; `None` if this key did not seal it.
    pub(super) fn open(sealer: &Sealer, id: &str) -> Option<Self> {
        let plain = sealer.open(id)?;
        let body: Body<'_> = serde_json::from_slice(&plain)
            .ok()
            .filter(|body: &Body<'_>| body.f == FORMAT)?;
        let version = Version::parse(&body.v).filter(|version| version.era() == Era::Legacy)?;
        let capabilities = if body.c.is_empty() { "{}" } else { &body.c };
        let key = body.k.to_le_bytes();
        Some(Self {
            key,
            mark: mark_of(&key),
            version,
            capabilities: capabilities.into(),
            owner: body
                .p
                .map(|owner| PrincipalKey::from_bytes(owner.to_le_bytes())),
            agent: body.a.as_deref().map(Arc::from),
            issued: body.i,
        })
    }
}

/// Returns the seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
