//! Where the rules of an upstream stand in the config: for whoever asks why a tool is what it is.

use indexmap::IndexMap;

/// Something that was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// What.
    pub text: String,
    /// Where: `file:line`.
    pub at: String,
}

/// Where the rules of an upstream stand, as `file:line`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleOrigins {
    /// `namespace`, if it is written.
    pub namespace: Option<RuleText>,
    /// `names.strip`
    pub strip: Option<RuleText>,
    /// `tools.allow`, its globs in the order of [`super::ToolRules::allow`].
    pub allow: Vec<RuleText>,
    /// `tools.deny`, its globs in the order of [`super::ToolRules::deny`].
    pub deny: Vec<RuleText>,
    /// `tools.override`, by original name.
    pub overrides: IndexMap<String, String>,
}
