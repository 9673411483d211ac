//! `weir import`: an `mcp.json` becomes weir YAML.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::Output;
use crate::config::{self, Defect, ImportError};

/// `weir import FILE`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An mcp.json of Claude Desktop, Cursor or VS Code
    pub file: PathBuf,
}

/// Prints the YAML on stdout. Exit 2 if the file cannot be read or is no `mcp.json`.
pub fn run(args: ImportArgs, output: &mut Output) -> ExitCode {
    let path = args.file.display();
    let converted = std::fs::read_to_string(&args.file)
        .map_err(|source| format!("{path}: {}", Defect::Unreadable { source }))
        .and_then(|text| config::import(&text).map_err(|error| located(&args.file, &error)));
    match converted {
        Ok(yaml) => {
            output.out.raw(&yaml);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.refusal(&[error], &path.to_string(), None);
            ExitCode::from(2)
        }
    }
}

/// As errors of a config are written: `file:line:column: message`.
fn located(path: &Path, error: &ImportError) -> String {
    let path = path.display();
    match error {
        ImportError::Syntax { .. } => format!("{path}:{error}"),
        ImportError::NoServers => format!("{path}: {error}"),
    }
}
