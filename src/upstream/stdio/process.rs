//! The process itself: started in its own group, waited for, signalled and reaped by one task.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::closed::{ChildEnd, ClosedReason, Exit};
use super::lines::ReadEnd;
use super::pending::PendingRequests;
use super::spec::{ChildSpec, ChildStartError};
use crate::processes;
use crate::upstream::reaper;

/// The time that the process has to exit by itself after its stdin was closed.
const AFTER_INPUT: Duration = Duration::from_secs(1);
/// How much longer weir waits for the reaper than the reaper waits for the program. The reaper
/// kills by itself, and should not be killed first.
const REAPER_SLACK: Duration = Duration::from_secs(1);
/// The time to wait for what must be about to happen: the exit status after the pipes closed, the
/// last lines after the exit.
const SHORTLY: Duration = Duration::from_millis(500);

/// A started process. If it is dropped before it was reaped (its task was dropped with the
/// runtime), it is signalled.
pub(super) struct ChildProcess {
    child: tokio::process::Child,
    has_reaper: bool,
    finished: CancellationToken,
}

/// The pipes to a process.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl ChildProcess {
    /// Starts the process of a spec.
    pub(super) fn spawn(spec: &ChildSpec) -> Result<Self, ChildStartError> {
        spec.check_program()?;
        let mut command = spec.to_command()?;
        let started = processes::start(|| command.spawn(), tokio::process::Child::id);
        let child = started.map_err(|source| ChildStartError::Spawn {
            program: spec.executable().to_owned(),
            source,
        })?;
        Ok(Self {
            child,
            has_reaper: spec.reaper.is_some(),
            finished: CancellationToken::new(),
        })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns a token that is cancelled when there is nothing more to read. The end of a pipe does
    /// not tell that: a descendant that escaped may hold it open.
    pub(super) fn finished(&self) -> CancellationToken {
        self.finished.clone()
    }

    /// Takes the pipes of the process.
    pub(super) fn take_pipes(&mut self) -> io::Result<Pipes> {
        let child = &mut self.child;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Pipes {
                stdin,
                stdout,
                stderr,
            }),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits until the process is reaped, then kills what it left in its group.
    async fn wait(&mut self) -> Exit {
        let group = self.pid();
        let exit = match self.child.wait().await {
            Ok(status) => Exit::from_status(status, self.has_reaper),
            // Something else reaped it: it is gone all the same.
            Err(_) => Exit::Unknown,
        };
        // A group keeps its id while it has members. If it has none, the id cannot be another
        // group's yet: the kernel gives ids out in turn.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
            processes::forget(group);
        }
        // A program that killed its reaper has escaped neither: weir adopts what it started.
        processes::end_orphans().await;
        exit
    }

    async fn wait_for(&mut self, limit: Duration) -> Option<Exit> {
        timeout(limit, self.wait()).await.ok()
    }

    /// Returns the process id, which is the group's id too, until the process is reaped.
    fn pid(&self) -> Option<Pid> {
        let id = self.child.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// Asks the reaper, or without one the whole group, to end. The reaper passes the signal on to
    /// the group, so signalling the group too would signal each process twice.
    fn terminate(&self) {
        let Some(pid) = self.pid() else { return };
        let _ = if self.has_reaper {
            kill_process(pid, Signal::TERM)
        } else {
            kill_process_group(pid, Signal::TERM)
        };
        // A stopped process (SIGSTOP) receives SIGTERM only after it is continued.
        let _ = kill_process_group(pid, Signal::CONT);
    }

    /// Ends the process, by SIGKILL if nothing else helps, and reaps it.
    async fn end(&mut self) -> Exit {
        self.terminate();
        let limit = if self.has_reaper {
            reaper::AFTER_TERM + reaper::LEFTOVERS + REAPER_SLACK
        } else {
            reaper::AFTER_TERM
        };
        if let Some(exit) = self.wait_for(limit).await {
            return exit;
        }
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.wait().await
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.has_reaper {
            // SIGKILL would leave the reaper no time to clean up.
            self.terminate();
        } else if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.finished.cancel();
    }
}

/// The tasks that serve the pipes, as the supervisor sees them.
pub(super) struct PipeTasks {
    /// Receives when the writer is done: stdin is closed.
    pub(super) written: oneshot::Receiver<io::Result<()>>,
    /// Receives when the reader is done.
    pub(super) read: oneshot::Receiver<ReadEnd>,
    /// Receives when all of stderr is logged.
    pub(super) logged: oneshot::Receiver<()>,
    /// Cancelled when the process has to end. The writer then closes stdin.
    pub(super) stop: CancellationToken,
}

/// Watches the process until it is reaped, and closes `pending` as soon as no answer can come.
pub(super) async fn supervise(
    mut process: ChildProcess,
    mut tasks: PipeTasks,
    pending: &PendingRequests,
) -> ChildEnd {
    let end = wait_for_end(&mut process, &mut tasks, pending).await;
    // The last lines of its log say why it crashed.
    let _ = timeout(SHORTLY, tasks.logged).await;
    end
}

async fn wait_for_end(
    process: &mut ChildProcess,
    tasks: &mut PipeTasks,
    pending: &PendingRequests,
) -> ChildEnd {
    let by_itself = |exit| ChildEnd {
        exit,
        ended_for: None,
    };
    let failure = tokio::select! {
        exit = process.wait() => {
            // The last line that it wrote may be an answer.
            let _ = timeout(SHORTLY, &mut tasks.read).await;
            pending.close(&ClosedReason::Exited(exit));
            return by_itself(exit);
        }
        () = tasks.stop.cancelled() => {
            let exit = match process.wait_for(AFTER_INPUT).await {
                Some(exit) => exit,
                None => process.end().await,
            };
            let _ = timeout(SHORTLY, &mut tasks.read).await;
            pending.close(&ClosedReason::Stopped);
            return ChildEnd {
                exit,
                ended_for: Some(ClosedReason::Stopped),
            };
        }
        end = &mut tasks.read => match end {
            Ok(ReadEnd::Oversized(limit)) => PipeFailure::Certain(ClosedReason::Oversized { limit }),
            Ok(ReadEnd::Closed) | Err(_) => PipeFailure::PerhapsExit(ClosedReason::OutputClosed),
        },
        Ok(Err(_)) = &mut tasks.written => PipeFailure::PerhapsExit(ClosedReason::InputClosed),
    };
    let reason = match failure {
        PipeFailure::Certain(reason) => reason,
        // A process that ends closes its pipes first. Its exit status says more than the pipes do.
        PipeFailure::PerhapsExit(reason) => match process.wait_for(SHORTLY).await {
            Some(exit) => {
                pending.close(&ClosedReason::Exited(exit));
                return by_itself(exit);
            }
            None => reason,
        },
    };
    pending.close(&reason);
    tasks.stop.cancel();
    ChildEnd {
        exit: process.end().await,
        ended_for: Some(reason),
    }
}

/// Why a pipe can no longer be used.
enum PipeFailure {
    Certain(ClosedReason),
    /// The pipe closed, which may be the first sign that the process ends.
    PerhapsExit(ClosedReason),
}
