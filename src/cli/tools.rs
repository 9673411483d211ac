//! `weir tools`: prints the merged catalog.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::catalog::Kind;
use crate::cli::output::{Output, Table, TextStyle};
use crate::cli::target::{TargetArgs, advise_if_empty, print_failing};
use crate::cli::wait;
use crate::live::Snapshot;
use crate::protocol::era::Era;
use crate::server::{Core, Options};

/// `weir tools`
#[derive(Debug, Args)]
pub struct ToolsArgs {
    /// The config, or a URL
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print one JSON array of tool definitions, byte for byte as a client gets them
    #[arg(long)]
    pub json: bool,
}

/// Exits with 0 and the catalog of the upstreams that answer; the others are named on stderr. Exits
/// with 1 if none answers, with 2 if the config is wrong.
pub async fn run(args: ToolsArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    let config = match args.target.load() {
        Ok(config) => config,
        Err(error) => {
            error.print(output);
            return ExitCode::from(2);
        }
    };
    if let Some(advice) = advise_if_empty(&config, &args.target.config) {
        output.print_warning(&advice);
    }
    let core = match Core::start(
        config,
        &Options {
            reaper: Some(program),
            reads_pins: true,
            ..Options::default()
        },
    )
    .await
    {
        Ok(core) => core,
        Err(error) => {
            output.print_failure(&error);
            return ExitCode::FAILURE;
        }
    };
    wait::wait_settled(&core, &mut output.err).await;
    let snapshot = core.live().load_full();
    let works = print_failing(&snapshot, &args.target, output);
    match (works, args.json) {
        (false, _) => {}
        (true, true) => print_json(&snapshot, output),
        (true, false) => print_table(&snapshot, args.target.url.is_none(), output),
    }
    core.stop().await;
    if works {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the tools. With `--url` there is one upstream and names are unchanged, so that the columns
/// of `origins` would repeat the first one.
fn print_table(snapshot: &Snapshot, origins: bool, output: &mut Output) {
    if snapshot.links().is_empty() {
        return;
    }
    let mut table = Table::new(if origins {
        &["TOOL", "UPSTREAM", "ORIGINAL", "DESCRIPTION"]
    } else {
        &["TOOL", "DESCRIPTION"]
    });
    for row in snapshot.catalog.routes(Kind::Tools) {
        let origin = [
            (TextStyle::Upstream, row.upstream.as_str()),
            (TextStyle::Plain, row.original().as_ref()),
        ];
        let name = [(TextStyle::Name, row.exposed.as_ref())];
        let head = snapshot.catalog.head(Kind::Tools, &row.exposed);
        let description = [(TextStyle::Faint, head.as_str())];
        let origin = origin.into_iter().filter(|_| origins);
        table.add_row(name.into_iter().chain(origin).chain(description));
    }
    output.out.print_table(&table);
}

fn print_json(snapshot: &Snapshot, output: &mut Output) {
    // A caller of the upstream's own era sees its definitions unchanged.
    let legacy = snapshot.links().iter().any(|link| {
        link.current_peer()
            .is_some_and(|peer| peer.era() == Era::Legacy)
    });
    let era = if legacy { Era::Legacy } else { Era::Modern };
    let mut text = vec![b'['];
    let mut at = Some(0);
    while let Some(page) = at.and_then(|at| snapshot.catalog.page(Kind::Tools, era, at)) {
        if text.len() > 1 && page.items > 0 {
            text.push(b',');
        }
        for chunk in &page.chunks {
            text.extend_from_slice(chunk);
        }
        at = page.next;
    }
    text.extend_from_slice(b"]\n");
    output.out.print_raw(&String::from_utf8_lossy(&text));
}
