//! The log of records: takes lines from all tasks, and gives calls the room for theirs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ring::hmac;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::allowance::Allowance;
use crate::audit::checkpoint::AuditSigner;
use crate::audit::event::AuditEvent;
use crate::audit::file::{AuditFile, AuditFileError, open_file};
use crate::audit::recent::RecentRecords;
use crate::audit::state::LogState;
use crate::audit::writer::Writer;
use crate::config::{AuditFailure, AuditSettings};
use crate::hex;
use crate::telemetry::Tracer;

/// The most lines that wait to be written, those that calls under way have room for among them.
const LINES: usize = 8_192;
/// How long a call waits for room before it is refused.
const ROOM_TIME: Duration = Duration::from_secs(1);
/// How long stopping waits for the writer: somewhat longer than it tries to write.
const STOP_TIME: Duration = Duration::from_secs(8);
/// Events that others can cause as often as they like: one every 100 ms, 100 at once.
const EVENT_COST: Duration = Duration::from_millis(100);
const EVENT_BURST: Duration = Duration::from_secs(10);

/// The keys of a log.
#[derive(Debug)]
pub struct AuditKeys {
    /// The secret of keyed hashes.
    pub hash: Vec<u8>,
    /// Signs checkpoints.
    pub signer: AuditSigner,
}

/// The log of records of one weir.
pub struct AuditLog {
    settings: AuditSettings,
    lines: mpsc::Sender<Vec<u8>>,
    state: Arc<LogState>,
    hash_key: hmac::Key,
    /// Bounds the lines that anybody who can connect can cause, with those left out.
    bounded_events: Mutex<(Allowance, u64)>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Room for the line of one call. The line of a call without room may be left out.
#[derive(Debug)]
pub struct AuditPlace(Option<OwnedPermit<Vec<u8>>>);

/// A call may not be sent, because its record could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRecorded;

/// The state of a log, for operators.
#[derive(Clone, Debug, Serialize)]
pub struct AuditStatus {
    /// The file being written.
    pub file: PathBuf,
    /// Whether lines cannot be written at the moment.
    pub failing: bool,
    /// Why they cannot.
    pub error: Option<String>,
    /// Lines written since weir started.
    pub written: u64,
    /// Lines that were left out since then.
    pub missing: u64,
    /// Lines that wait, with the room that calls under way have taken.
    pub waiting: usize,
}

impl AuditLog {
    /// Opens the file and starts to write. `tracer` gets copies of lines, where the config wants
    /// that. Call it within a runtime.
    ///
    /// # Errors
    /// A file cannot be opened, is another weir's, or is something else.
    pub fn start(
        settings: &AuditSettings,
        keys: AuditKeys,
        instance: &str,
        tracer: &Arc<Tracer>,
    ) -> Result<Arc<Self>, AuditFileError> {
        let (file, end, resumed) = AuditFile::open(&settings.file)?;
        let checkpoints = settings.checkpoints.as_deref().map(|path| {
            open_file(path).map_err(|source| {
                let path = path.to_owned();
                AuditFileError::Io { path, source }
            })
        });
        let checkpoints = checkpoints.transpose()?;
        let (lines, received) = mpsc::channel(LINES);
        let state = Arc::new(LogState::new(instance));
        let runtime = Handle::current();
        let writer = Writer {
            settings: settings.clone(),
            file,
            end,
            signer: keys.signer,
            state: Arc::clone(&state),
            tracer: Arc::clone(tracer),
            lines: received,
            checkpoints,
            runtime: runtime.clone(),
            batch: Vec::new(),
            unsigned: 0,
            signed_at: Instant::now(),
            flush_at: None,
            rotate_from: None,
            lost: 0,
        };
        let writing = runtime.spawn_blocking(move || writer.run(&resumed));
        Ok(Arc::new(Self {
            settings: settings.clone(),
            lines,
            state,
            hash_key: hmac::Key::new(hmac::HMAC_SHA256, &keys.hash),
            bounded_events: Mutex::new((Allowance::new(EVENT_BURST), 0)),
            writer: Mutex::new(Some(writing)),
        }))
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &AuditSettings {
        &self.settings
    }

    /// Returns the weir that writes.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.state.instance
    }

    /// Returns the last lines.
    #[must_use]
    pub fn recent(&self) -> &RecentRecords {
        &self.state.recent
    }

    /// Returns the keyed hash of a text: `hmac-sha256:` and 64 hexadecimal digits (RFC 2104). Without
    /// the key nobody can guess a text of few possible ones.
    #[must_use]
    pub fn hash(&self, text: &str) -> String {
        let tag = hmac::sign(&self.hash_key, text.as_bytes());
        let mut hash = String::with_capacity(12 + 64);
        hash.push_str("hmac-sha256:");
        hex::push(&mut hash, tag.as_ref());
        hash
    }

    /// Takes room for the line of a call that is about to be sent.
    ///
    /// # Errors
    /// With `on_failure: refuse`: lines cannot be written, or so many wait that there is no room
    /// within a second.
    pub async fn admit(&self) -> Result<AuditPlace, NotRecorded> {
        if self.settings.on_failure == AuditFailure::Drop {
            return Ok(AuditPlace(None));
        }
        if self.is_failing() {
            return Err(NotRecorded);
        }
        let lines = match self.lines.clone().try_reserve_owned() {
            Ok(place) => return Ok(AuditPlace(Some(place))),
            Err(TrySendError::Full(lines)) => lines,
            Err(TrySendError::Closed(_)) => return Err(NotRecorded),
        };
        match tokio::time::timeout(ROOM_TIME, lines.reserve_owned()).await {
            Ok(Ok(place)) if !self.is_failing() => Ok(AuditPlace(Some(place))),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(NotRecorded),
        }
    }

    /// Takes the line of a request, in its room if it has one.
    pub fn write(&self, line: Vec<u8>, place: Option<AuditPlace>) {
        if let Some(AuditPlace(Some(place))) = place {
            place.send(line);
            return;
        }
        if self.lines.try_send(line).is_err() {
            self.state.leave_out();
        }
    }

    /// Takes an event of weir itself.
    pub fn write_event(&self, event: &AuditEvent<'_>) {
        self.write(event.write(SystemTime::now(), self.instance()), None);
    }

    /// Takes an event that others can cause, unless there were many of late: then it is counted, and
    /// the next one says how many there were.
    pub fn write_bounded_event(&self, mut event: AuditEvent<'_>) {
        let left_out = {
            let mut bounded = self.bounded_events.lock();
            let (allowance, left_out) = &mut *bounded;
            let now = Instant::now();
            if !allowance.debt(now).is_zero() {
                *left_out += 1;
                return;
            }
            allowance.spend(EVENT_COST, now);
            std::mem::take(left_out)
        };
        if let (1.., Some(details)) = (left_out, event.details.as_object_mut()) {
            details.insert("left_out_before".to_owned(), left_out.into());
        }
        self.write_event(&event);
    }

    /// Returns whether lines cannot be written at the moment.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state.is_failing()
    }

    /// Returns whether calls are refused at the moment.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.is_failing() && self.settings.on_failure == AuditFailure::Refuse
    }

    /// Returns the state for operators.
    #[must_use]
    pub fn status(&self) -> AuditStatus {
        AuditStatus {
            file: self.settings.file.clone(),
            failing: self.is_failing(),
            error: self.state.error(),
            written: self.state.written(),
            missing: self.state.missing(),
            waiting: LINES - self.lines.capacity(),
        }
    }

    /// Writes what is left and ends the file: once all requests are over.
    pub async fn stop(&self) {
        self.state.stop.cancel();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && tokio::time::timeout(STOP_TIME, writer).await.is_err()
        {
            tracing::error!(
                waiting = LINES - self.lines.capacity(),
                "the record file takes too long: what waits to be written is lost"
            );
        }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
