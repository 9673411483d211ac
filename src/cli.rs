//! The commands: one file each. What they print goes through [`output`].

pub mod accept;
mod admin_client;
pub mod call;
pub mod check;
pub mod demo;
pub mod explain;
pub mod import;
pub mod login;
pub mod output;
pub mod plan;
pub mod schema;
pub mod serve;
pub mod tools;
mod wait;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::cli::output::{Output, make_safe};
use crate::config::{self, Config, ConfigErrors, Problem, ProblemKind};
use crate::live::Snapshot;
use crate::server::with_known_instance;
use crate::upstream::HealthState;

/// Joins many MCP servers into one tool catalog.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job with nothing installed: three upstreams, one catalog, calls, a live change
    Demo(demo::DemoArgs),
    /// Run the proxy
    Serve(serve::ServeArgs),
    /// Validate a config; with --online, connect to every upstream and say what is there
    Check(check::CheckArgs),
    /// Say what another config would change, before it does
    Plan(plan::PlanArgs),
    /// Say where a name comes from, or why it is not there
    Explain(explain::ExplainArgs),
    /// Show what upstreams say otherwise than what is pinned, or accept it
    Accept(accept::AcceptArgs),
    /// Print the merged catalog
    Tools(tools::ToolsArgs),
    /// Call one tool
    Call(call::CallArgs),
    /// Log in to an upstream that wants a person to (OAuth 2 authorization code)
    Login(login::LoginArgs),
    /// Turn an mcp.json (Claude, Cursor, VS Code) into weir YAML on stdout
    Import(import::ImportArgs),
    /// Print the JSON Schema of the config
    Schema,
    /// Runs a child process and ends all of it with weir (used by weir itself)
    // The alias: a weir that runs while its binary is replaced by this one still asks for `guard`.
    #[command(hide = true, alias = "guard")]
    Reap(ReapArgs),
    /// An upstream of the demo (used by `weir demo` itself)
    #[command(hide = true)]
    DemoChild,
}

/// A program and its arguments.
#[derive(Debug, Args)]
pub struct ReapArgs {
    /// What to run.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Where a config comes from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The config file, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
}

/// A weir to look into: one that a config describes, or one that runs.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The config file, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
    /// The URL of a running weir, or of any MCP server, in place of a config
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub url: Option<String>,
}

/// Why a target cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The config is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The URL is none.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
}

impl TargetError {
    /// Prints all of it on stderr.
    fn print(&self, output: &mut Output) {
        match self {
            Self::Config(errors) => print_config_errors(errors, output),
            Self::Url(_) => output.print_errors(&[self.to_string()], "--url", None),
        }
    }
}

/// Prints everything that is wrong with a config on stderr.
fn print_config_errors(errors: &ConfigErrors, output: &mut Output) {
    let mut files: Vec<_> = errors.iter().map(Problem::file).collect();
    files.dedup();
    let place = match files.as_slice() {
        [file] => file.display().to_string(),
        files => output::count(files.len(), "file"),
    };
    let is_absent = |problem: &Problem| matches!(problem.kind(), ProblemKind::Unreadable { source } if source.kind() == std::io::ErrorKind::NotFound);
    let advice = errors
        .iter()
        .any(is_absent)
        .then_some("use -c FILE, or make one with `weir import`");
    let lines: Vec<_> = errors.iter().map(Problem::to_string).collect();
    output.print_errors(&lines, &place, advice);
}

/// What to do about a config that joins nothing.
fn advise_if_empty(config: &Config, path: &Path) -> Option<String> {
    let path = make_safe(&path.display().to_string());
    let advice = format!("no upstreams: uncomment one in {path}, or `weir import mcp.json`");
    config.upstreams.is_empty().then_some(advice)
}

/// Prints on stderr which upstreams fail, and why. False if all that there are do.
fn print_failing(snapshot: &Snapshot, target: &TargetArgs, output: &mut Output) -> bool {
    let mut works = snapshot.links().is_empty();
    for link in snapshot.links().iter() {
        match link.health.state() {
            HealthState::Failing { reason, .. } => {
                // Who asked for a URL knows of no upstream.
                let name = target.url.as_deref().unwrap_or(link.id().as_str());
                output.print_error(&format!("{name}: {reason}"));
            }
            HealthState::Up | HealthState::Connecting => works = true,
        }
    }
    works
}

impl TargetArgs {
    /// The config to run on: the file's, or one with the URL as its only upstream, names unchanged.
    ///
    /// # Errors
    /// Every error of the config, or a URL that is none.
    pub fn load(&self) -> Result<Arc<Config>, TargetError> {
        let Some(url) = &self.url else {
            let config = config::load(&self.config, &config::process_env)?;
            return Ok(Arc::new(with_known_instance(config)));
        };
        let wrong = || TargetError::Url(url.clone());
        let parsed = url::Url::parse(url).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let text = format!(
            "{{\"version\":1,\"naming\":{{\"max_length\":128}},\"upstreams\":{{\"remote\":{{\"connector\":\"on_prem\",\
             \"url\":{},\"namespace\":\"\",\"allow_plain_http\":true,\"limits\":{{\"tools\":100000}}}}}}}}",
            crate::json::quote(parsed.as_str())
        );
        Ok(Arc::new(config::parse(&text, Path::new("--url"), &|_| {
            None
        })?))
    }
}
