//! The report of an import: what was imported, what was not, and why. It never contains a secret.

use std::fmt;

use crate::document::node::Position;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// The `mcp.json` of Claude, Cursor or VS Code.
    McpJson,
    /// A config of LiteLLM.
    LiteLlm,
    /// A config of agentgateway.
    Agentgateway,
    /// The authorizer of an AgentCore gateway or runtime. It has no servers; the entry of
    /// `listen.auth.jwt` takes the place of one.
    AgentCoreAuthorizer,
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::McpJson => "mcp.json",
            Self::LiteLlm => "LiteLLM",
            Self::Agentgateway => "agentgateway",
            Self::AgentCoreAuthorizer => "AgentCore",
        })
    }
}

/// The report of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The format of the file.
    pub format: ImportFormat,
    /// Its servers, in its order.
    pub servers: Vec<ServerReport>,
    /// Notes that concern no single server.
    pub notes: Vec<Note>,
    /// The environment variables that have to be set.
    pub variables: Vec<String>,
}

/// The report about one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// The name of the upstream that it is now.
    pub name: String,
    /// Its position in the file.
    pub at: Position,
    /// The keys that were imported.
    pub carried: Vec<String>,
    /// Notes about other keys.
    pub notes: Vec<Note>,
}

/// A note about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its position in the file.
    pub at: Position,
    /// How it was imported, or not.
    pub kind: NoteKind,
    /// The key, and the reason.
    pub text: String,
}

/// A kind of note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// It was imported in another form.
    Changed,
    /// It was not imported.
    LeftOut,
    /// Because of it the upstream was imported, but is disabled.
    Disabled,
    /// It is about something that weir does not do, so nothing is missing.
    Foreign,
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::LeftOut => "left out",
            Self::Disabled => "disabled",
            Self::Foreign => "not for weir",
        })
    }
}

impl ServerReport {
    /// Returns whether it is disabled because weir would refuse it.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.notes
            .iter()
            .any(|note| note.kind == NoteKind::Disabled)
    }

    /// Counts what was not imported.
    #[must_use]
    pub fn left_out(&self) -> usize {
        left_out(&self.notes)
    }
}

impl ImportReport {
    /// Counts what was not imported.
    #[must_use]
    pub fn left_out(&self) -> usize {
        let servers = self.servers.iter().map(ServerReport::left_out);
        servers.sum::<usize>() + left_out(&self.notes)
    }

    /// Counts the servers that are disabled because weir would refuse them.
    #[must_use]
    pub fn disabled(&self) -> usize {
        let servers = self.servers.iter();
        servers.filter(|server| server.is_disabled()).count()
    }

    /// Returns whether everything that concerns weir was imported.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left_out() + self.disabled() == 0
    }
}

fn left_out(notes: &[Note]) -> usize {
    let notes = notes.iter();
    notes.filter(|note| note.kind == NoteKind::LeftOut).count()
}
