//! `weir explain`: where a name comes from, or why it is not there.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::Output;

/// `weir explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The name
    pub name: String,
}

/// Exit 0 if it is exposed, 1 if not, 2 if that cannot be told.
pub async fn run(_args: ExplainArgs, _output: &mut Output, _program: PathBuf) -> ExitCode {
    ExitCode::from(2)
}
