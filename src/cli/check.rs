//! `weir check`: is this config right, and are its upstreams there?

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::time::Instant;

use crate::admin;
use crate::catalog::Kind;
use crate::cli::output::{Ink, Output, Table, count, plain};
use crate::cli::{ConfigArgs, nothing_to_join, refuse, wait};
use crate::config::{self, Config};
use crate::credentials::state::Phase;
use crate::server::{Core, Options, recognised};
use crate::upstream::{HealthState, Link};

/// `weir check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Connect to every upstream and say what is there
    #[arg(long)]
    pub online: bool,
    /// With --online: one JSON array in place of the table
    #[arg(long, requires = "online")]
    pub json: bool,
}

/// Exit 0 if the config is right (and, with `--online`, every upstream answers); 2 with every error;
/// 1 if an upstream does not answer.
pub async fn run(args: CheckArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    let path = &args.config.config;
    let config = match config::load(path, &config::process_env) {
        Ok(config) => Arc::new(recognised(config)),
        Err(errors) => {
            refuse(&errors, output);
            return ExitCode::from(2);
        }
    };
    if !args.online || (config.upstreams.is_empty() && !args.json) {
        let found = nothing_to_join(&config, path).map_or_else(
            || format!(": {}", count(config.upstreams.len(), "upstream")),
            |advice| format!(", but has {advice}"),
        );
        let path = plain(&path.display().to_string());
        output.out.done(&format!("{path} is valid{found}"));
        return ExitCode::SUCCESS;
    }
    match Core::start(
        Arc::clone(&config),
        &Options {
            reaper: Some(program),
            holds: true,
            ..Options::default()
        },
    )
    .await
    {
        Ok(core) => {
            wait::settled(&core, &mut output.err).await;
            let all_up = report(&core, &config, args.json, output);
            core.stop().await;
            if all_up {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(core: &Core, config: &Config, json: bool, output: &mut Output) -> bool {
    let snapshot = core.live().load_full();
    let all_up = snapshot
        .links
        .iter()
        .all(|link| link.health.state() == HealthState::Up);
    if json {
        let rows: Vec<_> = snapshot
            .links
            .iter()
            .map(|link| admin::describe(link, &snapshot.catalog))
            .collect();
        output
            .out
            .raw(&format!("{}\n", serde_json::Value::from(rows)));
        return all_up;
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
    for link in snapshot.links.iter() {
        row(link, &mut table);
    }
    output.out.table(&table);
    for link in snapshot.links.iter() {
        let report = link.health.report();
        let quarantined = report.quarantined.iter().map(ToString::to_string);
        for line in quarantined.chain(report.warnings) {
            output
                .out
                .line(&format!("{}: {}", plain(link.id().as_str()), plain(&line)));
        }
    }
    for conflict in snapshot.catalog.conflicts() {
        output.out.line(&plain(&conflict.to_string()));
    }
    output.out.line(&format!(
        "{} of {}",
        count(snapshot.catalog.len(Kind::Tools), "tool"),
        count(config.upstreams.len(), "upstream")
    ));
    all_up
}

/// The credentials in short, and what is wrong with them.
fn login(link: &Link) -> (Ink, String, Option<String>) {
    let Some(credentials) = link.credentials() else {
        return (Ink::Plain, "-".to_owned(), None);
    };
    let status = credentials.status();
    let ink = match status.phase {
        Phase::Ok | Phase::Refreshing => Ink::Good,
        Phase::Expiring | Phase::Failing | Phase::ReauthNeeded | Phase::ClockSkew => Ink::Bad,
    };
    let text = format!("{} {}", credentials.name(), status.phase.as_str());
    (ink, text, status.reason.map(String::from))
}

fn row(link: &Link, table: &mut Table) {
    let (state, ink, what) = match link.health.state() {
        HealthState::Up => ("up", Ink::Good, String::new()),
        HealthState::Connecting => ("connecting", Ink::Plain, String::new()),
        HealthState::Failing { reason, .. } => {
            let next = link.health.times().next_try;
            let next = next.map(|next| next.saturating_duration_since(Instant::now()).as_secs());
            let next = match next {
                // As a server, weir would try again before anybody has read this.
                None | Some(0) => String::new(),
                Some(seconds) => format!("; next try in {seconds} s"),
            };
            ("failing", Ink::Bad, format!("{reason}{next}"))
        }
    };
    let (login_ink, login, troubled) = login(link);
    let what = match troubled {
        // What is wrong there mostly explains the rest.
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
    table.row([
        (Ink::Upstream, link.id().as_str()),
        (ink, state),
        (login_ink, &login),
        (Ink::Plain, &era),
        (Ink::Plain, &server),
        (Ink::Plain, &tools),
        (Ink::Plain, &prompts),
        (Ink::Plain, &resources),
        (Ink::Plain, &what),
    ]);
}
