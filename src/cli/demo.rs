//! `weir demo`: the main job with nothing installed.
//!
//! An upstream of every kind is started on loopback, each behind the door that it has in earnest; weir is put in front
//! of them, and an MCP client uses it: one catalog, calls to each upstream, a tool that appears while everything runs.

mod access;
mod client;
mod frame;
mod servers;
mod steps;
mod tokens;
mod tools;
mod upstream;
mod weir;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::client::{DemoClient, DemoClientError};
use self::steps::DemoRun;
use self::tools::NOTES;
use self::upstream::DemoUpstream;
use self::weir::{DemoStartError, DemoWeir};
use super::output::Output;
use crate::seal;
use crate::secret::Secret;

/// `weir demo`
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// Stay up when the show is over, so that other MCP clients can connect
    #[arg(long)]
    pub keep: bool,
}

/// Why the demo did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The HTTP client does not start.
    #[error("the HTTP client does not start")]
    Http(#[source] reqwest::Error),
    /// No randomness.
    #[error("the system has no random numbers for keys")]
    Random,
    /// An upstream has no socket.
    #[error("the upstream {name} cannot listen on loopback")]
    Listen {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A door cannot be tried.
    #[error("the upstream {name} does not answer")]
    NoAnswer {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A door is open.
    #[error("the upstream {name} answered {status} to somebody who showed nothing")]
    Open {
        /// Which.
        name: &'static str,
        /// What it answered.
        status: StatusCode,
    },
    /// Weir does not start.
    #[error("weir does not start")]
    Start(#[source] DemoStartError),
    /// The client failed.
    #[error(transparent)]
    DemoClient(#[from] DemoClientError),
    /// An upstream is not in the catalog.
    #[error("not in the catalog after {} s: {}", client::PATIENCE.as_secs(), names.join(", "))]
    Missing {
        /// The upstreams.
        names: Vec<&'static str>,
    },
    /// Nobody listens for changes of the warehouse.
    #[error("weir does not follow the changes of the upstream warehouse")]
    NotFollowed,
    /// The change was announced, but the list is the same.
    #[error("the list changed, but {tool} is not in it")]
    NotListed {
        /// The exposed name.
        tool: String,
    },
}

/// Runs the demo. `program` is this binary, which plays the stdio upstream.
pub async fn run(args: DemoArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    // reqwest panics without a provider; one that is installed already will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut state = DemoState::default();
    let run = Box::pin(DemoRun::new(&mut state, &mut output.out).run(args, program));
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

/// 128 bits nobody can guess, as text.
fn random_secret() -> Option<Secret> {
    let bytes: [u8; 16] = seal::random().ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Secret::new(&hex))
}

/// What runs while the demo is on.
#[derive(Default)]
struct DemoState {
    tasks: TaskTracker,
    stop: CancellationToken,
    front: Option<DemoWeir>,
    client: Option<DemoClient>,
    finished: bool,
}

impl DemoState {
    /// Takes everything down, client first, so that nobody sees another fail.
    async fn stop_all(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
        if let Some(front) = self.front.take() {
            front.stop().await;
        }
        self.stop.cancel();
        self.tasks.close();
        // The process is about to end: a task that hangs is no reason to stay.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
    }
}

/// Ctrl-C, or a request to end. Never, where signals do not work.
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
