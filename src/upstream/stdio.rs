//! A child process as a message pipe: one process per upstream, one JSON-RPC message a line
//! (`basic/transports/stdio.mdx`).
//!
//! Four tasks serve a child: a writer and a reader (`pump`), one for its stderr (`log`), and the supervisor
//! (`process`), which alone waits, signals and reaps. All end when the process does. Starting a new process afterwards is not done here.

mod log;
mod pending;
mod process;
mod pump;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::secrets::{SecretCell, SecretError};
use crate::name::UpstreamId;
pub use pending::{ChildReplies, ChildReply};
use pending::{Pending, Router};
pub use process::Exit;

/// Messages that wait to be written. Whoever has one more waits with it.
const OUTGOING: usize = 64;
/// Messages of the child's own that wait to be looked at. One more is dropped, and logged.
const EVENTS: usize = 256;

/// How to run a child.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// The upstream it is; its log lines carry this name.
    pub name: UpstreamId,
    /// The program: a path (a relative one starts at `cwd`), or a name looked up in the child's `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment but for `env`. See [`inherited_env`].
    pub inherited: Vec<(OsString, OsString)>,
    /// Added to `inherited`, and stronger.
    pub env: Vec<(String, SecretCell)>,
    /// Its working folder, if not ours.
    pub cwd: Option<PathBuf>,
    /// The absolute path of a program that has [`reaper::run`](super::reaper::run) as `reap -- PROGRAM ARGS…`.
    /// Without it, a child may outlive a killed weir.
    pub reaper: Option<PathBuf>,
    /// The longest line accepted of the child, in bytes, without its end.
    pub max_message: usize,
}

impl ChildSpec {
    /// Has all secrets of `env` as they are now: a child is given them once.
    ///
    /// # Errors
    /// One that cannot be had.
    pub async fn read_secrets(&self) -> Result<(), StartError> {
        for (name, secret) in &self.env {
            let read = secret.read().await;
            read.map_err(|source| StartError::Secret {
                name: name.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program is not there, or not in the child's `PATH`.
    #[error("there is no program `{0}`")]
    NoProgram(PathBuf),
    /// The program is a file that may not be executed.
    #[error("`{0}` is not executable")]
    NotExecutable(PathBuf),
    /// The working folder is not there.
    #[error("there is no folder `{0}`")]
    NoFolder(PathBuf),
    /// A secret of its environment cannot be had.
    #[error("the secret for `{name}` cannot be had")]
    Secret {
        /// The variable.
        name: String,
        /// Why not.
        #[source]
        source: SecretError,
    },
    /// The operating system refused.
    #[error("`{program}` could not be started")]
    Spawn {
        /// What was to be started: the program, or the reaper.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Why a child takes no more messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosedReason {
    /// The process ended by itself.
    #[error("the process {0}")]
    Exited(Exit),
    /// The process closed its stdout and stayed.
    #[error("the process closed its stdout")]
    OutputClosed,
    /// The process closed its stdin and stayed.
    #[error("the process closed its stdin")]
    InputClosed,
    /// The process wrote a line longer than the limit.
    #[error("the process wrote a line of more than {limit} bytes")]
    Oversized {
        /// [`ChildSpec::max_message`].
        limit: usize,
    },
    /// Weir stopped it.
    #[error("the process was stopped")]
    Stopped,
}

/// A message could not be handed to the child.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the process is closed")]
pub struct ChildClosed(#[source] pub ClosedReason);

/// A running child process. When the last reference goes, the process is stopped as by [`Child::stop`].
#[derive(Debug)]
pub struct Child {
    outgoing: mpsc::Sender<Bytes>,
    pending: Arc<Pending>,
    stop: CancellationToken,
    gone: watch::Receiver<bool>,
    pid: Option<u32>,
}

impl Child {
    /// Starts the process and its tasks. The receiver gives the requests and notifications of the child that
    /// belong to no pending request, in order; while it is full (256), more are dropped and logged.
    ///
    /// To be called in a tokio runtime.
    ///
    /// # Errors
    /// There is no such program or folder, or the operating system refused.
    pub fn start(
        spec: &ChildSpec,
        tasks: &TaskTracker,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Bytes>), StartError> {
        let mut process = process::spawn(spec)?;
        let (stdin, stdout, stderr) = process.pipes().map_err(|source| StartError::Spawn {
            program: spec.program.clone(),
            source,
        })?;
        let (outgoing, lines) = mpsc::channel(OUTGOING);
        let (events, incoming) = mpsc::channel(EVENTS);
        let (gone_tx, gone) = watch::channel(false);
        let (written_tx, written) = oneshot::channel();
        let (read_tx, read) = oneshot::channel();
        let (logged_tx, logged) = oneshot::channel();
        let pending = Arc::new(Pending::new());
        let stop = CancellationToken::new();
        let child = Arc::new(Self {
            outgoing,
            pending: Arc::clone(&pending),
            stop: stop.clone(),
            gone,
            pid: process.id(),
        });

        // A descendant that escaped may hold a pipe: when the process is over, so are its tasks.
        let (over, stopped) = (process.over(), stop.clone());
        tasks.spawn(over.run_until_cancelled_owned(async move {
            let _ = written_tx.send(pump::write(stdin, lines, stopped).await);
        }));
        let router = Router::new(spec.name.clone(), Arc::clone(&pending), events);
        let (over, limit) = (process.over(), spec.max_message);
        tasks.spawn(over.run_until_cancelled_owned(async move {
            let _ = read_tx.send(pump::read(stdout, limit, router).await);
        }));
        let (over, name) = (process.over(), spec.name.clone());
        tasks.spawn(over.run_until_cancelled_owned(async move {
            log::relay(stderr, &name).await;
            let _ = logged_tx.send(());
        }));
        let pumps = process::Pumps {
            written,
            read,
            logged,
            stop,
        };
        let name = spec.name.clone();
        tasks.spawn(async move {
            let exit = process::supervise(process, pumps, &pending).await;
            tracing::info!(target: "upstream", upstream = %name, "the process {exit}");
            let _ = gone_tx.send(true);
        });
        Ok((child, incoming))
    }

    /// Sends a request and gives its replies. `id` is the request's id and its progress token, not in use
    /// by another pending request. Waits while the child does not read; dropped while waiting, the request is
    /// not sent.
    ///
    /// # Errors
    /// The child is closed.
    pub async fn request(&self, id: u64, message: Bytes) -> Result<ChildReplies, ChildClosed> {
        let replies = Pending::register(&self.pending, id).map_err(ChildClosed)?;
        self.send(message).await?;
        Ok(replies)
    }

    /// Sends a notification or a response. Waits while the child does not read.
    ///
    /// # Errors
    /// The child is closed.
    pub async fn send(&self, message: Bytes) -> Result<(), ChildClosed> {
        // The writer goes when the child closes, and lets go of all who wait here.
        self.outgoing.send(message).await.map_err(|_| {
            let reason = self.pending.closed();
            ChildClosed(reason.unwrap_or(if self.stop.is_cancelled() {
                ClosedReason::Stopped
            } else {
                ClosedReason::InputClosed
            }))
        })
    }

    /// Whether the child takes no more messages.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pending.closed().is_some()
    }

    /// Waits until the child takes no more messages and says why. The process may still be on its way out:
    /// [`Child::stop`] waits for that.
    pub async fn closed(&self) -> ClosedReason {
        self.pending.wait_closed().await
    }

    /// The id of the process (the reaper's, if there is one), for the operator.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Stops the process and waits until it is gone: its stdin is closed; SIGTERM after 1 s; SIGKILL after 2 s
    /// more. What was queued is written first if the child takes it, and answers are delivered until the
    /// end. May be called again and from several places.
    pub async fn stop(&self) {
        self.stop.cancel();
        // An error means that the task is gone, and with it the process.
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a child inherits of our environment: what the official SDKs pass on (`getDefaultEnvironment`: HOME,
/// LOGNAME, PATH, SHELL, TERM, USER), the locale, the time zone, and where to keep files. Everything else, secrets
/// above all, has to be named in the config.
#[must_use]
pub fn inherited_env() -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 14] = [
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
    ];
    let passes = |name: &str| NAMES.contains(&name) || name.starts_with("LC_");
    std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(passes))
        // A shell function in disguise; the SDKs leave it out for safety.
        .filter(|(_, value)| !value.as_encoded_bytes().starts_with(b"()"))
        .collect()
}

/// Whether the program can be found, before a reaper has to say so by its exit status.
fn find(spec: &ChildSpec) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;

    if let Some(cwd) = &spec.cwd
        && !cwd.is_dir()
    {
        return Err(StartError::NoFolder(cwd.clone()));
    }
    let here = spec.cwd.as_deref().unwrap_or(Path::new(""));
    let candidates: Vec<PathBuf> = if spec.program.components().count() > 1 {
        vec![here.join(&spec.program)]
    } else {
        let given = spec.env.iter().rfind(|(name, _)| name == "PATH");
        let path = given
            .and_then(|(_, path)| Some(OsString::from(path.now()?.expose())))
            .or_else(|| {
                let inherited = spec.inherited.iter().rfind(|(name, _)| name == "PATH");
                inherited.map(|(_, path)| path.clone())
            })
            // What `execvp` does without one.
            .unwrap_or_else(|| "/bin:/usr/bin".into());
        std::env::split_paths(&path)
            .map(|folder| here.join(folder).join(&spec.program))
            .collect()
    };
    let mut found = Err(StartError::NoProgram(spec.program.clone()));
    for candidate in candidates {
        match candidate.metadata() {
            Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => return Ok(()),
            Ok(file) if file.is_file() => found = Err(StartError::NotExecutable(candidate)),
            _ => {}
        }
    }
    found
}

/// The pipes to a process.
type Pipes = (
    tokio::process::ChildStdin,
    tokio::process::ChildStdout,
    tokio::process::ChildStderr,
);

/// The command for a spec: clean environment, own process group, three pipes.
fn command(spec: &ChildSpec) -> (PathBuf, tokio::process::Command) {
    let program = spec.reaper.as_ref().unwrap_or(&spec.program);
    let mut command = tokio::process::Command::new(program);
    let given = spec.env.iter();
    let given: Vec<_> = given
        .filter_map(|(name, value)| Some((name, value.now()?)))
        .collect();
    if spec.reaper.is_some() {
        command.args(["reap", "--"]).arg(&spec.program);
    }
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.inherited.iter().cloned())
        .envs(given.iter().map(|(name, value)| (name, value.expose())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // An own group: Ctrl-C at a terminal reaches weir alone, and all of it can be signalled at once.
        .process_group(0);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    (program.clone(), command)
}
