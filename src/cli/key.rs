//! `weir key`: makes, lists and revokes API keys of callers.

mod edit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};

use crate::authentication::{ApiKeyText, make_api_key, write_hash};
use crate::cli::edited_file::{self, FileEditError};
use crate::cli::output::{Output, Table, TextStyle, make_safe};
use crate::config::{self, ApiKeyEntry, ConfigErrors, UnitError};
use crate::import::yaml_scalar;

use edit::KeyFileError;

/// `weir key`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// The subcommands of `weir key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key: it is printed once, and the file of `listen.auth.api_keys` gets its hash
    New(NewKeyArgs),
    /// List the keys of the file
    List(KeyFileArgs),
    /// Remove a key from the file: a running weir refuses it within a second
    Revoke(RevokeArgs),
}

/// The option of all of them.
#[derive(Debug, Args)]
pub struct KeyFileArgs {
    /// The config file, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
}

/// `weir key new NAME`
#[derive(Debug, Args)]
pub struct NewKeyArgs {
    /// The id of the key: letters, digits and `-`
    pub name: String,
    /// Which config
    #[command(flatten)]
    pub file: KeyFileArgs,
    /// The subject that the key proves [default: NAME]
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// A scope of its caller; several times for several
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<String>,
    /// A tag that policies may read; several times for several
    #[arg(long, value_name = "NAME=VALUE")]
    pub tag: Vec<String>,
    /// How long it is valid, such as 90d, or until when, such as 2027-02-01
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
}

/// `weir key revoke NAME`
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The id of the key
    pub name: String,
    /// Which config
    #[command(flatten)]
    pub file: KeyFileArgs,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("the name of a key has 1 to 32 letters, digits and `-`")]
    Name,
    #[error("`{0}` is no tag: write NAME=VALUE")]
    Tag(String),
    #[error("--expires: {0}")]
    Expires(UnitError),
    #[error("{0} has no `listen.auth.api_keys.file`, so that there are no keys")]
    NoFile(String),
    #[error("{file}")]
    Edit {
        file: String,
        #[source]
        source: KeyFileError,
    },
    #[error("{0}")]
    Entries(ConfigErrors),
    #[error(transparent)]
    File(#[from] FileEditError),
    #[error("this machine gives no random numbers")]
    NoRandom,
}

/// Makes, lists or revokes keys. Exits with 0, or with 2 if it cannot; the file is as it was then.
pub fn run(args: &KeyArgs, output: &mut Output) -> ExitCode {
    let done = match &args.command {
        KeyCommand::New(args) => make(args, output),
        KeyCommand::List(args) => list(args, output),
        KeyCommand::Revoke(args) => revoke(args, output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.print_failure(&error);
            ExitCode::from(2)
        }
    }
}

fn make(args: &NewKeyArgs, output: &mut Output) -> Result<(), KeyError> {
    if !ApiKeyEntry::is_id(&args.name) {
        return Err(KeyError::Name);
    }
    let key = make_api_key(&args.name).ok_or(KeyError::NoRandom)?;
    let hash = ApiKeyText::parse(key.expose()).map(|parsed| parsed.hash());
    let hash = hash.map_err(|_| KeyError::NoRandom)?;
    let lines = describe(args, &write_hash(&hash))?;
    let config = make_safe(&args.file.config.display().to_string());
    let place = match config::api_keys_file(&args.file.config, &config::process_env) {
        Some(path) => {
            let before = edited_file::read(&path)?;
            let after = edit::add(before.as_deref(), &path, &args.name, &lines);
            write(&path, before.as_deref(), after)?;
            format!(
                "{} is added to {}",
                args.name,
                make_safe(&path.display().to_string())
            )
        }
        None => {
            let entry = format!("\"{}\":\n  {}", args.name, lines.join("\n  "));
            format!(
                "{config} has no `listen.auth.api_keys.file`: write one, and put this into it:\n{entry}"
            )
        }
    };
    // Nothing but the key, for `KEY=$(weir key new …)`.
    output.out.print_raw(&format!("{}\n", key.expose()));
    output.err.print_line(&place);
    output
        .err
        .print_line("this is the only time that the key is shown");
    Ok(())
}

/// Returns the entry of a key in YAML.
fn describe(args: &NewKeyArgs, hash: &str) -> Result<Vec<String>, KeyError> {
    let subject = args.subject.as_ref().unwrap_or(&args.name);
    let mut lines = vec![
        format!("subject: {}", yaml_scalar(subject)),
        format!("hash: {}", yaml_scalar(hash)),
    ];
    if !args.scope.is_empty() {
        let scopes: Vec<_> = args.scope.iter().map(|scope| yaml_scalar(scope)).collect();
        lines.push(format!("scopes: [{}]", scopes.join(", ")));
    }
    if !args.tag.is_empty() {
        lines.push("tags:".to_owned());
    }
    for tag in &args.tag {
        let (name, value) = tag
            .split_once('=')
            .ok_or_else(|| KeyError::Tag(tag.clone()))?;
        lines.push(format!("  {}: {}", yaml_scalar(name), yaml_scalar(value)));
    }
    if let Some(expires) = &args.expires {
        lines.push(format!("expires: {}", yaml_scalar(&until(expires)?)));
    }
    Ok(lines)
}

/// Returns the time at which a key ends: that many days from now, or what is written.
fn until(expires: &str) -> Result<String, KeyError> {
    if expires.contains('-') {
        return Ok(expires.to_owned());
    }
    let duration = config::parse_duration(expires).map_err(KeyError::Expires)?;
    let time = DateTime::<Utc>::from(SystemTime::now() + duration);
    Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn list(args: &KeyFileArgs, output: &mut Output) -> Result<(), KeyError> {
    let path = key_file(args)?;
    let text = edited_file::read(&path)?.unwrap_or_default();
    let entries = config::parse_api_keys(&text, &path).map_err(KeyError::Entries)?;
    let mut table = Table::new(&["key", "subject", "scopes", "expires"]);
    for entry in &entries {
        let expires = entry.expires.map(DateTime::<Utc>::from);
        let expires = expires.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        let has_ended = entry
            .expires
            .is_some_and(|expires| expires <= SystemTime::now());
        let style = if has_ended {
            TextStyle::Bad
        } else {
            TextStyle::Plain
        };
        let cells = [
            (TextStyle::Name, &*entry.id),
            (TextStyle::Plain, &*entry.subject),
            (TextStyle::Plain, &entry.scopes.join(" ")),
            (style, expires.as_deref().unwrap_or("never")),
        ];
        table.add_row(cells);
    }
    output.out.print_table(&table);
    Ok(())
}

fn revoke(args: &RevokeArgs, output: &mut Output) -> Result<(), KeyError> {
    let path = key_file(&args.file)?;
    let before = edited_file::read(&path)?.unwrap_or_default();
    let after = edit::remove(&before, &path, &args.name);
    write(&path, Some(&before), after)?;
    let file = make_safe(&path.display().to_string());
    let name = make_safe(&args.name);
    output
        .out
        .print_done(&format!("{name} is removed from {file}"));
    Ok(())
}

fn key_file(args: &KeyFileArgs) -> Result<PathBuf, KeyError> {
    let found = config::api_keys_file(&args.config, &config::process_env);
    found.ok_or_else(|| KeyError::NoFile(args.config.display().to_string()))
}

/// Replaces the text of the file, unless somebody else did meanwhile. A new file is its owner's only.
fn write(
    path: &Path,
    before: Option<&str>,
    after: Result<String, KeyFileError>,
) -> Result<(), KeyError> {
    let after = after.map_err(|source| KeyError::Edit {
        file: path.display().to_string(),
        source,
    })?;
    Ok(edited_file::write(path, before, &after)?)
}
