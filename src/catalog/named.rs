//! Explains why an exposed name is what it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::conflict::Conflict;
use crate::catalog::rules::Rules;
use crate::catalog::{Kind, naming};
use crate::name::Naming;

/// How an exposed name was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameOrigin {
    /// The namespace in front; empty for none. A resource has one only where another upstream lists
    /// the same URI.
    pub namespace: String,
    /// The text between namespace and name; empty for resources.
    pub separator: String,
    /// The other steps, in this order.
    pub steps: Vec<NameStep>,
}

/// One step in making a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum NameStep {
    /// `names.strip` cut off its front.
    Stripped {
        /// The rest of the name.
        to: String,
    },
    /// `tools.override` gives another name.
    Given {
        /// The name.
        name: String,
    },
    /// It has characters that no name may have: they are replaced, and a hash ends it.
    Illegal {
        /// The name without this step.
        wanted: String,
    },
    /// It is longer than `naming.max_length`: it is cut, and a hash ends it.
    Long {
        /// The name without this step.
        wanted: String,
        /// How long that is.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// Another definition has the name: a hash ends this one, or, for a resource, its upstream
    /// stands before it.
    Taken {
        /// The name without this step.
        wanted: String,
        /// The upstream that keeps it.
        by: String,
    },
}

impl NameOrigin {
    /// Explains the exposed name of a definition that the upstream calls `original`. `conflict` is
    /// the one that it lost, if any.
    #[must_use]
    pub fn of(
        rules: &Rules<'_>,
        naming: &Naming,
        kind: Kind,
        original: &str,
        conflict: Option<&Conflict>,
    ) -> Self {
        let taken = conflict.map(|conflict| NameStep::Taken {
            wanted: conflict.exposed.to_string(),
            by: conflict.kept_by.to_string(),
        });
        if kind == Kind::Instructions {
            return Self::default();
        }
        if matches!(kind, Kind::Resources | Kind::Templates) {
            return Self {
                namespace: match &taken {
                    Some(_) => rules.namespace.as_str().to_owned(),
                    None => String::new(),
                },
                separator: String::new(),
                steps: taken.into_iter().collect(),
            };
        }
        let mut steps = Vec::new();
        let given = rules
            .tools
            .overrides
            .get(original)
            .filter(|_| kind == Kind::Tools);
        let name = match given.and_then(|change| change.name.as_deref()) {
            Some(name) => {
                steps.push(NameStep::Given {
                    name: name.to_owned(),
                });
                name
            }
            None => naming::strip_prefix(rules.strip, original),
        };
        if steps.is_empty() && name != original {
            steps.push(NameStep::Stripped {
                to: name.to_owned(),
            });
        }
        let wanted = naming.join(rules.namespace, name);
        if !naming.allows(&wanted) {
            steps.push(NameStep::Illegal {
                wanted: wanted.clone(),
            });
        }
        if wanted.len() > naming.max_length() {
            steps.push(NameStep::Long {
                length: wanted.len(),
                most: naming.max_length(),
                wanted,
            });
        }
        steps.extend(taken);
        Self {
            namespace: rules.namespace.as_str().to_owned(),
            separator: naming.separator().to_owned(),
            steps,
        }
    }

    /// Returns the exposed name that a tool or prompt of this upstream wants. Instructions go by
    /// the name of the upstream.
    #[must_use]
    pub fn wanted_name(rules: &Rules<'_>, naming: &Naming, kind: Kind, original: &str) -> String {
        if kind == Kind::Instructions {
            return rules.upstream.as_str().to_owned();
        }
        let given = rules.tools.overrides.get(original);
        let given = given.filter(|_| kind == Kind::Tools);
        let given = given.and_then(|change| change.name.as_deref());
        let name = given.unwrap_or_else(|| naming::strip_prefix(rules.strip, original));
        naming::expose_name(naming, rules.namespace, rules.upstream, original, name)
    }
}

impl fmt::Display for NameStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stripped { to } => write!(f, "names.strip leaves `{to}`"),
            Self::Given { name } => write!(f, "tools.override names it `{name}`"),
            Self::Illegal { wanted } => write!(
                f,
                "`{wanted}` has characters that no name may have: they are replaced, and a hash ends it"
            ),
            Self::Long {
                wanted,
                length,
                most,
            } => write!(
                f,
                "`{wanted}` has {length} characters, more than {most}: it is cut, and a hash ends it"
            ),
            Self::Taken { wanted, by } => write!(f, "`{wanted}` is taken by {by}"),
        }
    }
}

/// Why an exposed name differs from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum RenameCause {
    /// The namespace.
    Namespace,
    /// The separator.
    Separator,
    /// A rule of the config: `names.strip`, the name in `tools.override`.
    Rule,
    /// Another definition wants the name, or does not any more.
    Conflict,
    /// The name is too long, or is so no more.
    Budget,
    /// The name has characters that no name may have by `naming.charset`, or has none any more.
    Charset,
}

impl RenameCause {
    /// Returns the name as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Separator => "separator",
            Self::Rule => "rule",
            Self::Conflict => "conflict",
            Self::Budget => "budget",
            Self::Charset => "charset",
        }
    }

    /// Returns the causes of a changed name.
    #[must_use]
    pub fn between(before: &NameOrigin, after: &NameOrigin) -> Vec<Self> {
        let is_rule =
            |step: &&NameStep| matches!(step, NameStep::Stripped { .. } | NameStep::Given { .. });
        let is_taken = |step: &&NameStep| matches!(step, NameStep::Taken { .. });
        // The name without the step moves with namespace and rules: it is no cause by itself.
        let is_illegal = |named: &NameOrigin| {
            let is = |step: &NameStep| matches!(step, NameStep::Illegal { .. });
            named.steps.iter().any(is)
        };
        let most = |named: &NameOrigin| {
            named.steps.iter().find_map(|step| match step {
                NameStep::Long { most, .. } => Some(*most),
                NameStep::Stripped { .. }
                | NameStep::Given { .. }
                | NameStep::Illegal { .. }
                | NameStep::Taken { .. } => None,
            })
        };
        let steps = |named: &NameOrigin, is: fn(&&NameStep) -> bool| -> Vec<NameStep> {
            named.steps.iter().filter(is).cloned().collect()
        };
        let taken = |named: &NameOrigin| named.steps.iter().any(|step| is_taken(&step));
        let is_joined = !before.separator.is_empty();
        let both_taken = taken(before) && taken(after);
        let causes = [
            (
                Self::Namespace,
                before.namespace != after.namespace && (is_joined || both_taken),
            ),
            (Self::Separator, before.separator != after.separator),
            (Self::Rule, steps(before, is_rule) != steps(after, is_rule)),
            (Self::Conflict, taken(before) != taken(after)),
            (Self::Budget, most(before) != most(after)),
            (Self::Charset, is_illegal(before) != is_illegal(after)),
        ];
        let causes = causes.into_iter().filter(|(_, differs)| *differs);
        let found: Vec<_> = causes.map(|(cause, _)| cause).collect();
        if found.is_empty() {
            // The same steps led to another name: of those that want the name, another one holds it
            // now.
            return vec![Self::Conflict];
        }
        found
    }
}
