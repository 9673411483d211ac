//! A child process as a message pipe: one process per upstream, one JSON-RPC message a line
//! (`basic/transports/stdio.mdx`).
//!
//! Four tasks serve a child: a writer and a reader (`lines`), one that logs its stderr (`stderr`),
//! and the supervisor (`process`), which alone waits, signals and reaps. All end when the process
//! does. Nothing here starts a new process after one has ended: that is for the caller.

mod broken;
mod closed;
mod interpreter;
mod lines;
mod pending;
mod process;
mod spec;
mod stderr;
#[cfg(test)]
mod tests;
mod user;

use crate::memory::MemoryShare;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use closed::{ChildClosed, ClosedReason, Exit};
pub use pending::{ChildReplies, ChildReply};
use pending::{LineRouter, PendingRequests};
use process::{ChildProcess, PipeTasks};
pub use spec::{ChildSpec, ChildStartError, InheritedEnv};

/// The most messages that wait to be written. The sender of one more waits.
const OUTGOING: usize = 64;
/// The most messages of the child's own that wait to be looked at. One more is dropped, and logged.
const EVENTS: usize = 256;

/// A running child process. When the last reference is dropped, the process is stopped as by
/// [`Child::stop`].
#[derive(Debug)]
pub struct Child {
    outgoing: mpsc::Sender<Bytes>,
    memory: MemoryShare,
    pending: Arc<PendingRequests>,
    stop: CancellationToken,
    gone: watch::Receiver<bool>,
    pid: Option<u32>,
}

impl Child {
    /// Starts the process and its tasks. The receiver yields, in order, the requests and
    /// notifications of the child that belong to no pending request. While it is full (256), more
    /// are dropped and logged.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The program or folder does not exist, or the operating system refused.
    pub fn start(
        spec: &ChildSpec,
        tasks: &TaskTracker,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Bytes>), ChildStartError> {
        let mut process = ChildProcess::spawn(spec)?;
        if !spec.inherited.withheld.is_empty() {
            let names = spec.inherited.withheld.join(", ");
            tracing::info!(target: "upstream", upstream = %spec.name,
                "variables not inherited, because they hold credentials: {names}; if the process needs one, name it in `inherit_env`");
        }
        let pipes = process
            .take_pipes()
            .map_err(|source| ChildStartError::Spawn {
                program: spec.program.clone(),
                source,
            })?;
        let (outgoing, queued) = mpsc::channel(OUTGOING);
        let (events, incoming) = mpsc::channel(EVENTS);
        let (gone_tx, gone) = watch::channel(false);
        let (written_tx, written) = oneshot::channel();
        let (read_tx, read) = oneshot::channel();
        let (logged_tx, logged) = oneshot::channel();
        let pending = Arc::new(PendingRequests::new());
        let stop = CancellationToken::new();
        let child = Arc::new(Self {
            outgoing,
            memory: spec.memory.clone(),
            pending: Arc::clone(&pending),
            stop: stop.clone(),
            gone,
            pid: process.id(),
        });

        // A descendant that escaped may hold a pipe open, so the tasks end with the process, not
        // with the pipe.
        let (finished, stopped) = (process.finished(), stop.clone());
        tasks.spawn(finished.run_until_cancelled_owned(async move {
            let _ = written_tx.send(lines::write_lines(pipes.stdin, queued, stopped).await);
        }));
        let router = LineRouter::new(
            spec.name.clone(),
            Arc::clone(&pending),
            events,
            spec.memory.clone(),
        );
        let (finished, limit) = (process.finished(), spec.max_message);
        tasks.spawn(finished.run_until_cancelled_owned(async move {
            let _ = read_tx.send(lines::read_lines(pipes.stdout, limit, router).await);
        }));
        let (finished, name) = (process.finished(), spec.name.clone());
        tasks.spawn(finished.run_until_cancelled_owned(async move {
            stderr::log_lines(pipes.stderr, &name).await;
            let _ = logged_tx.send(());
        }));
        let pipe_tasks = PipeTasks {
            written,
            read,
            logged,
            stop,
        };
        let name = spec.name.clone();
        tasks.spawn(async move {
            let end = process::supervise(process, pipe_tasks, &pending).await;
            tracing::info!(target: "upstream", upstream = %name, "{end}");
            let _ = gone_tx.send(true);
        });
        Ok((child, incoming))
    }

    /// Returns the share that pays for messages of the child's own.
    #[must_use]
    pub fn memory(&self) -> &MemoryShare {
        &self.memory
    }

    /// Sends a request and returns its replies, which `memory` pays for. `id` is the request's id and its progress token; no
    /// other pending request may use it. Waits while the child does not read. If the future is
    /// dropped while it waits, the request is not sent.
    ///
    /// # Errors
    /// The child is closed.
    pub async fn request(
        &self,
        id: u64,
        message: Bytes,
        memory: MemoryShare,
    ) -> Result<ChildReplies, ChildClosed> {
        let registered = PendingRequests::register(&self.pending, id, memory);
        let replies = registered.map_err(ChildClosed)?;
        self.send(message).await?;
        Ok(replies)
    }

    /// Sends a notification or a response. Waits while the child does not read.
    ///
    /// # Errors
    /// The child is closed.
    pub async fn send(&self, message: Bytes) -> Result<(), ChildClosed> {
        // When the child closes, the writer ends and drops its receiver, so that nothing waits
        // here.
        self.outgoing.send(message).await.map_err(|_| {
            let reason = self.pending.closed();
            ChildClosed(reason.unwrap_or(if self.stop.is_cancelled() {
                ClosedReason::Stopped
            } else {
                ClosedReason::InputClosed
            }))
        })
    }

    /// Returns whether the child takes no more messages.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pending.closed().is_some()
    }

    /// Waits until the child takes no more messages and returns why. The process may still be
    /// ending: [`Child::stop`] waits for that.
    pub async fn closed(&self) -> ClosedReason {
        self.pending.wait_closed().await
    }

    /// Returns the id of the process (the reaper's, if there is one), for the operator.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Stops the process and waits until it is gone: closes its stdin, sends SIGTERM after 1 s and
    /// SIGKILL after 2 s more. What was queued is written first if the child reads it, and answers
    /// are delivered until the end. May be called again, and from several places.
    pub async fn stop(&self) {
        self.stop.cancel();
        // An error means that the supervisor is gone, and with it the process.
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
