//! `on_publish:`

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::{AssumeRole, Duration};

/// Actions that follow when weir has published another catalog.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OnPublish {
    /// Have an AgentCore Gateway in front list weir again, which otherwise goes on with the list that
    /// it has.
    pub(in crate::config) synchronize: Option<Synchronize>,
}

/// An AgentCore Gateway in front, and which of its targets is weir. In all text, `${VAR}` is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Synchronize {
    /// The id of the gateway.
    pub(in crate::config) gateway: String,
    /// The name of the target.
    pub(in crate::config) target: String,
    /// The AWS region. Default: that of the profile or the environment.
    pub(in crate::config) region: Option<String>,
    /// How long the catalog must stay as it is before the gateway is told, and the first pause after a
    /// failure. A catalog that keeps changing is told of after six times as long. Default: 10s.
    pub(in crate::config) debounce: Option<Duration>,
    /// A profile of the AWS configuration files. Default: the default chain.
    pub(in crate::config) profile: Option<String>,
    /// The role to assume: its ARN, or a mapping.
    pub(in crate::config) assume_role: Option<AssumeRole>,
}
