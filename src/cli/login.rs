//! `weir login`: a person lets weir use an upstream.

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::output::{Output, count, make_safe};
use crate::cli::{ConfigArgs, print_config_errors};
use crate::config::{self, Auth, Config, Endpoint, Upstream};
use crate::credentials::CredentialsContext;
use crate::credentials::oauth::login::{LoginError, LoginNotice, PendingLogin};
use crate::credentials::oauth::store::StoredLogin;

/// How long a person has.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most characters of a line on stdin: an address with a code in it.
const MAX_LINE: usize = 16 * 1024;

/// `weir login`
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The upstream to log in to, as the config names it
    pub upstream: String,
    /// The config
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Exit 0 if weir is logged in; 2 with what went wrong.
pub async fn run(args: LoginArgs, output: &mut Output) -> ExitCode {
    let config = match config::load(&args.config.config, &config::process_env) {
        Ok(config) => config,
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    let Some(upstream) = config.upstreams.get(args.upstream.as_str()) else {
        output.print_error(&describe_unknown(&args.upstream, &config));
        return ExitCode::from(2);
    };
    // Nothing is written before the tokens are there, and then a file is moved to its place: whoever breaks off
    // leaves nothing behind.
    let done = tokio::select! {
        // Heard before anybody reads that there is something to break off.
        biased;
        _ = tokio::signal::ctrl_c() => {
            output.print_error("broken off; nothing was stored");
            return ExitCode::from(2);
        }
        done = login(upstream, &config, output) => done,
    };
    match done {
        Ok(record) => {
            print_success(&record, output);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.print_failure(&error);
            ExitCode::from(2)
        }
    }
}

async fn login(
    upstream: &Arc<Upstream>,
    config: &Config,
    output: &mut Output,
) -> Result<StoredLogin, LoginError> {
    let Endpoint::Http(endpoint) = &upstream.endpoint else {
        return Err(LoginError::OtherAuth);
    };
    // Another part of the process may have chosen a provider already; that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tasks = TaskTracker::new();
    let (files, stop) = (Arc::default(), CancellationToken::new());
    let around = CredentialsContext::new(&files, config.state_dir.clone(), &tasks, &stop);
    let login = PendingLogin::begin(upstream, endpoint, &around).await?;
    let terminal = output.err.features().terminal;
    let screen = &mut output.err;
    screen.print_line(&format!(
        "To let weir use {}, open this in a browser and log in:",
        make_safe(upstream.id.as_str())
    ));
    // On a line of its own and unbroken, so that it can be copied.
    screen.print_raw(&format!("\n  {}\n\n", login.url()));
    screen.print_line(
        "Waiting for 5 minutes. If the browser is on another machine, it ends up at an address that it cannot open: paste that here.",
    );
    if terminal {
        open_browser(login.url().as_str());
    }
    let (sender, lines) = mpsc::channel(1);
    tasks.spawn(read_lines(sender));
    let notice = |notice| {
        screen.print_line(match notice {
            LoginNotice::OtherLogin => "an answer to another login came in, and was turned away",
            LoginNotice::NotARedirect => {
                "that is not where the browser ended up: it begins with http://127.0.0.1"
            }
        });
    };
    login.finish(PATIENCE, lines, notice).await
}

/// What is typed, line by line, until there is no more.
async fn read_lines(lines: mpsc::Sender<String>) {
    let codec = LinesCodec::new_with_max_length(MAX_LINE);
    let mut read = FramedRead::new(tokio::io::stdin(), codec);
    while let Some(Ok(line)) = read.next().await {
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// Tries to show the address; where that is not possible, a person can.
fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let _ = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

fn print_success(record: &StoredLogin, output: &mut Output) {
    output.out.print_done(&format!(
        "weir is logged in to {} ({}); one that runs needs no restart",
        make_safe(&record.upstream),
        make_safe(&record.issuer)
    ));
    if record.refresh_token.is_none() && record.expires.is_some() {
        output.print_warning("the server gave no refresh token: when the access token ends, somebody has to log in again");
    }
}

fn describe_unknown(name: &str, config: &Config) -> String {
    let logs_in = |upstream: &&Arc<Upstream>| matches!(upstream.auth, Auth::AuthorizationCode(_));
    let names: Vec<_> = (config.upstreams.values())
        .filter(logs_in)
        .map(|upstream| upstream.id.as_str())
        .collect();
    let known = match names.as_slice() {
        [] => "no upstream has `auth.type: oauth2_authorization_code`".to_owned(),
        names => format!("{}: {}", count(names.len(), "upstream"), names.join(", ")),
    };
    format!("no upstream `{name}` in the config; to log in to there is {known}")
}
