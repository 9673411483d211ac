//! The positions of an upstream's rules in the config, for `weir explain`.

use indexmap::IndexMap;

/// The text of a rule, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// The text.
    pub text: String,
    /// Its position: `file:line`.
    pub at: String,
}

/// The positions of an upstream's rules, as `file:line`.
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
    /// `read_only`, if it is `true`.
    pub read_only: Option<RuleText>,
    /// `tools.override`, by original name.
    pub overrides: IndexMap<String, String>,
}
