//! The config or URL that a command works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cli::output::{Output, count, make_safe};
use crate::config::{self, Config, ConfigErrors, Problem, ProblemKind};
use crate::live::Snapshot;
use crate::server::with_known_instance;
use crate::upstream::HealthState;

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
    pub(super) fn print(&self, output: &mut Output) {
        match self {
            Self::Config(errors) => print_config_errors(errors, output),
            Self::Url(_) => output.print_errors(&[self.to_string()], "--url", None),
        }
    }
}

/// Prints everything that is wrong with a config on stderr.
pub(super) fn print_config_errors(errors: &ConfigErrors, output: &mut Output) {
    let mut files: Vec<_> = errors.iter().map(Problem::file).collect();
    files.dedup();
    let place = match files.as_slice() {
        [file] => file.display().to_string(),
        files => count(files.len(), "file"),
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
pub(super) fn advise_if_empty(config: &Config, path: &Path) -> Option<String> {
    let path = make_safe(&path.display().to_string());
    let advice = format!("no upstreams: uncomment one in {path}, or run `weir import mcp.json`");
    config.upstreams.is_empty().then_some(advice)
}

/// Prints on stderr which upstreams fail, and why. Returns false if all of them fail.
pub(super) fn print_failing(snapshot: &Snapshot, target: &TargetArgs, output: &mut Output) -> bool {
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
            "{{\"version\":1,\"naming\":{{\"charset\":\"mcp\",\"max_length\":128}},\"upstreams\":{{\"remote\":{{\"connector\":\"on_prem\",\
             \"url\":{},\"namespace\":\"\",\"allow_plain_http\":true,\"limits\":{{\"tools\":100000}}}}}}}}",
            crate::json::quote(parsed.as_str())
        );
        Ok(Arc::new(config::parse(&text, Path::new("--url"), &|_| {
            None
        })?))
    }
}
