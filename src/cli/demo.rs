//! `weir demo`: shows what weir does with nothing installed.
//!
//! Starts an upstream of every kind on loopback, each requiring the credentials that it requires in real
//! life, puts weir in front of them, and uses weir with an MCP client: one catalog, a call to each
//! upstream, a tool that appears while everything runs.

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
    /// Keep running when the demo is over, so that other MCP clients can connect
    #[arg(long)]
    pub keep: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[source] reqwest::Error),
    /// There are no random numbers.
    #[error("the system gives no random numbers for keys")]
    Random,
    /// An upstream cannot listen.
    #[error("the upstream {name} cannot listen on loopback")]
    Listen {
        /// Its name.
        name: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A door cannot be tried.
    #[error("the upstream {name} does not answer")]
    NoAnswer {
        /// Its name.
        name: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A door is open.
    #[error("the upstream {name} answered {status} to a request without credentials")]
    Open {
        /// Its name.
        name: &'static str,
        /// The status of its answer.
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
    /// Weir has not subscribed to changes of the warehouse.
    #[error("weir has not subscribed to changes of the upstream warehouse")]
    NotFollowed,
    /// The change was announced, but the list is the same.
    #[error("the list changed, but {tool} is not in it")]
    NotListed {
        /// The exposed name.
        tool: String,
    },
}

/// Runs the demo. `program` is this binary, which also runs as the stdio upstream.
pub async fn run(args: DemoArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    // reqwest panics without a provider. Fails if one is installed already, which will do as well.
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

/// Returns 128 random bits as text.
fn random_secret() -> Option<Secret> {
    let bytes: [u8; 16] = seal::random().ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Secret::new(&hex))
}

/// Everything that runs while the demo does.
#[derive(Default)]
struct DemoState {
    tasks: TaskTracker,
    stop: CancellationToken,
    front: Option<DemoWeir>,
    client: Option<DemoClient>,
    finished: bool,
}

impl DemoState {
    /// Stops everything, the client first, so that no part sees another one fail.
    async fn stop_all(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
        if let Some(front) = self.front.take() {
            front.stop().await;
        }
        self.stop.cancel();
        self.tasks.close();
        // The process is about to end: tasks that hang are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
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
