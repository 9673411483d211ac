//! `weir admin-token`: prints the token for requests to the admin listener that change something.

use std::process::ExitCode;

use crate::cli::output::Output;
use crate::cli::target::{ConfigArgs, print_config_errors};
use crate::config;
use crate::server::admin_token;

/// Prints the token on stdout: `admin.token`, or that of the state folder, which is made if there is
/// none yet. Exits with 2 if the config is wrong, with 1 if there can be no token.
pub fn run(args: &ConfigArgs, output: &mut Output) -> ExitCode {
    let config = match config::load(&args.config, &config::process_env) {
        Ok(config) => config,
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    match admin_token(&config) {
        Ok(Some(token)) => {
            output.out.print_raw(&format!("{}\n", token.expose()));
            ExitCode::SUCCESS
        }
        Ok(None) => {
            let error = "this weir has no admin token: set `state.dir`, and weir makes one, or set \
                         `admin.token`, or use `admin.address: unix:PATH`";
            output.print_error(error);
            ExitCode::FAILURE
        }
        Err(error) => {
            output.print_failure(&error);
            ExitCode::FAILURE
        }
    }
}
