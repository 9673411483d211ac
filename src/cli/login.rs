//! `weir login`: a person logs in to an upstream on behalf of weir.

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

use crate::cli::output::{Output, make_safe};
use crate::cli::target::{ConfigArgs, print_config_errors};
use crate::config::{self, Auth, Config, Endpoint, Upstream};
use crate::credentials::CredentialsContext;
use crate::credentials::oauth::login::{LoginError, LoginNotice, PendingLogin};
use crate::credentials::oauth::store::StoredLogin;

/// How long a person has to log in.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest line on stdin: an address with an authorization code in it.
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

/// Exits with 0 if weir is logged in, with 2 and the reason if not.
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
    // Nothing is written before the tokens have come, and then a file is moved to its place: an
    // interrupted login leaves nothing behind.
    let done = tokio::select! {
        // Listens for Ctrl-C before the first line is printed.
        biased;
        _ = tokio::signal::ctrl_c() => {
            output.print_error("interrupted; nothing was stored");
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
    // Fails if another part of the process has installed a provider, which will do as well.
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
    // On a line of its own and unwrapped, so that it can be copied.
    screen.print_raw(&format!("\n  {}\n\n", login.url()));
    screen.print_line(
        "Waiting for 5 minutes. If the browser is on another machine, it ends at an address that it cannot open: paste that address here.",
    );
    if terminal {
        open_browser(login.url().as_str());
    }
    let (sender, lines) = mpsc::channel(1);
    tasks.spawn(read_lines(sender));
    let notice = |notice| {
        screen.print_line(match notice {
            LoginNotice::OtherLogin => "an answer to another login came in, and was rejected",
            LoginNotice::NotARedirect => {
                "that is not the address at which the browser ended: it begins with http://127.0.0.1"
            }
        });
    };
    login.finish(PATIENCE, lines, notice).await
}

/// Sends each line of stdin, until stdin ends.
async fn read_lines(lines: mpsc::Sender<String>) {
    let codec = LinesCodec::new_with_max_length(MAX_LINE);
    let mut read = FramedRead::new(tokio::io::stdin(), codec);
    while let Some(Ok(line)) = read.next().await {
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// Tries to open the address in a browser. Failing is no error: the address is printed too.
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
        "weir is logged in to {} ({}); a running weir needs no restart",
        make_safe(&record.upstream),
        make_safe(&record.issuer)
    ));
    if record.refresh_token.is_none() && record.expires.is_some() {
        output.print_warning(
            "the server gave no refresh token: log in again when the access token expires",
        );
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
        names => format!("those to log in to are: {}", names.join(", ")),
    };
    format!("no upstream `{name}` in the config; {known}")
}
