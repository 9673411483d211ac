//! What became of a file: what came along, what did not, and why. For people; it never holds a secret.

use std::fmt;

use crate::document::node::Position;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// The `mcp.json` of Claude, Cursor or VS Code.
    McpJson,
    /// A config of LiteLLM.
    LiteLlm,
    /// A config of agentgateway.
    Agentgateway,
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::McpJson => "mcp.json",
            Self::LiteLlm => "LiteLLM",
            Self::Agentgateway => "agentgateway",
        })
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// Whose it is.
    pub format: ImportFormat,
    /// Its servers, in its order.
    pub servers: Vec<ServerReport>,
    /// What concerns no single server.
    pub notes: Vec<Note>,
    /// The environment variables that have to be set.
    pub variables: Vec<String>,
}

/// What became of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// The name of the upstream that it is now.
    pub name: String,
    /// Where it stands.
    pub at: Position,
    /// The keys that came along.
    pub carried: Vec<String>,
    /// What is to be said of others.
    pub notes: Vec<Note>,
}

/// What became of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub at: Position,
    /// What became of it.
    pub kind: NoteKind,
    /// What it is, and why.
    pub text: String,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// It came along in other words.
    Changed,
    /// It did not come along.
    LeftOut,
    /// Because of it the upstream is there, but disabled.
    Disabled,
    /// It is about something that weir does not do.
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
    /// Whether weir would refuse it as it is.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.notes
            .iter()
            .any(|note| note.kind == NoteKind::Disabled)
    }

    /// How many things did not come along.
    #[must_use]
    pub fn left_out(&self) -> usize {
        left_out(&self.notes)
    }
}

impl ImportReport {
    /// How many things did not come along.
    #[must_use]
    pub fn left_out(&self) -> usize {
        let servers = self.servers.iter().map(ServerReport::left_out);
        servers.sum::<usize>() + left_out(&self.notes)
    }

    /// How many servers are there, but disabled because weir would refuse them.
    #[must_use]
    pub fn disabled(&self) -> usize {
        let servers = self.servers.iter();
        servers.filter(|server| server.is_disabled()).count()
    }

    /// Whether there is nothing of the file that weir would have to do and does not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left_out() + self.disabled() == 0
    }
}

fn left_out(notes: &[Note]) -> usize {
    let notes = notes.iter();
    notes.filter(|note| note.kind == NoteKind::LeftOut).count()
}
