//! The process itself: started in an own group, waited for, signalled, reaped, all in one task.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::pending::Pending;
use super::pump::Ended;
use super::{ChildSpec, ClosedReason, Pipes, StartError, command, find};
use crate::upstream::reaper;

/// How long the process has to leave by itself when its stdin is closed.
const AFTER_INPUT: Duration = Duration::from_secs(1);
/// How much longer than the reaper's own patience weir waits for the reaper, which kills by itself.
const REAPER_SLACK: Duration = Duration::from_secs(1);
/// How long to wait for what must be about to happen: the exit status after the pipes closed, the last
/// lines after the exit.
const SHORTLY: Duration = Duration::from_millis(500);

/// How a process ended. Below a reaper, a status of 128 + n is read as signal n, as a shell reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned a status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
    /// Nobody knows.
    Unknown,
}

impl Exit {
    fn new(status: ExitStatus, has_reaper: bool) -> Self {
        use std::os::unix::process::ExitStatusExt;

        match (status.code(), status.signal()) {
            (Some(code @ 129..=192), _) if has_reaper => Self::Signal(code - 128),
            (Some(code), _) => Self::Status(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::Unknown => f.write_str("is gone"),
        }
    }
}

/// A started process. Dropped before it was reaped (its task was dropped with the runtime), it is signalled.
pub(super) struct Process {
    child: tokio::process::Child,
    has_reaper: bool,
    over: CancellationToken,
}

/// Starts the process of a spec.
pub(super) fn spawn(spec: &ChildSpec) -> Result<Process, StartError> {
    find(spec)?;
    let (program, mut command) = command(spec);
    let child = command
        .spawn()
        .map_err(|source| StartError::Spawn { program, source })?;
    Ok(Process {
        child,
        has_reaper: spec.reaper.is_some(),
        over: CancellationToken::new(),
    })
}

impl Process {
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Cancelled when there is nothing more to read: processes that escaped may hold the pipes open.
    pub(super) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    pub(super) fn pipes(&mut self) -> io::Result<Pipes> {
        let child = &mut self.child;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits until the process is reaped, then kills what it left in its group.
    async fn wait(&mut self) -> Exit {
        let group = self.pid();
        let exit = match self.child.wait().await {
            Ok(status) => Exit::new(status, self.has_reaper),
            // Reaped by somebody else: gone, all the same.
            Err(_) => Exit::Unknown,
        };
        // A group keeps its id while it has members. If it has none, the id cannot be somebody else's yet:
        // the kernel gives ids out in turn.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        exit
    }

    async fn wait_for(&mut self, limit: Duration) -> Option<Exit> {
        timeout(limit, self.wait()).await.ok()
    }

    /// The process id while it is ours, which is the group's id too.
    fn pid(&self) -> Option<Pid> {
        let id = self.child.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// Asks the reaper, or the whole group, to end. A reaper passes it on, so that nobody gets it twice.
    fn terminate(&self) {
        let Some(pid) = self.pid() else { return };
        let _ = if self.has_reaper {
            kill_process(pid, Signal::TERM)
        } else {
            kill_process_group(pid, Signal::TERM)
        };
        // A stopped process gets no SIGTERM before it goes on.
        let _ = kill_process_group(pid, Signal::CONT);
    }

    /// Ends the process, whatever it takes, and reaps it.
    async fn end(&mut self) -> Exit {
        self.terminate();
        let patience = if self.has_reaper {
            reaper::AFTER_TERM + reaper::LEFTOVERS + REAPER_SLACK
        } else {
            reaper::AFTER_TERM
        };
        if let Some(exit) = self.wait_for(patience).await {
            return exit;
        }
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.wait().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_reaper {
            // Killed, it could not clean up.
            self.terminate();
        } else if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.over.cancel();
    }
}

/// What the supervisor hears of the other tasks.
pub(super) struct Pumps {
    /// The writer is done: stdin is closed.
    pub(super) written: oneshot::Receiver<io::Result<()>>,
    /// The reader is done.
    pub(super) read: oneshot::Receiver<Ended>,
    /// The log is done.
    pub(super) logged: oneshot::Receiver<()>,
    /// Somebody wants the process to end; the writer then closes stdin.
    pub(super) stop: CancellationToken,
}

/// Watches over the process until it is reaped, and closes `pending` as soon as no answer can come.
pub(super) async fn supervise(mut process: Process, mut pumps: Pumps, pending: &Pending) -> Exit {
    let exit = watch(&mut process, &mut pumps, pending).await;
    // The end of its log says why it crashed.
    let _ = timeout(SHORTLY, pumps.logged).await;
    exit
}

async fn watch(process: &mut Process, pumps: &mut Pumps, pending: &Pending) -> Exit {
    let trouble = tokio::select! {
        exit = process.wait() => {
            // Its last words may be an answer.
            let _ = timeout(SHORTLY, &mut pumps.read).await;
            pending.close(&ClosedReason::Exited(exit));
            return exit;
        }
        () = pumps.stop.cancelled() => {
            let exit = match process.wait_for(AFTER_INPUT).await {
                Some(exit) => exit,
                None => process.end().await,
            };
            let _ = timeout(SHORTLY, &mut pumps.read).await;
            pending.close(&ClosedReason::Stopped);
            return exit;
        }
        ended = &mut pumps.read => match ended {
            Ok(Ended::Oversized(limit)) => Trouble::Certain(ClosedReason::Oversized { limit }),
            Ok(Ended::Closed) | Err(_) => Trouble::PerhapsExit(ClosedReason::OutputClosed),
        },
        Ok(Err(_)) = &mut pumps.written => Trouble::PerhapsExit(ClosedReason::InputClosed),
    };
    let reason = match trouble {
        Trouble::Certain(reason) => reason,
        // A process that ends closes its pipes first. Then its status says more than they do.
        Trouble::PerhapsExit(reason) => match process.wait_for(SHORTLY).await {
            Some(exit) => {
                pending.close(&ClosedReason::Exited(exit));
                return exit;
            }
            None => reason,
        },
    };
    pending.close(&reason);
    pumps.stop.cancel();
    process.end().await
}

enum Trouble {
    Certain(ClosedReason),
    PerhapsExit(ClosedReason),
}
