//! Where an upstream over HTTP is, before anything is said of how it is used.

use url::Url;

use super::check::Check;
use super::values::check_url;
use crate::config::{Auth, Connector, Gateway, OnBehalf, raw};
use crate::document::path::KeyPath;

/// The URL of an upstream over HTTP, and what it says about the upstream.
pub(super) struct HttpTarget {
    pub(super) connector: Connector,
    pub(super) url: Url,
    pub(super) gateway: Option<Gateway>,
    /// The AWS region it is in, if that is known.
    pub(super) region: Option<String>,
}

/// The settings that `auth` depends on.
#[derive(Clone, Copy)]
pub(super) struct EndpointContext<'a> {
    /// The target of the upstream, if it is valid.
    pub(super) target: Option<&'a HttpTarget>,
    /// `allow_plain_http`
    pub(super) allow_plain: bool,
    /// Whether there is a state folder.
    pub(super) has_state: bool,
}

/// Checks a URL of an upstream, with its `${VAR}` replaced.
pub(super) fn check_upstream_url(
    check: &mut Check<'_>,
    text: &str,
    raw: &raw::Upstream,
    at: &KeyPath,
) -> Option<Url> {
    // A Unix socket does not leave the machine.
    let allow_plain = raw.allow_plain_http == Some(true) || raw.socket.is_some();
    check_url(check, text, allow_plain, at)
}

/// The logins at an upstream.
#[derive(Debug)]
pub(super) struct Logins {
    /// Weir's own.
    pub(super) auth: Auth,
    /// That of its callers.
    pub(super) on_behalf: Option<Box<OnBehalf>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            on_behalf: None,
        }
    }
}
