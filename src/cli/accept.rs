//! `weir accept`: shows the definitions that differ from their pin, and accepts them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::drift::{BothDefinitions, DriftDetails, PendingDefinition, UpstreamsPage};
use crate::cli::admin_client::{AdminClient, AdminClientError};
use crate::cli::output::{Output, Table, TextStyle, count, make_safe};
use crate::cli::target::print_config_errors;
use crate::config::{self, Config};
use crate::printable;

/// The default path of the config.
const CONFIG: &str = "config/weir.yaml";

/// `weir accept`
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// Exposed names whose new definitions are accepted; without one, show everything that waits
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Accept everything that waits
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Accept nothing: print the pinned and the current definition in full
    #[arg(long, conflicts_with = "all", requires = "names")]
    pub show: bool,
    /// Accept only the definition with this digest, which --show prints: not one that came later
    #[arg(long, value_name = "DIGEST", requires = "names", conflicts_with_all = ["all", "show"])]
    pub digest: Option<String>,
    /// The config file, YAML or JSON, with the address and token of the running weir [default:
    /// config/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The admin URL of the running weir, instead of the config's `admin.address`
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Why nothing can be shown or accepted.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    #[error("the config has no `admin` address at which a running weir could be asked; use --url")]
    Nowhere,
    #[error(transparent)]
    AdminClient(#[from] AdminClientError),
    /// Its errors are printed already.
    #[error("the config is wrong")]
    Config,
}

/// The answer of `POST /catalog/{name}/accept`.
#[derive(Deserialize)]
struct AcceptAnswer {
    accepted: Vec<PendingDefinition>,
    stored: Option<bool>,
}

/// The outcome of all acceptances; printed as JSON with `--json`.
#[derive(Default, Serialize)]
struct AcceptReport {
    accepted: Vec<PendingDefinition>,
    /// Names that were not accepted, each with the reason.
    failed: Vec<(String, String)>,
}

/// Exits with 0 if nothing waits or everything chosen was accepted, with 3 if something waits, with 2
/// if something could not be accepted or the weir could not be asked.
pub async fn run(args: AcceptArgs, output: &mut Output) -> ExitCode {
    let done = async {
        let client = connect(&args, output)?;
        let page: UpstreamsPage = client.get("/upstreams", &[]).await?;
        let waiting = page.waiting();
        if args.names.is_empty() && !args.all {
            return Ok(print_waiting(&waiting, args.json, output));
        }
        if args.show {
            return print_definitions(&args, &client, output).await;
        }
        let report = accept_chosen(&args, &client, waiting, output).await;
        Ok(print_report(&report, args.json, output))
    };
    done.await.unwrap_or_else(|error: AcceptError| {
        if !matches!(error, AcceptError::Config) {
            output.print_failure(&error);
        }
        ExitCode::from(2)
    })
}

fn connect(args: &AcceptArgs, output: &mut Output) -> Result<AdminClient, AcceptError> {
    let config = match (&args.config, &args.url) {
        (None, Some(_)) => None,
        (Some(path), _) => Some(load_config(path, output)?),
        (None, None) => Some(load_config(Path::new(CONFIG), output)?),
    };
    if let Some(url) = &args.url
        && config.is_none()
    {
        return Ok(AdminClient::at_known(url, Path::new(CONFIG))?);
    }
    if let Some(url) = &args.url {
        return Ok(AdminClient::at(url, config.as_ref())?);
    }
    let config = config.ok_or(AcceptError::Nowhere)?;
    Ok(AdminClient::of(&config).ok_or(AcceptError::Nowhere)??)
}

fn load_config(path: &Path, output: &mut Output) -> Result<Config, AcceptError> {
    config::load(path, &config::process_env).map_err(|errors| {
        print_config_errors(&errors, output);
        AcceptError::Config
    })
}

/// Prints what waits to be accepted.
fn print_waiting(waiting: &[PendingDefinition], json: bool, output: &mut Output) -> ExitCode {
    if json {
        output
            .out
            .print_raw(&format!("{}\n", json!({ "waiting": waiting })));
    } else if waiting.is_empty() {
        output.out.print_done("nothing waits to be accepted");
    } else {
        output.out.print_table(&waiting_table(waiting.iter()));
        let hint =
            "accept with `weir accept NAME…`; with --show it prints both definitions in full";
        output.out.print_line(hint);
    }
    match waiting.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(3),
    }
}

/// The definitions under one name, in full.
#[derive(Serialize)]
struct NameDefinitions<'s> {
    name: &'s str,
    drifted: &'s [BothDefinitions],
}

/// Prints the pinned and the current definition of each name in full.
async fn print_definitions(
    args: &AcceptArgs,
    client: &AdminClient,
    output: &mut Output,
) -> Result<ExitCode, AcceptError> {
    let mut waits = false;
    for name in &args.names {
        let path = format!("/catalog/{name}/drift");
        let DriftDetails { drifted } = client.get(&path, &[]).await?;
        waits |= !drifted.is_empty();
        if args.json {
            let drifted = &drifted;
            let text = serde_json::to_string(&NameDefinitions { name, drifted });
            output
                .out
                .print_raw(&format!("{}\n", text.unwrap_or_default()));
            continue;
        }
        if drifted.is_empty() {
            let text = format!("nothing waits under the name {}", make_safe(name));
            output.out.print_done(&text);
        }
        for texts in &drifted {
            output
                .out
                .print_table(&waiting_table(std::iter::once(&texts.waiting)));
            for (title, text) in [("pinned", &texts.pinned), ("now", &texts.now)] {
                output.out.print_heading(title);
                let text = text.as_ref().map_or("nothing", |text| text.get());
                prettify(text)
                    .lines()
                    .for_each(|line| output.out.print_line(&printable::escaped(line)));
            }
            let (name, digest) = (make_safe(name), make_safe(&texts.waiting.digest));
            let hint = format!("to accept exactly this: weir accept {name} --digest {digest}");
            output.out.print_line(&hint);
        }
    }
    Ok(match waits {
        true => ExitCode::from(3),
        false => ExitCode::SUCCESS,
    })
}

/// Indents JSON; returns text that does not parse as it is.
fn prettify(text: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(text);
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| text.to_owned())
}

fn waiting_table<'w>(waiting: impl Iterator<Item = &'w PendingDefinition>) -> Table {
    let mut table = Table::new(&["UPSTREAM", "STATE", "KIND", "NAME", "WHAT"]);
    for one in waiting {
        let was = one.renamed_from.as_ref();
        let was = was.map(|was| format!("pinned as {was}"));
        let changes = one.changes.iter();
        let changes = changes.map(|change| format!("{}: {}", change.class.as_str(), change.what));
        for what in was.into_iter().chain(changes) {
            table.add_row([
                (TextStyle::Upstream, one.upstream.as_str()),
                (TextStyle::Bad, one.state.as_str()),
                (TextStyle::Plain, one.kind.as_str()),
                (TextStyle::Name, one.name.as_str()),
                (TextStyle::Plain, what.as_str()),
            ]);
        }
    }
    table
}

/// Accepts what the arguments choose: each definition with the digest that is shown here, or with
/// that of `--digest`.
async fn accept_chosen(
    args: &AcceptArgs,
    client: &AdminClient,
    waiting: Vec<PendingDefinition>,
    output: &mut Output,
) -> AcceptReport {
    let mut report = AcceptReport::default();
    let was_seen =
        |one: &PendingDefinition| args.digest.as_ref().is_none_or(|seen| one.digest == *seen);
    for name in &args.names {
        let of_name = || waiting.iter().filter(|one| one.name == *name);
        let reason = if of_name().any(was_seen) {
            continue;
        } else if of_name().next().is_some() {
            "its upstream has changed it since it was looked at"
        } else {
            "nothing waits under this name"
        };
        report.failed.push((name.clone(), reason.to_owned()));
    }
    let mut chosen = waiting;
    chosen.retain(|one| (args.all || args.names.contains(&one.name)) && was_seen(one));
    if !args.json && !chosen.is_empty() {
        output.out.print_table(&waiting_table(chosen.iter()));
    }
    for one in chosen {
        let path = format!("/catalog/{}/accept", one.name);
        let answer = client.post(&path, &json!({ "digest": one.digest })).await;
        match answer {
            Ok(AcceptAnswer { accepted, stored }) => {
                if stored == Some(false) {
                    let text = format!(
                        "{}: accepted, but weir could not store it: see its log",
                        one.name
                    );
                    output.print_warning(&text);
                }
                report.accepted.extend(accepted);
            }
            Err(error) => report.failed.push((one.name, error.to_string())),
        }
    }
    report
}

fn print_report(report: &AcceptReport, json: bool, output: &mut Output) -> ExitCode {
    if json {
        let text = serde_json::to_string(report).unwrap_or_default();
        output.out.print_raw(&format!("{text}\n"));
    } else {
        for (name, reason) in &report.failed {
            output.print_error(&format!("{}: {reason}", make_safe(name)));
        }
        if report.accepted.is_empty() && report.failed.is_empty() {
            output.out.print_done("nothing waits to be accepted");
        } else if !report.accepted.is_empty() {
            let accepted = count(report.accepted.len(), "definition");
            output.out.print_done(&format!("{accepted} accepted"));
        }
    }
    match report.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(2),
    }
}
