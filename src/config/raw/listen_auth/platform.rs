//! `listen.auth.platform`

use schemars::JsonSchema;
use serde::Deserialize;

/// An identity that a platform in front of weir asserts in headers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PlatformIdentity {
    /// The header with the subject.
    pub(in crate::config) subject_header: String,
    /// The networks of the platform, such as `10.0.0.0/8`. From elsewhere the headers mean nothing.
    pub(in crate::config) from: Vec<String>,
}
