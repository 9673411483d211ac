//! The commands, one file each. Everything they print goes through [`output`].

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
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what weir does with nothing installed: four upstreams, one catalog, calls, a live change
    Demo(demo::DemoArgs),
    /// Run the proxy
    Serve(serve::ServeArgs),
    /// Validate a config; with --online, connect to every upstream and report what it offers
    Check(check::CheckArgs),
    /// Show what another config would change, before it is applied
    Plan(plan::PlanArgs),
    /// Show where a name comes from, or why it is not exposed
    Explain(explain::ExplainArgs),
    /// Show the definitions that differ from their pin, or accept them
    Accept(accept::AcceptArgs),
    /// Print the merged catalog
    Tools(tools::ToolsArgs),
    /// Call one tool
    Call(call::CallArgs),
    /// Log in to an upstream that needs a person to do so (OAuth 2 authorization code)
    Login(login::LoginArgs),
    /// Turn an mcp.json (Claude, Cursor, VS Code) or a config of agentgateway or LiteLLM into weir YAML
    Import(import::ImportArgs),
    /// Print the JSON Schema of the config
    Schema,
    /// Run a child process and end all of it when weir ends (used by weir itself)
    // A weir of an earlier version, whose binary was replaced while it runs, starts `weir guard`.
    #[command(hide = true, alias = "guard")]
    Reap(ReapArgs),
    /// Run the stdio upstream of the demo (used by `weir demo` itself)
    #[command(hide = true)]
    DemoChild,
}

/// A program and its arguments.
#[derive(Debug, Args)]
pub struct ReapArgs {
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// The option of commands that read a config.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The config file, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
}

/// The options of commands that look into a weir: one that a config describes, or one that runs.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The config file, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
    /// The URL of a running weir, or of any other MCP server, instead of a config
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub url: Option<String>,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The config is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The URL is not one of HTTP.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
}

impl TargetError {
    /// Prints everything that is wrong on stderr.
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

/// Returns advice if the config has no upstreams.
fn advise_if_empty(config: &Config, path: &Path) -> Option<String> {
    let path = make_safe(&path.display().to_string());
    let advice = format!("no upstreams: uncomment one in {path}, or run `weir import mcp.json`");
    config.upstreams.is_empty().then_some(advice)
}

/// Prints on stderr which upstreams fail, and why. Returns false if all of them fail.
fn print_failing(snapshot: &Snapshot, target: &TargetArgs, output: &mut Output) -> bool {
    let mut works = snapshot.links().is_empty();
    for link in snapshot.links().iter() {
        match link.health.state() {
            HealthState::Failing { reason, .. } => {
                // With `--url` the upstream has a made-up name, which the user has never seen.
                let name = target.url.as_deref().unwrap_or(link.id().as_str());
                output.print_error(&format!("{name}: {reason}"));
            }
            HealthState::Up | HealthState::Connecting => works = true,
        }
    }
    works
}

impl TargetArgs {
    /// Returns the config of the file, or one whose only upstream is the URL, with names unchanged.
    ///
    /// # Errors
    /// Fails with every error of the config, or if the URL is not one of HTTP.
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
