//! `weir import`: an `mcp.json` becomes weir YAML.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::Output;
use crate::config;

/// `weir import FILE`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An mcp.json of Claude Desktop, Cursor or VS Code
    pub file: PathBuf,
}

/// Why there is nothing to import.
#[derive(Debug, thiserror::Error)]
enum ImportFailed {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", path.display())]
    Convert {
        path: PathBuf,
        #[source]
        source: config::ImportError,
    },
}

/// Prints the YAML on stdout. Exit 2 if the file cannot be read or is no `mcp.json`.
pub fn run(args: ImportArgs, output: &mut Output) -> ExitCode {
    let path = args.file;
    let converted = std::fs::read_to_string(&path)
        .map_err(|source| ImportFailed::Read {
            path: path.clone(),
            source,
        })
        .and_then(|text| {
            config::import(&text).map_err(|source| ImportFailed::Convert { path, source })
        });
    match converted {
        Ok(yaml) => {
            output.out.raw(&yaml);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.failure(&error);
            ExitCode::from(2)
        }
    }
}
