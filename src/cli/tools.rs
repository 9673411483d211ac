//! `weir tools`: the merged catalog.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::catalog::Kind;
use crate::cli::output::{Ink, Output, Table, plain};
use crate::cli::{TargetArgs, wait};
use crate::live::Snapshot;
use crate::protocol::era::Era;
use crate::server::{Core, Options};
use crate::upstream::Standing;

/// `weir tools`
#[derive(Debug, Args)]
pub struct ToolsArgs {
    /// The config, or a URL
    #[command(flatten)]
    pub target: TargetArgs,
    /// One JSON array of tool definitions, byte for byte as a client gets them
    #[arg(long)]
    pub json: bool,
}

/// Exit 0 with the catalog of the upstreams that answer; those that do not are named on stderr, and
/// where none answers exit 1. Exit 2 for a wrong config.
pub async fn run(args: ToolsArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    let config = match args.target.load() {
        Ok(config) => config,
        Err(error) => {
            error.tell(output);
            return ExitCode::from(2);
        }
    };
    let core = match Core::start(
        config,
        &Options {
            guard: Some(program),
        },
    )
    .await
    {
        Ok(core) => core,
        Err(error) => {
            output.failure(&error);
            return ExitCode::FAILURE;
        }
    };
    wait::settled(&core, &mut output.err).await;
    let snapshot = core.live().load_full();
    let mut up = snapshot.links.is_empty();
    for link in snapshot.links.iter() {
        match link.standing() {
            Standing::Failing { reason, .. } => {
                output.err.line(&format!(
                    "{}: {}",
                    plain(link.id().as_str()),
                    plain(&reason)
                ));
            }
            Standing::Up | Standing::Connecting => up = true,
        }
    }
    if args.json {
        json(&snapshot, output)
    } else {
        table(&snapshot, output)
    }
    core.stop().await;
    if up {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn table(snapshot: &Snapshot, output: &mut Output) {
    let mut table = Table::new(&["TOOL", "UPSTREAM", "ORIGINAL", "DESCRIPTION"]);
    for row in snapshot.catalog.routes(Kind::Tools) {
        table.row([
            (Ink::Name, row.exposed.as_ref()),
            (Ink::Upstream, row.upstream.as_str()),
            (Ink::Plain, row.original().as_ref()),
            (Ink::Faint, row.description_head()),
        ]);
    }
    output.out.table(&table);
}

fn json(snapshot: &Snapshot, output: &mut Output) {
    // What a caller of the upstream's own era sees is what the upstream wrote.
    let legacy = snapshot
        .links
        .iter()
        .any(|link| link.current().is_some_and(|peer| peer.era() == Era::Legacy));
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
    output.out.raw(&String::from_utf8_lossy(&text));
}
