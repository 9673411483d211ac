//! `admin:`

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::ScalarText;
use super::secret::SecretRef;

/// The listener for operators: status, catalog, metrics, reload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// The address to listen on, as `IP:PORT`, or `unix:PATH` for a Unix socket, whose permissions
    /// decide who may use it. Default: 127.0.0.1:8001.
    pub(in crate::config) address: Option<String>,
    /// The permissions of the Unix socket, in octal: `0600` for weir's user, `0660` for its group
    /// too. `0600` if this is left out.
    pub(in crate::config) mode: Option<ScalarText>,
    /// The token that operators must send as `Authorization: Bearer`. Required if the address is
    /// not loopback. Default: on an address of loopback, weir makes one for requests that change
    /// something and stores it in the state folder; `weir admin-token` prints it. A Unix socket
    /// needs none.
    pub(in crate::config) token: Option<SecretRef>,
    /// Whether `token` is needed for requests that change nothing too. Default: `token`.
    pub(in crate::config) reading: Option<AdminReading>,
}

/// `token` or `open`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AdminReading {
    /// Every request needs the token, if one is written.
    Token,
    /// Only requests that change something need the token. Only on loopback or a Unix socket.
    Open,
}
