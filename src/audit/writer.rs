//! The one task that writes lines: what has come is written at once, then signed, flushed and rotated
//! as the config says.
//!
//! It runs on a thread for blocking work. Lines that cannot be written stay here, in their order,
//! until they can be.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::audit::chain::ChainEnd;
use crate::audit::checkpoint::{AuditSigner, Checkpoint};
use crate::audit::copies::send_copies;
use crate::audit::event::AuditEvent;
use crate::audit::file::{AuditFile, Resumed, Rotated};
use crate::audit::state::LogState;
use crate::config::{AuditSettings, FlushPolicy};
use crate::telemetry::Tracer;

/// The most lines that are written at once.
const BATCH: usize = 512;
/// A checkpoint comes after this many lines, or after this time if there are fewer.
pub(super) const CHECKPOINT_LINES: usize = 1_000;
pub(super) const CHECKPOINT_TIME: Duration = Duration::from_secs(60);
/// How long lines gather before they are written: one write for many calls.
const GATHER: Duration = Duration::from_millis(2);
/// How long to wait before lines that could not be written are tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How long a stopping weir waits for lines that are due, and tries to write them.
const LAST_TRIES: Duration = Duration::from_secs(3);
/// The time after which a rotation that failed is tried again.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

/// Lines on their way to the file.
pub(super) struct Writer {
    pub(super) settings: AuditSettings,
    pub(super) file: AuditFile,
    pub(super) end: ChainEnd,
    pub(super) signer: AuditSigner,
    pub(super) state: Arc<LogState>,
    /// Where copies of lines go, if they go anywhere.
    pub(super) tracer: Arc<Tracer>,
    pub(super) lines: mpsc::Receiver<Vec<u8>>,
    pub(super) checkpoints: Option<File>,
    pub(super) runtime: Handle,
    /// The lines that are about to be written, complete.
    pub(super) batch: Vec<Vec<u8>>,
    /// The number of lines since the last checkpoint, and the time of that.
    pub(super) unsigned: usize,
    pub(super) signed_at: Instant,
    /// When what was written has to be on the disk; `None` if it is.
    pub(super) flush_at: Option<Instant>,
    pub(super) rotate_from: Option<Instant>,
    /// Lines that a stopping weir could not write any more.
    pub(super) lost: usize,
}

impl Writer {
    /// Writes until the log stops, and what has come until then.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is a thread for blocking work"
    )]
    pub(super) fn run(mut self, resumed: &Resumed) {
        self.begin(resumed);
        let mut came = Vec::new();
        while self.wait(&mut came) {
            self.write(&mut came);
            if self.settings.fsync != FlushPolicy::Always {
                // Not by a timer of the runtime, which would wake one of its threads for it.
                std::thread::sleep(GATHER);
            }
        }
        self.finish();
    }

    /// Waits for lines, or for the time at which something else is due. Returns false when the log
    /// stops.
    fn wait(&mut self, came: &mut Vec<Vec<u8>>) -> bool {
        let due = self.due();
        let (lines, stop) = (&mut self.lines, &self.state.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => false,
                // There are none only if nobody can send any more.
                count = lines.recv_many(came, BATCH) => count > 0,
                () = tokio::time::sleep_until(due) => true,
            }
        })
    }

    /// Waits, but not if the log stops.
    fn pause(&self, time: Duration) {
        let stop = &self.state.stop;
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(time, stop.cancelled()).await;
        });
    }

    /// Returns when something is due though no line comes.
    fn due(&self) -> Instant {
        let sign = (self.unsigned > 0).then(|| self.signed_at + CHECKPOINT_TIME);
        let due = [sign, self.flush_at].into_iter().flatten().min();
        due.unwrap_or_else(|| Instant::now() + CHECKPOINT_TIME)
    }

    fn begin(&mut self, resumed: &Resumed) {
        let cut = resumed.cut.as_ref();
        if let Some((bytes, aside)) = cut {
            tracing::warn!(
                file = %self.settings.file.display(),
                bytes,
                after = resumed.seq,
                moved_to = %aside.display(),
                "the record file did not end in a whole line: its end was cut off"
            );
        }
        let details = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "key": self.signer.public_key().to_string(),
            "after": resumed.seq,
            "stopped_in_order": resumed.in_order,
            "cut": cut.map(|(bytes, aside)| json!({
                "bytes": bytes,
                "file": aside.file_name().map(|name| name.to_string_lossy()),
            })),
        });
        self.add_event(AuditEvent::START, details);
        self.sign();
        self.commit();
    }

    /// Writes what came, a checkpoint if one is due, and goes on to another file if it is time.
    fn write(&mut self, came: &mut Vec<Vec<u8>>) {
        let missing = self.state.take_missing();
        if missing > 0 {
            self.add_event(AuditEvent::GAP, json!({ "missing": missing }));
        }
        for line in came.drain(..) {
            self.add(line);
        }
        if self.unsigned > 0 && self.signed_at.elapsed() >= CHECKPOINT_TIME {
            self.sign();
        }
        self.commit();
        self.flush_if_due();
        if self.is_full() {
            self.rotate();
        }
    }

    fn add_event(&mut self, method: &'static str, details: serde_json::Value) {
        let event = AuditEvent::new(method, details);
        self.add(event.write(SystemTime::now(), &self.state.instance));
    }

    /// Gives a line its place in the chain. Every 1,000th line is a checkpoint.
    fn add(&mut self, line: Vec<u8>) {
        self.end_line(line);
        self.unsigned += 1;
        if self.unsigned + 1 >= CHECKPOINT_LINES {
            self.sign();
        }
    }

    fn end_line(&mut self, mut line: Vec<u8>) {
        self.end.end_line(&mut line);
        self.batch.push(line);
    }

    /// Adds a checkpoint, which also goes to the log and to `audit.checkpoints`.
    fn sign(&mut self) {
        let line = self
            .signer
            .checkpoint(&self.end, SystemTime::now(), &self.state.instance);
        self.end_line(line);
        (self.unsigned, self.signed_at) = (0, Instant::now());
    }

    /// Writes the batch, however long it takes: until then the log is failing. A stopping log gives
    /// up after some seconds.
    fn commit(&mut self) {
        if self.lost > 0 {
            self.lost += self.batch.len();
            self.batch.clear();
        }
        if self.batch.is_empty() {
            return;
        }
        let mut bytes = self.batch.concat();
        let mut last_try = None;
        while let Err(error) = self.append(&mut bytes) {
            self.state.fail(&error, &self.settings.file);
            let until = last_try.get_or_insert_with(|| Instant::now() + LAST_TRIES);
            if !self.state.stop.is_cancelled() {
                last_try = None;
                self.pause(RETRY);
            } else if Instant::now() < *until {
                self.runtime.block_on(tokio::time::sleep(RETRY));
            } else {
                self.lost = self.batch.len();
                return self.batch.clear();
            }
        }
        self.state.succeed(self.batch.len(), &self.settings.file);
        self.publish_checkpoints();
        send_copies(&self.tracer, &self.batch);
        self.state.recent.add(self.batch.drain(..));
    }

    /// Writes the bytes that were not written yet, and flushes them if each write is flushed.
    fn append(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if !bytes.is_empty() {
            self.file.append(bytes)?;
            bytes.clear();
        }
        match self.settings.fsync {
            FlushPolicy::Always => self.file.sync(),
            FlushPolicy::Every(time) => {
                self.flush_at.get_or_insert_with(|| Instant::now() + time);
                Ok(())
            }
            FlushPolicy::Never => Ok(()),
        }
    }

    /// Copies the checkpoints of the batch to where they are kept besides the file.
    fn publish_checkpoints(&mut self) {
        for line in &self.batch {
            let Some(checkpoint) = Checkpoint::of_line(line) else {
                continue;
            };
            tracing::info!(
                target: "weir::audit",
                seq = checkpoint.seq,
                hash = checkpoint.hash,
                signature = checkpoint.signature(),
                "checkpoint of the records"
            );
            let Some(file) = &mut self.checkpoints else {
                continue;
            };
            let written = file.write_all(line).and_then(|()| file.sync_data());
            if let Err(error) = written {
                tracing::warn!(%error, "a checkpoint is not written to `audit.checkpoints`");
            }
        }
    }

    fn flush_if_due(&mut self) {
        if self.flush_at.is_some_and(|due| due <= Instant::now()) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        match self.file.sync() {
            Ok(()) => self.flush_at = None,
            Err(error) => {
                tracing::error!(%error, file = %self.settings.file.display(), "records may not survive a loss of power");
                self.flush_at = Some(Instant::now() + CHECKPOINT_TIME);
            }
        }
    }

    /// Returns whether it is time for another file.
    fn is_full(&self) -> bool {
        let rotation = self.settings.rotate;
        let is_large = self.file.length() >= rotation.bytes;
        let age = self.file.begun().elapsed().unwrap_or_default();
        let is_old = rotation.every.is_some_and(|every| age >= every);
        let may = self.rotate_from.is_none_or(|from| from <= Instant::now());
        (is_large || is_old) && may && self.file.length() > 0
    }

    /// Goes on in another file. The full one ends in a checkpoint.
    fn rotate(&mut self) {
        self.sign();
        self.commit();
        self.rotate_from = None;
        let rotated = self
            .file
            .rotate(self.end.seq + 1, self.settings.rotate.keep);
        let Rotated { full, removed } = match rotated {
            Ok(rotated) => rotated,
            Err(error) => {
                self.rotate_from = Some(Instant::now() + ROTATE_AGAIN);
                tracing::error!(%error, file = %self.settings.file.display(), "the record file is not rotated");
                return;
            }
        };
        self.flush_at = None;
        let name = |path: &std::path::Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let removed: Vec<_> = removed.iter().map(|path| name(path)).collect();
        tracing::info!(full = %full.display(), ?removed, "the record file is full: another one begins");
        let details = json!({ "after": name(&full), "removed": removed });
        self.add_event(AuditEvent::ROTATE, details);
        self.commit();
    }

    /// Writes what still comes of calls that end now, and that weir stops.
    fn finish(mut self) {
        self.lines.close();
        let until = Instant::now() + LAST_TRIES;
        let mut came = Vec::new();
        loop {
            let (lines, left) = (
                &mut self.lines,
                until.saturating_duration_since(Instant::now()),
            );
            let received = self.runtime.block_on(async {
                tokio::time::timeout(left, lines.recv_many(&mut came, BATCH)).await
            });
            match received {
                Ok(0) | Err(_) => break,
                Ok(_) => self.write(&mut came),
            }
        }
        let missing = self.state.take_missing();
        if missing > 0 {
            self.add_event(AuditEvent::GAP, json!({ "missing": missing }));
        }
        self.add_event(AuditEvent::STOP, json!({}));
        self.sign();
        self.commit();
        match self.lost {
            0 => self.flush(),
            lost => tracing::error!(
                lost,
                file = %self.settings.file.display(),
                "weir stops with records that could not be written"
            ),
        }
    }
}
