//! `weir audit`: checks the chain of the record file, and finds records in it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use crate::audit::{
    AuditPublicKey, BreakKind, ChainBreak, FilterError, LONGEST_LINE, RecordFilter, RecordHead,
    RecordShape, Verified, VerifyOptions, files_of, in_shape, verify,
};
use crate::cli::output::{Output, Table, TextStyle, count};
use crate::cli::target::{ConfigArgs, print_config_errors};
use crate::config;

/// The most rows of a table. `--json` has no such limit.
const MOST_ROWS: usize = 10_000;

/// How often a file that ends within a line is read again.
const TORN_TRIES: usize = 3;

/// `weir audit`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no record was changed, removed or moved; exit 1 with the first that was
    Verify(VerifyArgs),
    /// Find records
    Query(QueryArgs),
}

/// `weir audit verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The record files; without any, those of `audit.file` in the config
    pub files: Vec<PathBuf>,
    /// The config, for the files
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The public key that has to have signed every checkpoint: `ed25519:…`, or a file with it or PEM
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// A file of checkpoints that was kept elsewhere (`audit.checkpoints`): by it a missing end is found
    #[arg(long, value_name = "FILE")]
    pub checkpoints: Option<PathBuf>,
}

/// `weir audit query`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The record files; without any, those of `audit.file` in the config
    pub files: Vec<PathBuf>,
    /// The config, for the files
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Requests of this caller, by its subject
    #[arg(long, value_name = "SUBJECT")]
    pub caller: Option<String>,
    /// Requests for this tool or prompt, by its exposed name
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Requests that went to this upstream
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// Requests with this method
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Requests that policy decided so: allow, deny, would_deny
    #[arg(long, value_name = "DECISION")]
    pub decision: Option<String>,
    /// Requests with this answer: ok, tool_error, error, refused, failed, cancelled, drained
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// The request with this id
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Requests from this time on: RFC 3339, or how long ago, such as `2h`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Requests before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Print the lines as they are
    #[arg(long)]
    pub json: bool,
    /// Print them in the shape of another system, one JSON object a line
    #[arg(long = "as", value_name = "SHAPE", conflicts_with = "json")]
    pub shape: Option<ShapeArg>,
}

/// A shape that records are printed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ShapeArg {
    /// The Elastic Common Schema
    Ecs,
    /// API Activity of the Open Cybersecurity Schema Framework
    Ocsf,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
enum AuditCommandError {
    #[error("the config has no `audit`: name the files")]
    NoFiles,
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`--key` is no public key of Ed25519: write `ed25519:…` or a file with it")]
    Key,
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// Exits with 0, with 1 if a chain is broken, or with 2 if nothing can be read.
pub fn run(command: AuditCommand, output: &mut Output) -> ExitCode {
    let done = match command {
        AuditCommand::Verify(args) => run_verify(args, output),
        AuditCommand::Query(args) => run_query(args, output),
    };
    done.unwrap_or_else(|error| {
        if let Some(error) = error {
            output.print_failure(&error);
        }
        ExitCode::from(2)
    })
}

/// The files of a command. The error is `None` if it is printed already.
struct RecordFiles {
    files: Vec<PathBuf>,
    checkpoints: Option<PathBuf>,
}

impl RecordFiles {
    fn find(
        written: Vec<PathBuf>,
        config: &ConfigArgs,
        output: &mut Output,
    ) -> Result<Self, Option<AuditCommandError>> {
        if !written.is_empty() {
            return Ok(Self {
                files: written,
                checkpoints: None,
            });
        }
        let config = config::load(&config.config, &config::process_env).map_err(|errors| {
            print_config_errors(&errors, output);
            None
        })?;
        let audit = config.audit.ok_or(Some(AuditCommandError::NoFiles))?;
        let files = files_of(&audit.file);
        let files = files.map_err(|source| read_error(&audit.file, source))?;
        if files.is_empty() {
            let missing = std::io::ErrorKind::NotFound.into();
            return Err(Some(read_error(&audit.file, missing)));
        }
        let checkpoints = audit.checkpoints.filter(|path| path.exists());
        Ok(Self { files, checkpoints })
    }
}

fn read_error(path: &Path, source: std::io::Error) -> AuditCommandError {
    AuditCommandError::Read {
        path: path.to_owned(),
        source,
    }
}

fn run_verify(
    args: VerifyArgs,
    output: &mut Output,
) -> Result<ExitCode, Option<AuditCommandError>> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    let found = RecordFiles::find(args.files, &args.config, output)?;
    let options = VerifyOptions {
        key,
        checkpoints: args.checkpoints.or(found.checkpoints),
    };
    match verify_settled(&found.files, &options) {
        Ok(verified) => {
            print_verified(&verified, &options, found.files.len(), output);
            Ok(ExitCode::SUCCESS)
        }
        Err(broken) => {
            output.print_error(&broken.to_string());
            let is_read = !matches!(broken.kind, BreakKind::Unreadable(_));
            Ok(ExitCode::from(if is_read { 1 } else { 2 }))
        }
    }
}

/// Checks a chain. A running weir may be in the middle of a line: then it is read again.
fn verify_settled(files: &[PathBuf], options: &VerifyOptions) -> Result<Verified, Box<ChainBreak>> {
    for _ in 0..TORN_TRIES {
        match verify(files, options) {
            Err(broken) if broken.kind == BreakKind::Torn => {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            verified => return verified,
        }
    }
    verify(files, options)
}

/// Reads a key: its text, or a file with it.
fn read_key(text: &str) -> Result<AuditPublicKey, AuditCommandError> {
    if let Some(key) = AuditPublicKey::parse(text) {
        return Ok(key);
    }
    let content = std::fs::read_to_string(text);
    let content = content.map_err(|_| AuditCommandError::Key)?;
    AuditPublicKey::parse(&content).ok_or(AuditCommandError::Key)
}

fn print_verified(verified: &Verified, options: &VerifyOptions, files: usize, output: &mut Output) {
    let Verified {
        lines,
        first,
        last,
        checkpoints,
        unsigned,
        keys,
        gaps,
        ..
    } = verified;
    let (files, screen) = (count(files, "file"), &mut output.out);
    screen.print_done(&format!(
        "{lines} lines in {files}, {first} to {last}: none is changed, missing or moved"
    ));
    let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
    screen.print_done(&format!(
        "{checkpoints} checkpoints are signed by {}",
        if names.is_empty() {
            "nobody".to_owned()
        } else {
            names.join(", ")
        }
    ));
    if *first > 1 {
        output.print_warning(&format!("the lines before {first} are not in these files"));
    }
    if *gaps > 0 {
        output.print_warning(&format!("weir says that {gaps} lines could not be written"));
    }
    if *unsigned > 0 {
        output.print_warning(&format!("nothing has signed the last {unsigned} lines yet"));
    }
    if options.key.is_none() {
        output.print_warning(
            "the keys are those that the file names: say `--key` to know that nobody has written it anew",
        );
    }
    if options.checkpoints.is_none() {
        output.print_warning(
            "whether the end is missing shows only by checkpoints that were kept elsewhere: say `--checkpoints`",
        );
    }
}

fn run_query(args: QueryArgs, output: &mut Output) -> Result<ExitCode, Option<AuditCommandError>> {
    let filter = RecordFilter {
        caller: args.caller,
        tool: args.tool,
        upstream: args.upstream,
        method: args.method,
        decision: args.decision,
        status: args.status,
        request_id: args.request_id,
        since: args.since,
        until: args.until,
    };
    let filter = filter.with_times(SystemTime::now());
    let filter = filter.map_err(|error| Some(error.into()))?;
    let found = RecordFiles::find(args.files, &args.config, output)?;
    let mut table = Table::new(&[
        "time", "caller", "method", "tool", "upstream", "policy", "status", "ms", "request",
    ]);
    let mut rows = 0;
    for file in &found.files {
        let read = each_line(file, |line| {
            let Some(head) = RecordHead::parse(line).filter(|head| filter.matches(head)) else {
                return;
            };
            rows += 1;
            match args.shape {
                Some(shape) => print_shape(line, shape, output),
                None if args.json => output.out.print_raw(&String::from_utf8_lossy(line)),
                None if rows <= MOST_ROWS => add_row(&mut table, &head),
                None => {}
            }
        });
        read.map_err(|source| read_error(file, source))?;
    }
    if !args.json && args.shape.is_none() {
        output.out.print_table(&table);
        if rows > MOST_ROWS {
            let left = rows - MOST_ROWS;
            output.print_warning(&format!("{left} more: say `--json`, or ask for fewer"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_shape(line: &[u8], shape: ShapeArg, output: &mut Output) {
    let shape = match shape {
        ShapeArg::Ecs => RecordShape::Ecs,
        ShapeArg::Ocsf => RecordShape::Ocsf,
    };
    if let Some(text) = in_shape(line, shape) {
        output.out.print_raw(&format!("{text}\n"));
    }
}

fn add_row(table: &mut Table, head: &RecordHead<'_>) {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
    let status = text(&head.result_status);
    let style = match &*status {
        "ok" | "-" => TextStyle::Plain,
        _ => TextStyle::Bad,
    };
    let ms = head.latency_ms.map(|ms| ms.to_string()).unwrap_or_default();
    let cells = [
        (TextStyle::Faint, &*head.time),
        (TextStyle::Plain, &text(&head.caller_identity)),
        (TextStyle::Plain, &head.method),
        (TextStyle::Name, &text(&head.tool_name)),
        (TextStyle::Upstream, &text(&head.upstream)),
        (TextStyle::Plain, &text(&head.policy_decision)),
        (style, &status),
        (TextStyle::Plain, &ms),
        (TextStyle::Faint, &text(&head.request_id)),
    ];
    table.add_row(cells);
}

/// Reads a file line by line, each with its line break.
fn each_line(path: &Path, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE as u64)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        take(&line);
    }
}
