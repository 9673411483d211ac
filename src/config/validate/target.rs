//! Where an upstream over HTTP is, before anything is said of how it is used.

use url::Url;

use super::check::Check;
use super::values::check_url;
use crate::config::{Connector, Gateway, raw};
use crate::document::path::KeyPath;

/// The way to an upstream over HTTP.
pub(super) struct HttpTarget {
    pub(super) connector: Connector,
    pub(super) url: Url,
    pub(super) gateway: Option<Gateway>,
    /// The AWS region it is in, if that is known.
    pub(super) region: Option<String>,
}

/// What is known context `auth`.
#[derive(Clone, Copy)]
pub(super) struct EndpointContext<'a> {
    /// The way to the upstream, if there is one.
    pub(super) target: Option<&'a HttpTarget>,
    /// `allow_plain_http`
    pub(super) allow_plain: bool,
    /// Whether there is a state folder.
    pub(super) has_state: bool,
}

/// A URL of an upstream, with its `${VAR}` replaced.
pub(super) fn check_upstream_url(
    check: &mut Check<'_>,
    text: &str,
    raw: &raw::Upstream,
    at: &KeyPath,
) -> Option<Url> {
    // What goes through a socket leaves the machine at the other end's will only.
    let allow_plain = raw.allow_plain_http == Some(true) || raw.socket.is_some();
    check_url(check, text, allow_plain, at)
}
