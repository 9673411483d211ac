//! `guard.validate:` — checks of the arguments and results of tools.

/// `guard.validate:` of one tool: its own keys, over those of its upstream, over those of weir.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValidateSettings {
    /// For arguments that do not fit the `inputSchema`.
    pub arguments: ValidateAction,
    /// For `structuredContent` that does not fit the `outputSchema`.
    pub results: ValidateAction,
    /// For control and invisible characters in arguments.
    pub invisible_arguments: InvisibleAction,
    /// The same in results.
    pub invisible_results: InvisibleAction,
    /// Limits of arguments.
    pub limits: ArgumentLimits,
}

impl ValidateSettings {
    /// Returns whether nothing is checked.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// `guard.validate.arguments` and `guard.validate.results`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidateAction {
    /// Nothing is checked.
    #[default]
    Off,
    /// It passes, is logged and counted.
    Report,
    /// The call gets an error.
    Refuse,
}

/// `guard.validate.invisible`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvisibleAction {
    /// Nothing is looked at.
    #[default]
    Off,
    /// They pass, are logged and counted.
    Report,
    /// They are cut out.
    Remove,
    /// The call gets an error.
    Refuse,
}

/// `guard.validate.limits`: what exceeds one is refused; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArgumentLimits {
    /// Objects and lists inside each other.
    pub depth: Option<usize>,
    /// Members and items at all levels.
    pub values: Option<usize>,
    /// Bytes of one text.
    pub string: Option<usize>,
}
