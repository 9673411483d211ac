//! `weir serve`: runs the proxy until a signal stops it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::metric_lines::write_stdout;
use crate::cli::output::{Output, count};
use crate::cli::target::{ConfigArgs, advise_if_empty, print_config_errors};
use crate::config::{self, AddressError, AdminAddress, Config, ConfigFiles};
use crate::exporter::WriteLines;
use crate::front;
use crate::live::reload::{ReloadHandle, ReloadTrigger};
use crate::server::{
    Bound, ConfigSource, Core, Options, ReloadableCore, ServeError, secure_state, with_instance,
};

/// `weir serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Listen on this address instead of `listen.address`
    #[arg(long, value_name = "ADDR", conflicts_with = "stdio")]
    pub listen: Option<SocketAddr>,
    /// Serve one client on stdin and stdout instead of HTTP
    #[arg(long)]
    pub stdio: bool,
    /// Do not watch the config: reload it only on SIGHUP or `POST /reload`
    #[arg(long)]
    pub no_watch: bool,
}

/// Why `weir serve` failed.
#[derive(Debug, thiserror::Error)]
enum ServeCommandError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot listen for SIGINT and SIGTERM")]
    Signals(#[source] std::io::Error),
    #[error("told to stop twice: some calls may not have ended")]
    StoppedTwice,
    #[error("stdin or stdout failed")]
    Stdio(#[source] std::io::Error),
}

/// Serves until SIGINT or SIGTERM; a second signal ends it at once. Exits with 0 after an orderly stop,
/// with 2 if the config is wrong, with 1 otherwise. `give_back_at_once` has memory given back to
/// the system as soon as it is freed, or as usual again.
pub async fn run(
    args: ServeArgs,
    output: &mut Output,
    program: PathBuf,
    give_back_at_once: fn(bool),
) -> ExitCode {
    let is_stream = config::is_stream(&args.config.config);
    if args.stdio && names_stdin(&args.config.config) {
        let error = "stdin is the client's with --stdio: use -c FILE".to_owned();
        output.print_errors(&[error], "-c", None);
        return ExitCode::from(2);
    }
    let texts = ConfigFiles::read(&args.config.config);
    let started = texts.digest();
    let mut config = match texts.config(&config::process_env) {
        Ok(config) => config,
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    let advice = advise_if_empty(&config, &args.config.config);
    let options = Options {
        stores: true,
        reads_pins: true,
        source: Some(ConfigSource {
            file: args.config.config.clone(),
            address: args.listen,
            started,
            watched: !args.no_watch,
            is_stream,
        }),
        reaper: Some(program),
        give_back_at_once: Some(give_back_at_once),
        exports: true,
        // On stdio, stdout belongs to the client.
        metric_lines: (!args.stdio).then_some(write_stdout as WriteLines),
    };
    // Without a handler, a write beyond the limit of file sizes ends the process.
    let _oversize = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let served = if args.stdio {
        if let Some(advice) = advice {
            output.print_warning(&advice);
        }
        serve_stdio(config, &options).await
    } else {
        match override_address(&mut config, args.listen) {
            Ok(()) => serve_http(config, options, advice, output).await,
            Err(error) => Err(error),
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.print_failure(&error);
            match error {
                // The same error as if the address were in the config.
                ServeCommandError::Address(_) => ExitCode::from(2),
                ServeCommandError::Serve(_)
                | ServeCommandError::Signals(_)
                | ServeCommandError::StoppedTwice
                | ServeCommandError::Stdio(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Returns whether a path names weir's stdin.
fn names_stdin(path: &Path) -> bool {
    ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"]
        .iter()
        .any(|stdin| path == Path::new(stdin))
}

/// Applies `--listen`. It must not expose to a network what the config does not.
fn override_address(
    config: &mut Config,
    address: Option<SocketAddr>,
) -> Result<(), ServeCommandError> {
    let Some(address) = address else {
        return Ok(());
    };
    config.listen.address = address;
    config
        .listen
        .refused_address()
        .map_or(Ok(()), |error| Err(error.into()))
}

async fn serve_http(
    config: Config,
    options: Options,
    advice: Option<String>,
    output: &mut Output,
) -> Result<(), ServeCommandError> {
    let upstreams = count(config.upstreams.len(), "upstream");
    let (mut stop, mut hangups) = (Stop::listen()?, Hangups::listen()?);
    let bound = Bound::bind(config).await?;
    output.err.print_line(&format!(
        "weir {} joins {upstreams} at {}",
        env!("CARGO_PKG_VERSION"),
        bound.url()
    ));
    if let Some(admin) = bound.admin_address() {
        let line = match admin {
            AdminAddress::Tcp(address) => {
                format!("the state of the upstreams is at http://{address}/upstreams")
            }
            AdminAddress::Unix { path, .. } => {
                format!("operators find weir at the Unix socket {}", path.display())
            }
        };
        output.err.print_line(&line);
    }
    if let Some(advice) = advice {
        output.print_warning(&advice);
    }
    let server = bound.start(&options).await?;
    tokio::select! {
        () = stop.received() => {}
        () = hangups.reload(server.reloads()) => {}
    }
    tracing::info!("stopping");
    tokio::select! {
        () = server.stop() => Ok(()),
        () = stop.received() => Err(ServeCommandError::StoppedTwice),
    }
}

async fn serve_stdio(config: Config, options: &Options) -> Result<(), ServeCommandError> {
    let limit = config.listen.request_bytes;
    let (mut stop, mut hangups) = (Stop::listen()?, Hangups::listen()?);
    secure_state(&config)?;
    let core = Core::start(Arc::new(with_instance(config)?), options).await?;
    let core = ReloadableCore::start(core, options.source.clone());
    let shutdown = CancellationToken::new();
    let serving = front::stdio::serve(
        Arc::clone(core.live()),
        tokio::io::stdin(),
        tokio::io::stdout(),
        limit,
        shutdown.clone(),
    );
    tokio::pin!(serving);
    let (served, stopped) = tokio::select! {
        served = &mut serving => (served, false),
        () = stop.received() => {
            shutdown.cancel();
            (serving.await, true)
        }
        () = hangups.reload(core.reloads()) => (Ok(()), false),
    };
    // Clients close stdin and send a signal a little later: only a signal after that one hurries.
    let stopped_twice = async {
        if !stopped {
            stop.received().await;
        }
        stop.received().await;
    };
    tokio::select! {
        () = core.stop() => served.map_err(ServeCommandError::Stdio),
        () = stopped_twice => Err(ServeCommandError::StoppedTwice),
    }
}

/// Listens for SIGHUP, which reloads the config.
struct Hangups(Signal);

impl Hangups {
    fn listen() -> Result<Self, ServeCommandError> {
        let listening = signal(SignalKind::hangup());
        listening.map(Self).map_err(ServeCommandError::Signals)
    }

    /// Reloads the config at each SIGHUP, until the stream of signals ends. The outcome is logged.
    async fn reload(&mut self, reloads: &ReloadHandle) {
        while self.0.recv().await.is_some() {
            let outcome = reloads.reload(ReloadTrigger::Signal, None).await;
            if let (None, Some(reason)) = (outcome, reloads.cannot()) {
                tracing::warn!(trigger = ReloadTrigger::Signal.as_str(), "{reason}");
            }
        }
    }
}

/// Listens for SIGINT and SIGTERM from its creation on, so that weir can be stopped while it starts.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, ServeCommandError> {
        let listen = |kind| signal(kind).map_err(ServeCommandError::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one of the two signals.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
