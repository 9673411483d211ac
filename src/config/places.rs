//! Where the rules of an upstream stand in the config: for whoever asks why a tool is what it is.

use indexmap::IndexMap;

/// Something that was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What.
    pub text: String,
    /// Where: `file:line`.
    pub at: String,
}

/// Where the rules of an upstream stand, as `file:line`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `namespace`, if it is written.
    pub namespace: Option<Written>,
    /// `names.strip`
    pub strip: Option<Written>,
    /// `tools.allow`, its globs in the order of [`super::ToolRules::allow`].
    pub allow: Vec<Written>,
    /// `tools.deny`, its globs in the order of [`super::ToolRules::deny`].
    pub deny: Vec<Written>,
    /// `tools.override`, by original name.
    pub overrides: IndexMap<String, String>,
}
