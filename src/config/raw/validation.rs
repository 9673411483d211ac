//! `guard.validate:`

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::Size;

/// Checks of arguments and results of tools.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Validate {
    /// The treatment of a call whose arguments do not fit the `inputSchema` of its tool. Default:
    /// `off`.
    pub(in crate::config) arguments: Option<ValidateAction>,
    /// The treatment of a result whose `structuredContent` does not fit the `outputSchema` of its
    /// tool. Default: `off`.
    pub(in crate::config) results: Option<ValidateAction>,
    /// Control characters, and characters in which text can be hidden from people: without width,
    /// changing the direction of text, tags.
    pub(in crate::config) invisible: Option<InvisibleCharacters>,
    /// Limits of arguments. What exceeds one that is written is refused.
    pub(in crate::config) limits: Option<ArgumentLimits>,
}

/// `off`, `report` or `refuse`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ValidateAction {
    /// Nothing is checked.
    Off,
    /// It passes, is logged and counted.
    Report,
    /// The call gets an error: for its arguments one that tells the model what to change.
    Refuse,
}

/// The treatment of control and invisible characters.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct InvisibleCharacters {
    /// In arguments. Default: `off`.
    pub(in crate::config) arguments: Option<InvisibleAction>,
    /// In results. Default: `off`.
    pub(in crate::config) results: Option<InvisibleAction>,
}

/// `off`, `report`, `remove` or `refuse`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum InvisibleAction {
    /// Nothing is looked at.
    Off,
    /// They pass, are logged and counted.
    Report,
    /// They are cut out. In a name of a member they are refused.
    Remove,
    /// The call gets an error.
    Refuse,
}

/// Limits of arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ArgumentLimits {
    /// Maximum number of objects and lists inside each other.
    #[schemars(range(min = 1, max = 120))]
    pub(in crate::config) depth: Option<u64>,
    /// Maximum number of values: members and items at all levels.
    #[schemars(range(min = 1))]
    pub(in crate::config) values: Option<u64>,
    /// Maximum size of one text, in UTF-8.
    pub(in crate::config) string: Option<Size>,
}
