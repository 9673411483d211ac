//! `weir import`: turns another program's list of MCP servers into weir YAML.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::{Output, TextStyle, count, make_safe};
use crate::config::ProblemKind;
use crate::import::{ImportError, import};
use crate::import::{ImportFormat, ImportReport, Note, NoteKind};

/// The exit code of `--strict` where something is missing.
const INCOMPLETE: u8 = 3;

/// `weir import FILE`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An mcp.json of Claude Desktop, Cursor or VS Code, a config of agentgateway or LiteLLM, or what
    /// `get-gateway` or `get-agent-runtime` of AgentCore prints
    pub file: PathBuf,
    /// Exit 3 if something was left out, or an upstream is disabled because weir would refuse it
    #[arg(long)]
    pub strict: bool,
}

/// Prints the YAML on stdout, and on stderr what was carried over and what was not. Exits with 2 if
/// the file cannot be read or has no servers, with 3 if `--strict` is given and something is missing.
pub fn run(args: ImportArgs, output: &mut Output) -> ExitCode {
    let path = args.file.display();
    let converted = std::fs::read_to_string(&args.file)
        .map_err(|source| format!("{path}: {}", ProblemKind::Unreadable { source }))
        .and_then(|text| import(&text).map_err(|error| locate(&args.file, &error)));
    match converted {
        Ok(imported) => {
            output.out.print_raw(&imported.yaml);
            print_report(&imported.report, &args.file, output);
            match args.strict && !imported.report.is_whole() {
                true => ExitCode::from(INCOMPLETE),
                false => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            output.print_errors(&[error], &path.to_string(), None);
            ExitCode::from(2)
        }
    }
}

/// Formats an error as those of a config: `file:line:column: message`.
fn locate(path: &Path, error: &ImportError) -> String {
    let path = path.display();
    match error {
        ImportError::Syntax { .. } => format!("{path}:{error}"),
        ImportError::NoServers => format!("{path}: {error}"),
    }
}

/// Prints what became of each server and key, then a summary.
fn print_report(report: &ImportReport, file: &Path, output: &mut Output) {
    for server in &report.servers {
        let name = output
            .err
            .paint(TextStyle::Upstream, &make_safe(&server.name));
        let keys = match server.carried.as_slice() {
            [] => "nothing".to_owned(),
            keys => make_safe(&keys.join(", ")),
        };
        output.err.print_line(&format!("{name}: {keys}"));
        print_notes(&server.notes, file, output);
    }
    if !report.notes.is_empty() {
        output.err.print_line("the rest of the file");
        print_notes(&report.notes, file, output);
    }
    let noun = match report.format {
        ImportFormat::AgentCoreAuthorizer => "authorizer",
        ImportFormat::McpJson | ImportFormat::LiteLlm | ImportFormat::Agentgateway => "server",
    };
    let servers = count(report.servers.len(), noun);
    let sum = match (report.left_out(), report.disabled()) {
        (0, 0) => "nothing left out".to_owned(),
        (left_out, 0) => format!("{left_out} left out"),
        (left_out, disabled) => format!("{left_out} left out, {disabled} disabled"),
    };
    let variables = match report.variables.as_slice() {
        [] => String::new(),
        names => format!("; set {}", names.join(", ")),
    };
    let text = format!("{servers} of {}, {sum}{variables}", report.format);
    match report.is_whole() {
        true => output.err.print_line(&make_safe(&text)),
        false => output.print_warning(&text),
    }
}

fn print_notes(notes: &[Note], file: &Path, output: &mut Output) {
    let file = file.display();
    for Note { at, kind, text } in notes {
        let style = match kind {
            NoteKind::LeftOut | NoteKind::Disabled => TextStyle::Bad,
            NoteKind::Changed | NoteKind::Foreign => TextStyle::Faint,
        };
        let kind = output.err.paint(style, &kind.to_string());
        let text = make_safe(text);
        output
            .err
            .print_line(&format!("  {file}:{at}: {kind}: {text}"));
    }
}
