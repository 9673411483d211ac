//! The validated config: what weir runs on. Files become this through [`load()`] and in no other way.
//!
//! Raw (serde mirror of the file) → validated, with every error at once → [`Config`]. Nothing here is
//! an `Option` that means "checked elsewhere".

mod auth;
mod drift;
mod endpoint;
mod error;
mod load;
mod raw;
mod reach;
mod rule_origins;
mod rules;
mod schema;
mod secrets;
mod source;
mod units;
mod validate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;
use indexmap::IndexMap;
use regex::Regex;

pub use auth::{
    AgentcoreIdentity, AssumeRole, Auth, AuthorizationCode, AwsCredentials, AwsSecret, AwsSource,
    ClientAuthentication, ClientCredentials, IdentityKind, OAuthClient, Registration, SecretRef,
    Sigv4, TokenExchange, TokenParameters, TokenServer,
};
pub use drift::{Drift, DriftPolicy, DriftThreshold};
pub use endpoint::{
    ClientIdentity, Connector, Endpoint, Gateway, HttpEndpoint, MAX_CERTIFICATES, Search,
    TlsSettings, TlsVersion,
};
pub use error::{ConfigErrors, Problem, ProblemKind};
pub use load::{ConfigFiles, TextDigest, load, parse, paths, process_env};
pub use reach::Reach;
pub use rule_origins::{RuleOrigins, RuleText};
pub use rules::{HeaderSettingError, Rule, UrlError};
pub use schema::{schema, schema_text};
pub use secrets::{ExpandError, MAX_SECRET, SecretRefError};
pub use units::UnitError;
pub(crate) use validate::{is_plain, is_refused_header};

use crate::name::{Instance, Namespace, Naming, UpstreamId};
use crate::secret::Secret;

/// A whole config, valid.
#[derive(Debug)]
pub struct Config {
    /// The listener agents connect to.
    pub listen: Listen,
    /// The listener operators connect to; `None` switches it off.
    pub admin: Option<Admin>,
    /// Where weir keeps what must survive a restart; `None` keeps it in memory only.
    pub state_dir: Option<PathBuf>,
    /// The key that seals session ids, if it is given rather than made.
    pub sealing_key: Option<Secret>,
    /// The name of this weir and its replicas in chains. What serves has one from its start on
    /// ([`crate::server::with_instance`]); a client's command may have none, and is then no hop.
    pub instance: Option<Instance>,
    /// How exposed names are made.
    pub naming: Naming,
    /// The upstreams, in the order that settles name conflicts.
    pub upstreams: IndexMap<UpstreamId, Arc<Upstream>>,
}

impl Config {
    /// Returns a digest of each setting that cannot change while weir runs, by its key in the file.
    /// `None` means that the setting is not written.
    ///
    /// A new field does not compile until it is compared here or in [`Self::is_same`].
    #[must_use]
    pub fn fixed(&self) -> [(&'static str, Option<Fingerprint>); 5] {
        let Self {
            listen,
            admin,
            state_dir,
            sealing_key,
            instance,
            // These can change: see `is_same`.
            naming: _,
            upstreams: _,
        } = self;
        let sealing_key = sealing_key.as_ref().map(Secret::expose);
        [
            ("listen", Some(listen.fingerprint())),
            ("admin", admin.as_ref().map(Admin::fingerprint)),
            ("state", state_dir.as_ref().map(|dir| Fingerprint::of(dir))),
            ("sealing_key", sealing_key.map(|key| Fingerprint::of(&key))),
            (
                "instance",
                instance.as_ref().map(|name| Fingerprint::of(name)),
            ),
        ]
    }

    /// Returns the keys of the settings that differ in `other` and cannot change while weir runs.
    #[must_use]
    pub fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        let both = self.fixed().into_iter().zip(other.fixed());
        let changed = both.filter(|((_, here), (_, there))| here != there);
        changed.map(|((field, _), _)| field).collect()
    }

    /// Returns whether `other` has the same value for everything that can change while weir runs.
    ///
    /// A new field does not compile until it is compared here or in [`Self::fixed`].
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            naming,
            upstreams,
            // These cannot change: see `fixed`.
            listen: _,
            admin: _,
            state_dir: _,
            sealing_key: _,
            instance: _,
        } = self;
        *naming == other.naming && fingerprints(upstreams).eq(fingerprints(&other.upstreams))
    }
}

/// Returns what tells the upstreams of one config from those of another, in their order.
fn fingerprints(
    upstreams: &IndexMap<UpstreamId, Arc<Upstream>>,
) -> impl Iterator<Item = (&UpstreamId, Fingerprint)> {
    let all = upstreams.iter();
    all.map(|(id, upstream)| (id, upstream.fingerprint))
}

/// `listen:`
#[derive(Debug)]
pub struct Listen {
    /// Where to bind.
    pub address: SocketAddr,
    /// The path of the MCP endpoint, beginning with `/`.
    pub path: String,
    /// `Host` values that pass besides loopback.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values that pass besides loopback.
    pub allowed_origins: Vec<String>,
    /// Most items in one page of a list answer.
    pub page_size: NonZeroUsize,
    /// Most bytes in one request body.
    pub request_bytes: usize,
    /// How long the header of a request may take.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// Most connections open at once.
    pub connections: NonZeroUsize,
    /// How long calls under way may still take once weir was told to stop.
    pub drain: Duration,
    /// Who checks callers; `None` where nobody wrote it, which is enough only on loopback.
    pub auth: Option<ListenAuth>,
}

impl Listen {
    /// Returns a digest of all settings. A new field does not compile until it is in it: a secret
    /// has to be exposed first.
    fn fingerprint(&self) -> Fingerprint {
        let Self {
            address,
            path,
            allowed_hosts,
            allowed_origins,
            page_size,
            request_bytes,
            header_timeout,
            body_timeout,
            connections,
            drain,
            auth,
        } = self;
        let names = (address, path, allowed_hosts, allowed_origins);
        let sizes = (page_size, request_bytes, connections);
        let times = (header_timeout, body_timeout, drain);
        Fingerprint::of(&(names, sizes, times, auth))
    }
}

/// `listen.auth`: who checks callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAuth {
    /// Nobody here: loopback, or a platform in front authenticates.
    None,
}

/// `admin:`
#[derive(Debug)]
pub struct Admin {
    /// Where to bind: loopback, unless there is a token.
    pub address: SocketAddr,
    /// What callers send as `Authorization: Bearer`.
    pub token: Option<Secret>,
}

impl Admin {
    /// Returns a digest of all settings, the token's text included.
    fn fingerprint(&self) -> Fingerprint {
        let Self { address, token } = self;
        Fingerprint::of(&(address, token.as_ref().map(Secret::expose)))
    }
}

/// One upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Its key in the config.
    pub id: UpstreamId,
    /// The kind.
    pub connector: Connector,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// How to log in.
    pub auth: Auth,
    /// What its exposed names begin with.
    pub namespace: Namespace,
    /// What is cut off the front of its names before the namespace is put there.
    pub strip: Option<Regex>,
    /// Which tools are exposed, and how they are changed.
    pub tools: ToolRules,
    /// When it is listed again.
    pub resync: Resync,
    /// What becomes of its last good listing while it fails.
    pub stale: Stale,
    /// What becomes of definitions that say otherwise than when they were first seen.
    pub drift: Drift,
    /// Time budgets.
    pub timeouts: Timeouts,
    /// Size budgets.
    pub limits: Limits,
    /// Who shares a child process.
    pub sessions: ProcessSharing,
    /// What is tried again.
    pub retry: Retry,
    /// Where it stands in the config, for messages: `file:line`.
    pub origin: String,
    /// Where its rules stand, for messages.
    pub rule_origins: RuleOrigins,
    /// Two configs of an upstream are the same if this is.
    pub fingerprint: Fingerprint,
}

/// What tells two configs of an upstream apart: a digest of all that was written, literal secrets and defaults included. What a
/// secret file holds is not in it; such files are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// `written` has to show everything in its `Debug`, as the serde mirror does.
    fn of(written: &dyn fmt::Debug) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("{written:?}").as_bytes());
        let mut bytes = [0; 32];
        bytes
            .iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// As hex, to be compared by another weir. It is made of secrets too: who can guess one can see that the guess is right.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is made of secrets too.
        f.write_str("Fingerprint(…)")
    }
}

/// `tools:` of an upstream. Globs match original names; deny wins.
#[derive(Debug, Default)]
pub struct ToolRules {
    /// What is exposed; `None` is everything.
    pub allow: Option<GlobSet>,
    /// What is not.
    pub deny: Option<GlobSet>,
    /// Changes to single tools, by original name.
    pub overrides: IndexMap<String, ToolOverride>,
}

/// A change to one tool.
#[derive(Debug, Default)]
pub struct ToolOverride {
    /// The name to expose in place of the original; the namespace still goes before it.
    pub name: Option<String>,
    /// The description to show.
    pub description: Option<String>,
    /// Arguments that leave the schema and that callers may not send.
    pub hide_args: Vec<String>,
    /// Arguments weir sends itself, as JSON text; they leave the schema, and callers may not send them.
    pub set_args: IndexMap<String, Box<serde_json::value::RawValue>>,
}

/// `sessions:` — who shares a child process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessSharing {
    /// All callers.
    #[default]
    Shared,
    /// Nobody: each legacy session has its own.
    PerCaller,
}

/// `resync:` — when an upstream is listed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resync {
    /// So long after the last time.
    Every(Duration),
    /// A cron expression with seconds.
    Cron(String),
}

/// `stale:` — the last good listing of an upstream that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Serve or hide.
    pub policy: StalePolicy,
    /// Hidden at this age whatever the policy.
    pub max_age: Duration,
    /// Stamped from this age on. Never, if it is hidden before.
    pub mark_after: Duration,
}

/// `stale.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StalePolicy {
    /// Keep its tools in the catalog.
    Serve,
    /// Take them out while it fails.
    Hide,
}

/// `timeouts:` — time budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection, or to start a child.
    pub connect: Duration,
    /// For a whole listing, all pages.
    pub list: Duration,
    /// Between sending a request over HTTP and the head of its answer; `None` is no limit of its own.
    pub first_byte: Option<Duration>,
    /// For a whole call, to the last byte.
    pub call: Duration,
    /// Between two signs of life on a stream.
    pub idle: Duration,
}

/// `retry:` — what is tried again, once, when it failed on its way. What was not sent at all, because a kept
/// connection turned out to be closed, goes over another one in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Calls of tools that say of themselves that running them twice does no more than once.
    pub idempotent: bool,
}

/// `limits:` — size budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls under way at once.
    pub in_flight: NonZeroUsize,
    /// Bytes of one answer or one event.
    pub response_bytes: usize,
    /// Items of one kind in a listing.
    pub tools: usize,
}
