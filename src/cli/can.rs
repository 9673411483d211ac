//! `weir can`: whether a caller may call a tool, and which policies say so.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::caller::{Caller, Principal};
use crate::catalog::Kind;
use crate::cli::named_caller::{principal_parser, read_caller};
use crate::cli::output::{Output, make_safe};
use crate::cli::target::{ConfigArgs, print_config_errors};
use crate::cli::wait;
use crate::config;
use crate::json::Object;
use crate::live::Snapshot;
use crate::live::access::complete_caller;
use crate::policy::{Decision, PolicyRequest};
use crate::protocol::era::Era;
use crate::server::{Core, Options, with_known_instance};

/// `weir can`
#[derive(Debug, Args)]
pub struct CanArgs {
    /// The caller: a subject, or @FILE with its claims as JSON
    pub caller: String,
    /// The exposed name of the tool
    pub name: String,
    /// The arguments of the call, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// How the caller proves who it is
    #[arg(long, value_parser = principal_parser(), default_value = "oauth_user")]
    pub kind: Principal,
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Exits with 0 if the caller may, with 1 if it may not, with 2 if that cannot be said.
pub async fn run(args: CanArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    let config = match config::load(&args.config.config, &config::process_env) {
        Ok(config) => Arc::new(with_known_instance(config)),
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    let caller = match read_caller(&args.caller, args.kind) {
        Ok(caller) => complete_caller(&config, caller),
        Err(error) => {
            output.print_error(&error);
            return ExitCode::from(2);
        }
    };
    if let Some(text) = &args.args
        && let Err(error) = Object::parse(text)
    {
        output.print_error(&format!("--args: {error}"));
        return ExitCode::from(2);
    }
    let options = Options {
        reaper: Some(program),
        reads_pins: true,
        ..Options::default()
    };
    let core = match Core::start(config, &options).await {
        Ok(core) => core,
        Err(error) => {
            output.print_failure(&error);
            return ExitCode::from(2);
        }
    };
    wait::wait_settled(&core, &mut output.err).await;
    let snapshot = core.live().load_full();
    core.stop().await;
    answer(&snapshot, &caller, &args, output)
}

fn answer(snapshot: &Snapshot, caller: &Caller, args: &CanArgs, output: &mut Output) -> ExitCode {
    let name = make_safe(&args.name).to_string();
    let Some(route) = snapshot.catalog.tool(&args.name) else {
        output.print_error(&format!("no tool is called {name}"));
        return ExitCode::from(2);
    };
    let Some(policies) = &snapshot.policies else {
        output.out.print_line("yes: there is no policy");
        return ExitCode::SUCCESS;
    };
    let request = PolicyRequest::of_route(Kind::Tools, &route, Era::Modern, args.args.as_deref());
    let decision = policies.decide(caller, &request);
    let sees = policies.sees(caller, Kind::Tools, &route, Era::Modern);
    output
        .out
        .print_line(&make_safe(&describe(&decision)).to_string());
    if sees && !decision.is_allowed() {
        let hint = "it is listed for this caller: with other arguments, or at another time, it may be called";
        output.out.print_line(hint);
    }
    match decision.is_allowed() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Returns a decision in words.
fn describe(decision: &Decision) -> String {
    let by = decision.policy_names().join(", ");
    let by = if by.is_empty() {
        String::new()
    } else {
        format!(": {by}")
    };
    let errors = decision.errors.join("; ");
    match (decision.is_allowed(), decision.would_deny) {
        (true, false) => format!("yes{by}"),
        (true, true) => format!("yes, but only because it is not in force{by}"),
        (false, _) if !errors.is_empty() => format!("no: {errors}"),
        (false, _) if by.is_empty() => "no: no policy permits it".to_owned(),
        (false, _) => format!("no{by}"),
    }
}
