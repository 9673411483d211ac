//! `weir demo`: shows what weir does with nothing installed.
//!
//! Starts an upstream of every kind on loopback, each requiring the credentials that it requires in real
//! life, puts weir in front of them, and uses weir with an MCP client: one catalog, a call to each
//! upstream, a tool that appears while everything runs. Then two agents with keys of their own see two
//! catalogs, and at the end an upstream of the legacy era asks a client of the modern one.

mod access;
mod agents;
mod client;
mod error;
mod frame;
mod last_steps;
mod secrets;
mod servers;
mod state;
mod steps;
mod tokens;
mod tools;
mod upstream;
mod weir;

use std::path::PathBuf;
use std::process::ExitCode;

use self::state::DemoState;
use self::steps::DemoRun;
use self::tools::NOTES;
use self::upstream::DemoUpstream;
use super::output::Output;

/// `weir demo`
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep running when the demo is over, so that other MCP clients can connect
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo. `program` is this binary, which also runs as the stdio upstream.
pub async fn run(args: DemoArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    // reqwest panics without a provider. Fails if one is installed already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut state = DemoState::default();
    let run = Box::pin(DemoRun::new(&mut state, &mut output.out).run(args.keep, program));
    let outcome = tokio::select! {
        outcome = run => Some(outcome),
        () = wait_for_interrupt() => None,
    };
    output.out.end_line();
    state.stop_all().await;
    match outcome {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            output.print_failure(&error);
            ExitCode::FAILURE
        }
        None if args.keep && state.finished => {
            output.out.print_line("\n  Stopped.");
            ExitCode::SUCCESS
        }
        None => ExitCode::from(130),
    }
}

/// Runs the stdio upstream of the demo until stdin ends.
pub async fn child() -> ExitCode {
    if DemoUpstream::new(&NOTES).serve_stdio().await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Waits for Ctrl-C or SIGTERM; for ever if signals cannot be received.
async fn wait_for_interrupt() {
    let control_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = control_c => {}
        () = wait_for_terminate() => {}
    }
}

#[cfg(unix)]
async fn wait_for_terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn wait_for_terminate() {
    std::future::pending().await
}
