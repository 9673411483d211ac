//! `weir add`: adds an upstream to a config file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::edited_file::{self, FileEditError};
use crate::cli::output::{Output, make_safe};
use crate::config::{self, ProblemKind};
use crate::import::{InsertError, NewAuth, NewUpstream, NewUpstreamError, NewValue, insert};
use crate::name::UpstreamId;

/// `weir add NAME`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["url", "from", "command"])))]
pub struct AddArgs {
    /// The name of the upstream
    pub name: String,
    /// The config file, in YAML
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
    /// The URL of its MCP endpoint
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A server.json of the MCP registry that describes it
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// A header of every request: NAME=env:VARIABLE, NAME=file:PATH or NAME=TEXT
    #[arg(long, value_name = "NAME=VALUE", requires = "url")]
    pub header: Vec<String>,
    /// An environment variable of the program: NAME=env:VARIABLE, NAME=file:PATH or NAME=TEXT
    #[arg(long, value_name = "NAME=VALUE", requires = "command")]
    pub env: Vec<String>,
    /// How weir logs in: env:VARIABLE or file:PATH for a bearer token, or sigv4
    #[arg(long, value_name = "HOW")]
    pub auth: Option<String>,
    /// Print what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A program that speaks MCP on stdin and stdout, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Why nothing is added.
#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error(transparent)]
    Upstream(#[from] NewUpstreamError),
    #[error("{file}")]
    Insert {
        file: String,
        #[source]
        source: InsertError,
    },
    #[error("an upstream's name must have 1 to 64 printable characters")]
    Name,
    #[error(transparent)]
    File(#[from] FileEditError),
    #[error("the config would not be valid: {0}")]
    Invalid(String),
}

/// Adds the upstream. Exits with 0, or with 2 if it cannot be added; the file is as it was then.
pub fn run(args: AddArgs, output: &mut Output) -> ExitCode {
    match add(&args, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.print_failure(&error);
            ExitCode::from(2)
        }
    }
}

fn add(args: &AddArgs, output: &mut Output) -> Result<(), AddError> {
    let path = &args.config;
    let file = make_safe(&path.display().to_string());
    UpstreamId::parse(&args.name).map_err(|_| AddError::Name)?;
    let upstream = describe(args)?;
    let before = edited_file::read_existing(path)?;
    let inserted = insert(&before, &args.name, &upstream.lines());
    let after = inserted.map_err(|source| AddError::Insert {
        file: file.clone(),
        source,
    })?;
    let unset = check(path, &before, &after, &args.name)?;
    let name = make_safe(&args.name);
    if args.dry_run {
        print_difference(&file, &before, &after, output);
    } else {
        edited_file::write(path, Some(&before), &after)?;
        output.out.print_done(&format!("{name} is added to {file}"));
    }
    for problem in unset {
        output.print_warning(&problem);
    }
    Ok(())
}

/// Makes the upstream of the command line.
fn describe(args: &AddArgs) -> Result<NewUpstream, AddError> {
    let pairs = |all: &[String]| -> Result<Vec<_>, NewUpstreamError> {
        all.iter().map(|pair| NewValue::parse_pair(pair)).collect()
    };
    let mut upstream = match &args.from {
        Some(from) => NewUpstream::from_registry(&edited_file::read_existing(from)?)?,
        None => NewUpstream {
            url: args.url.clone(),
            command: args.command.clone(),
            ..NewUpstream::default()
        },
    };
    upstream.env.extend(pairs(&args.env)?);
    upstream.headers.extend(pairs(&args.header)?);
    if let Some(auth) = &args.auth {
        upstream.auth = Some(NewAuth::parse(auth)?);
    }
    Ok(upstream)
}

/// Checks the config as it would be. Returns what is missing on this machine only: variables that are
/// not set, and secret files.
fn check(path: &Path, before: &str, after: &str, name: &str) -> Result<Vec<String>, AddError> {
    let is_missing = |kind: &ProblemKind| {
        matches!(
            kind,
            ProblemKind::Secret(_) | ProblemKind::Expand(_) | ProblemKind::Pem(_)
        )
    };
    // Files beside it have upstreams too.
    if let Ok(config) = config::load(path, &config::process_env)
        && let Some(taken) = config.upstreams.get(name)
    {
        let taken = format!("there is an upstream of this name at {}", taken.origin);
        return Err(AddError::Invalid(taken));
    }
    let problems = |text: &str| -> Vec<(bool, String)> {
        match config::parse(text, path, &config::process_env) {
            Ok(_) => Vec::new(),
            Err(errors) => errors
                .iter()
                .map(|problem| (is_missing(problem.kind()), problem.to_string()))
                .collect(),
        }
    };
    let found = problems(after);
    if let Some((_, problem)) = found.iter().find(|(missing, _)| !missing) {
        return Err(AddError::Invalid(problem.clone()));
    }
    let known = problems(before).len();
    let new = found.into_iter().map(|(_, problem)| problem);
    Ok(new.skip(known).collect())
}

/// Prints the lines that differ, with two around them.
fn print_difference(file: &str, before: &str, after: &str, output: &mut Output) {
    const AROUND: usize = 2;
    let (then, now): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same = then
        .iter()
        .zip(&now)
        .take_while(|(then, now)| then == now)
        .count();
    let room = then.len().min(now.len()) - same;
    let ends = then.iter().rev().zip(now.iter().rev()).take(room);
    let tail = ends.take_while(|(then, now)| then == now).count();
    let first = same.saturating_sub(AROUND);
    output
        .out
        .print_line(&format!("--- {file}\n+++ {file}\n@@ line {} @@", first + 1));
    let mut print = |mark: char, lines: &[&str]| {
        for line in lines {
            output.out.print_line(&format!("{mark}{}", make_safe(line)));
        }
    };
    print(' ', now.get(first..same).unwrap_or_default());
    print('-', then.get(same..then.len() - tail).unwrap_or_default());
    print('+', now.get(same..now.len() - tail).unwrap_or_default());
    let rest = now.get(now.len() - tail..).unwrap_or_default();
    print(' ', rest.get(..rest.len().min(AROUND)).unwrap_or_default());
}
