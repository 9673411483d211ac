//! `server:`: what clients are told of weir itself.

use schemars::JsonSchema;
use serde::Deserialize;

/// The introduction of weir itself at the handshake. A client may show it to its user, or give
/// it to its model.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Server")]
pub(in crate::config) struct ServerSettings {
    /// The name that clients show.
    pub(in crate::config) title: Option<String>,
    /// A short description, for people.
    pub(in crate::config) description: Option<String>,
    /// The URL of a page about this weir. `${VAR}` is replaced.
    pub(in crate::config) website_url: Option<String>,
    /// Icons that clients show, at most 8.
    pub(in crate::config) icons: Option<Vec<Icon>>,
    /// The beginning of the instructions that models get, before those of the upstreams. An empty
    /// text leaves it out. Default: a sentence, if an upstream gives instructions.
    pub(in crate::config) instructions: Option<String>,
}

/// An icon of weir.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Icon {
    /// An `https://` or `data:` URL.
    pub(in crate::config) src: String,
    /// Its media type, such as `image/png`.
    pub(in crate::config) mime_type: Option<String>,
    /// Its sizes, such as `48x48` or `any`.
    pub(in crate::config) sizes: Option<Vec<String>>,
}
