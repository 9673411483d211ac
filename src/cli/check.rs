//! `weir check`: validates a config and, with `--online`, its upstreams; with `--tools`, whether tools
//! can be called.

mod policy;
mod rates;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::time::Instant;

use crate::admin;
use crate::catalog::Kind;
use crate::cli::front_gateway;
use crate::cli::output::{Output, Table, TextStyle, count, make_safe};
use crate::cli::target::{ConfigArgs, advise_if_empty, print_config_errors};
use crate::cli::wait;
use crate::config::{self, Config};
use crate::credentials::status::CredentialState;
use crate::guard::validate::ToolSchemas;
use crate::live::Snapshot;
use crate::server::{Core, Options, with_known_instance};
use crate::upstream::{HealthState, Link};

/// `weir check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Connect to every upstream and report what it offers
    #[arg(long)]
    pub online: bool,
    /// Say of each of these exposed names whether it can be called now, and if not, why
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        conflicts_with = "online"
    )]
    pub tools: Vec<String>,
    /// With --tools: the admin URL of a running weir, which is asked instead of the upstreams; of the
    /// config only the admin token is used then
    #[arg(long, value_name = "URL", requires = "tools")]
    pub url: Option<String>,
    /// With --online or --tools: print one JSON array instead of the text
    #[arg(long)]
    pub json: bool,
}

/// Exits with 0 if the config is valid (and, with `--online`, every upstream answers), with 2 and every
/// error if it is not, with 1 if an upstream, or one list of it, does not answer, or one of `--tools`
/// cannot be called.
pub async fn run(args: CheckArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    if let Some(url) = &args.url {
        return ask_running(url, &args, output).await;
    }
    if args.json && !args.online && args.tools.is_empty() {
        output.print_error("--json goes with --online or --tools");
        return ExitCode::from(2);
    }
    let path = &args.config.config;
    let config = match config::load(path, &config::process_env) {
        Ok(config) => Arc::new(with_known_instance(config)),
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    if let Some(code) = find_faults(&config, path, output) {
        return code;
    }
    let asks = args.online || !args.tools.is_empty();
    if !asks || (args.online && config.upstreams.is_empty() && !args.json) {
        let found = advise_if_empty(&config, path).map_or_else(
            || {
                let upstreams = count(config.upstreams.len(), "upstream");
                format!(": {upstreams}{}", policy::describe(&config))
            },
            |advice| format!(", but has {advice}"),
        );
        let path = make_safe(&path.display().to_string());
        output.out.print_done(&format!("{path} is valid{found}"));
        print_advice(&config, output);
        return ExitCode::SUCCESS;
    }
    match Core::start(
        Arc::clone(&config),
        &Options {
            reaper: Some(program),
            reads_pins: true,
            ..Options::default()
        },
    )
    .await
    {
        Ok(core) => {
            wait::wait_settled(&core, &mut output.err).await;
            let code = match args.tools.as_slice() {
                [] => print_report(&core, &config, args.json, output),
                names => tools::check_core(&core, names, args.json, output),
            };
            core.stop().await;
            code
        }
        Err(error) => {
            output.print_failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with a config that is valid: namespaces that are alike, tests of policies that
/// fail. Returns the exit code if there is anything.
fn find_faults(config: &Config, path: &Path, output: &mut Output) -> Option<ExitCode> {
    let place = path.display().to_string();
    let ambiguous = config.ambiguous_namespaces();
    if !ambiguous.is_empty() {
        let errors: Vec<_> = ambiguous.iter().map(ToString::to_string).collect();
        output.print_errors(&errors, &place, None);
        return Some(ExitCode::from(2));
    }
    policy::run_tests(config, &place, output)
}

/// Asks a running weir about tools. A config that cannot be read has no token.
async fn ask_running(url: &str, args: &CheckArgs, output: &mut Output) -> ExitCode {
    let config = config::load(&args.config.config, &config::process_env).ok();
    let asked = tools::check_running(url, config.as_ref(), &args.tools, args.json, output).await;
    asked.unwrap_or_else(|error| {
        output.print_failure(&error);
        ExitCode::from(2)
    })
}

/// Prints what each upstream offers. Exits with 0 if all of them answer.
fn print_report(core: &Core, config: &Config, json: bool, output: &mut Output) -> ExitCode {
    let snapshot = core.live().load_full();
    let all_up = snapshot.links().iter().all(|link| {
        link.health.state() == HealthState::Up && link.health.report().failed_lists.is_empty()
    });
    let fits = !policy::print_findings(&snapshot, output);
    let code = match all_up && fits {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    if json {
        let rows: Vec<_> = snapshot
            .links()
            .iter()
            .map(|link| admin::describe(link, &snapshot.catalog))
            .collect();
        output
            .out
            .print_raw(&format!("{}\n", serde_json::Value::from(rows)));
        return code;
    }
    let mut table = Table::new(&[
        "UPSTREAM",
        "STATE",
        "LOGIN",
        "ERA",
        "SERVER",
        "TOOLS",
        "PROMPTS",
        "RESOURCES",
        "WHAT",
    ]);
    for link in snapshot.links().iter() {
        add_row(link, &mut table);
    }
    output.out.print_table(&table);
    for link in snapshot.links().iter() {
        let report = link.health.report();
        let failed = report.failed_lists.iter().map(ToString::to_string);
        let quarantined = report.quarantined.iter().map(ToString::to_string);
        for line in failed.chain(quarantined).chain(report.warnings) {
            output.out.print_line(&format!(
                "{}: {}",
                make_safe(link.id().as_str()),
                make_safe(&line)
            ));
        }
    }
    for line in remarks(config, &snapshot) {
        output.out.print_line(&make_safe(&line));
    }
    for line in snapshot.catalog.rivalries() {
        output.out.print_line(&make_safe(&line));
    }
    rates::print_idle(&snapshot, output);
    output.out.print_line(&format!(
        "{} of {}",
        count(snapshot.catalog.len(Kind::Tools), "tool"),
        count(config.upstreams.len(), "upstream")
    ));
    code
}

/// Prints advice about a config that is valid.
fn print_advice(config: &Config, output: &mut Output) {
    let front = config.front_gateway.as_deref();
    if let Some(advice) = front.and_then(|front| front.advise(config.naming.max_length())) {
        output.print_warning(&advice);
    }
}

/// Returns what is to be said of definitions: schemas that are not applied, names that are too long
/// behind a gateway in front.
fn remarks(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let mut remarks = unchecked_schemas(snapshot);
    let front = config.front_gateway.as_deref();
    remarks.extend(front_gateway::warn_of_names(front, &snapshot.catalog));
    remarks
}

/// Returns the schemas that `guard.validate` cannot apply, in words.
fn unchecked_schemas(snapshot: &Snapshot) -> Vec<String> {
    let routes = snapshot.catalog.routes(Kind::Tools);
    let found = routes.flat_map(|route| {
        let settings = route.validate();
        let schemas = settings.map(|own| ToolSchemas::once(route.listed_definition(), own));
        let problems = schemas.map(|schemas| schemas.problems());
        let problems = problems.unwrap_or_default().into_iter();
        problems.map(move |(key, reason)| {
            format!(
                "{}: calls of `{}` are not checked, its {key} cannot be applied: {reason}",
                route.upstream, route.exposed
            )
        })
    });
    found.collect()
}

/// Returns type and state of the credentials in short, with their style, and what is wrong with them.
fn credentials_cell(link: &Link) -> (TextStyle, String, Option<String>) {
    let Some(credentials) = link.credentials() else {
        return (TextStyle::Plain, "-".to_owned(), None);
    };
    let status = credentials.status();
    let style = match status.state {
        CredentialState::Ok | CredentialState::Refreshing => TextStyle::Good,
        CredentialState::Expiring
        | CredentialState::Failing
        | CredentialState::ReauthNeeded
        | CredentialState::ClockSkew => TextStyle::Bad,
    };
    let text = format!("{} {}", credentials.name(), status.state.as_str());
    (style, text, status.reason.map(String::from))
}

fn add_row(link: &Link, table: &mut Table) {
    let (style, what) = match link.health.state() {
        HealthState::Up => (TextStyle::Good, String::new()),
        HealthState::Connecting => (TextStyle::Plain, String::new()),
        HealthState::Failing { reason, .. } => {
            let next = link.health.times().next_try;
            let next = next.map(|next| next.saturating_duration_since(Instant::now()).as_secs());
            let next = match next {
                // The next attempt would be over before anybody has read this.
                None | Some(0) => String::new(),
                Some(seconds) => format!("; next try in {seconds} s"),
            };
            (TextStyle::Bad, format!("{reason}{next}"))
        }
    };
    let (login_style, login, credentials_reason) = credentials_cell(link);
    let what = match credentials_reason {
        // A problem with the credentials mostly explains the rest.
        Some(reason) if what.is_empty() => reason,
        Some(reason) if !what.contains(&reason) => format!("{what}; credentials: {reason}"),
        Some(_) | None => what,
    };
    let peer = link.current_peer();
    let era = peer
        .as_ref()
        .map(|peer| format!("{} {}", peer.era(), peer.version))
        .unwrap_or_default();
    let server = peer
        .as_ref()
        .map(|peer| peer.server.clone())
        .unwrap_or_default();
    let [tools, prompts, resources, _] = link.health.report().counts.map(|count| count.to_string());
    table.add_row([
        (TextStyle::Upstream, link.id().as_str()),
        (style, link.health.state_word()),
        (login_style, &login),
        (TextStyle::Plain, &era),
        (TextStyle::Plain, &server),
        (TextStyle::Plain, &tools),
        (TextStyle::Plain, &prompts),
        (TextStyle::Plain, &resources),
        (TextStyle::Plain, &what),
    ]);
}
