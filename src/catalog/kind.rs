//! The kinds of definitions, and one value for each kind or era.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::era::Era;
use crate::protocol::method;

/// A kind of definition that upstreams list; and their instructions, which they give at the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Tools, known by name.
    #[serde(rename = "tool")]
    Tools,
    /// Prompts, known by name.
    #[serde(rename = "prompt")]
    Prompts,
    /// Resources, known by URI.
    #[serde(rename = "resource")]
    Resources,
    /// Resource templates, known by URI template.
    #[serde(rename = "template")]
    Templates,
    /// The server's instructions, kept as one definition (see [`crate::catalog::instructions`]).
    #[serde(rename = "instructions")]
    Instructions,
}

impl Kind {
    /// All kinds that are listed: all but instructions.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Returns the method that lists this kind, or of which the result holds it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => method::TOOLS_LIST,
            Self::Prompts => method::PROMPTS_LIST,
            Self::Resources => method::RESOURCES_LIST,
            Self::Templates => method::TEMPLATES_LIST,
            Self::Instructions => method::INITIALIZE,
        }
    }

    /// Returns the kind that a method lists, if it lists one.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// Returns the member of a result that holds the definitions.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Instructions => "instructions",
        }
    }

    /// Returns the member of a definition that holds its key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts | Self::Instructions => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// Returns the name of one definition of this kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tool",
            Self::Prompts => "prompt",
            Self::Resources => "resource",
            Self::Templates => "resource template",
            Self::Instructions => "instructions",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each [`Kind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    tools: T,
    prompts: T,
    resources: T,
    templates: T,
    instructions: T,
}

impl<T> PerKind<T> {
    /// Makes a value for each kind.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        Self {
            tools: make(Kind::Tools),
            prompts: make(Kind::Prompts),
            resources: make(Kind::Resources),
            templates: make(Kind::Templates),
            instructions: make(Kind::Instructions),
        }
    }

    /// Returns the value of a kind.
    #[must_use]
    pub const fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
            Kind::Instructions => &self.instructions,
        }
    }

    /// Returns the value of a kind, to be changed.
    pub const fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Tools => &mut self.tools,
            Kind::Prompts => &mut self.prompts,
            Kind::Resources => &mut self.resources,
            Kind::Templates => &mut self.templates,
            Kind::Instructions => &mut self.instructions,
        }
    }
}

/// One value for callers of each [`Era`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerEra<T> {
    /// For legacy callers.
    pub legacy: T,
    /// For modern callers.
    pub modern: T,
}

impl<T> PerEra<T> {
    /// Returns the value of an era.
    #[must_use]
    pub const fn get(&self, era: Era) -> &T {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }

    /// Returns the same of both values.
    pub(crate) fn map<U>(&self, of: impl Fn(&T) -> U) -> PerEra<U> {
        PerEra {
            legacy: of(&self.legacy),
            modern: of(&self.modern),
        }
    }
}
