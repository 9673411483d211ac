//! `weir serve`: runs the proxy until it is stopped to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::output::{Output, count};
use crate::cli::{ConfigArgs, advise_if_empty, print_config_errors};
use crate::config::{self, Config, ConfigFiles};
use crate::front;
use crate::live::reload::{ReloadHandle, ReloadTrigger};
use crate::server::{
    Bound, ConfigSource, Core, Options, ReloadableCore, ServeError, with_instance,
};

/// `weir serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Listen here in place of `listen.address`
    #[arg(long, value_name = "ADDR", conflicts_with = "stdio")]
    pub listen: Option<SocketAddr>,
    /// Serve one client on stdin and stdout in place of HTTP
    #[arg(long)]
    pub stdio: bool,
    /// Read the config again only when told to, by SIGHUP or `POST /reload`
    #[arg(long)]
    pub no_watch: bool,
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
enum ServeCommandError {
    #[error(
        "{address} is open to a network: write `listen.auth` in the config, even if it says `none`"
    )]
    Open { address: SocketAddr },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("SIGINT and SIGTERM cannot be heard")]
    Signals(#[source] std::io::Error),
    #[error("told to stop twice: not everything that was under way has ended")]
    StoppedTwice,
    #[error("stdin or stdout broke")]
    Stdio(#[source] std::io::Error),
}

/// Serves until SIGINT or SIGTERM; a second one ends it at once. Exit 0 after a stop in order, 2 for a wrong config, 1 otherwise.
pub async fn run(args: ServeArgs, output: &mut Output, program: PathBuf) -> ExitCode {
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
        }),
        reaper: Some(program),
    };
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
                // As if it stood in the config.
                ServeCommandError::Open { .. } => ExitCode::from(2),
                ServeCommandError::Serve(_)
                | ServeCommandError::Signals(_)
                | ServeCommandError::StoppedTwice
                | ServeCommandError::Stdio(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Takes `--listen` in; it cannot open to a network what the config did not.
fn override_address(
    config: &mut Config,
    address: Option<SocketAddr>,
) -> Result<(), ServeCommandError> {
    let Some(address) = address else {
        return Ok(());
    };
    if !address.ip().is_loopback() && config.listen.auth.is_none() {
        return Err(ServeCommandError::Open { address });
    }
    config.listen.address = address;
    Ok(())
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
        output
            .err
            .print_line(&format!("operators look at http://{admin}/upstreams"));
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
    // Clients close stdin and send a signal a little later: that is the first one.
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

/// SIGHUP: the config is to be read again.
struct Hangups(Signal);

impl Hangups {
    fn listen() -> Result<Self, ServeCommandError> {
        let listening = signal(SignalKind::hangup());
        listening.map(Self).map_err(ServeCommandError::Signals)
    }

    /// Has the config read again at each of them, as long as there can be one. What comes of it is in the log.
    async fn reload(&mut self, reloads: &ReloadHandle) {
        while self.0.recv().await.is_some() {
            let _ = reloads.reload(ReloadTrigger::Signal).await;
        }
    }
}

/// SIGINT and SIGTERM, heard from the moment this exists: whoever starts weir may stop it before it stands.
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

    /// Waits for either.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
