//! The options of a weir besides its config.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::TextDigest;
use crate::exporter::WriteLines;

/// The options of a weir besides its config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The `weir` binary, run as the reaper of stdio children, so that none outlives weir.
    pub reaper: Option<PathBuf>,
    /// Whether listings and pins are stored in the state folder, and stored listings are served from the
    /// start on.
    pub stores: bool,
    /// Whether definitions are compared with the stored pins, without changing anything in the state
    /// folder.
    pub reads_pins: bool,
    /// Where the config can be read again; `None` if it cannot be reloaded.
    pub source: Option<ConfigSource>,
    /// Has memory given back to the system as soon as it is freed, or as usual again; `None` if the allocator
    /// has no such choice. It may take some milliseconds.
    pub give_back_at_once: Option<fn(bool)>,
    /// Whether spans and log records are sent, as the config says: what serves does that, and no
    /// command.
    pub exports: bool,
    /// Writes metrics as lines for CloudWatch; `None` where there is no place for them.
    pub metric_lines: Option<WriteLines>,
}

impl Options {
    /// Has spans and log records sent, as the config says.
    #[must_use]
    pub fn exporting(self) -> Self {
        Self {
            exports: true,
            ..self
        }
    }

    /// Returns whether the listen address was given on the command line rather than in the file.
    pub(super) fn listens_elsewhere(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.address.is_some())
    }
}

/// Where the config of a running weir comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file.
    pub file: PathBuf,
    /// The address of `--listen`, which replaces that of the file.
    pub address: Option<SocketAddr>,
    /// The digest of its files when weir started.
    pub started: TextDigest,
    /// Whether changes of the files are applied without a request.
    pub watched: bool,
    /// Whether it came from a stream, so that it cannot be read again.
    pub is_stream: bool,
}
