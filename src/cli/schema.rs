//! `weir schema`: prints the JSON Schema of the config.

use std::process::ExitCode;

use crate::cli::output::Output;
use crate::config;

/// Prints the schema on stdout.
pub fn run(output: &mut Output) -> ExitCode {
    output.out.print_raw(&config::schema_text());
    ExitCode::SUCCESS
}
