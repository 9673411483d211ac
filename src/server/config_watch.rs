//! Watches the files of the config, so that changes are applied without a request.
//!
//! Their folders are watched, and polled from time to time ([`Folders`]). Events only trigger a look:
//! what counts are the states of the files, because others may write to the same folder all the time.
//! The states have to stay the same for a quiet period, so that several steps count as one change: a
//! file and its backup, a folder that Kubernetes swaps, several files.
//!
//! Nothing says whether a file is complete. Where the system reports open writers, they are waited for.
//! An invalid config is read again before it is refused. A half-written config that happens to be valid
//! is kept out by the quiet period alone.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{self, TextDigest};
use crate::files::{FileStamp, Folders, ResolvedPaths};
use crate::live::reload::{FileState, ReloadHandle};

/// A change is complete when the files have stayed the same for this long: more than an editor or a
/// copy takes between two steps, less than a person who waits for it notices.
const QUIET_PERIOD: Duration = Duration::from_millis(250);
/// The longest wait for that, if the files keep changing or one stays open.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// An invalid config is read again after this time.
const RECHECK: Duration = Duration::from_secs(1);
/// An invalid config is refused if it has stayed the same for this long.
const REFUSE_AFTER: Duration = Duration::from_secs(2);
/// A refused config is tried again after this time: it may become valid through something outside its
/// files, such as a secret that was missing.
const RETRY_REFUSED: Duration = Duration::from_secs(5);

/// The pause after an event, so that constant writes to the folder do not cause constant looks.
const EVENT_PAUSE: Duration = Duration::from_millis(25);

/// Asks the reload task to look at the config whenever its files have changed, until the task is gone.
pub(super) async fn watch(file: PathBuf, reloads: ReloadHandle) {
    let (heard, mut events) = mpsc::channel(1);
    let mut files = WatchedFiles::new(file, heard);
    let mut tried = None;
    let mut pending = PendingError::default();
    loop {
        let Some(observed) = files.look().await else {
            return;
        };
        files = observed;
        if tried.as_ref() != Some(&files.states) {
            let Some(settled) = files.settled().await else {
                return;
            };
            files = settled;
        } else if !pending.is_due() {
            tokio::select! {
                Some(()) = events.recv() => sleep(EVENT_PAUSE).await,
                () = sleep(files.period) => {}
                () = pending.due() => {}
            }
            continue;
        }
        tried = Some(files.states.clone());
        let Some(seen) = reloads.look(pending.whole()).await else {
            return;
        };
        pending.take(seen);
    }
}

/// The watched files of a config.
struct WatchedFiles {
    file: PathBuf,
    folders: Folders,
    states: FileStates,
    /// When to look again without an event.
    period: Duration,
    /// Whether one of the files is still open for writing.
    written: bool,
}

/// The states of the files of a config, without their contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileStates {
    files: Vec<(PathBuf, Option<FileStamp>)>,
    /// Whether the folder of further files exists, and is a folder.
    folder: Option<bool>,
}

impl WatchedFiles {
    fn new(file: PathBuf, heard: mpsc::Sender<()>) -> Self {
        Self {
            // Stays valid if the working folder is moved or replaced.
            file: std::path::absolute(&file).unwrap_or(file),
            folders: Folders::new(heard),
            states: FileStates::default(),
            period: Duration::ZERO,
            written: false,
        }
    }

    /// Updates the states, and watches the folders in which the files are now. Returns `None` only if the
    /// blocking task failed.
    async fn look(mut self) -> Option<Self> {
        let observed = tokio::task::spawn_blocking(move || {
            self.see();
            self
        });
        observed.await.ok()
    }

    fn see(&mut self) {
        let (paths, folder) = config::paths(&self.file);
        let is_folder = || std::fs::metadata(&folder).ok().map(|found| found.is_dir());
        let all = paths.iter().chain([&folder]);
        let mut resolved = ResolvedPaths::of(all.map(PathBuf::as_path));
        if is_folder() == Some(true) {
            resolved.folders.insert(folder.clone());
        }
        self.period = self.folders.follow(resolved.folders);
        let names = paths.iter().chain(&resolved.ends);
        let names = names.filter_map(|path| path.file_name());
        self.written = self.folders.is_written(names);
        let stamped = paths.into_iter().map(|path| {
            let stamp = FileStamp::of(&path);
            (path, stamp)
        });
        self.states = FileStates {
            files: stamped.collect(),
            folder: is_folder(),
        };
    }

    /// Waits until the files have stayed the same for the quiet period.
    async fn settled(self) -> Option<Self> {
        let end = Instant::now() + LONGEST_WAIT;
        let mut files = self;
        loop {
            let before = files.states.clone();
            sleep(QUIET_PERIOD).await;
            files = files.look().await?;
            if files.states == before && !files.written {
                return Some(files);
            }
            if Instant::now() >= end {
                files.folders.forget_written();
                return Some(files);
            }
        }
    }
}

/// An invalid config that may still be incomplete.
#[derive(Debug, Default)]
struct PendingError {
    /// Its digest, and since when it is known.
    text: Option<(TextDigest, Instant)>,
    /// When to read it again.
    again: Option<Instant>,
}

impl PendingError {
    fn take(&mut self, seen: FileState) {
        let now = Instant::now();
        (self.text, self.again) = match (seen, self.text) {
            (FileState::Settled, _) => (None, None),
            (FileState::Wrong { refused: true, .. }, _) => (None, Some(now + RETRY_REFUSED)),
            (FileState::Wrong { text, .. }, Some((known, since))) if text == known => {
                (Some((text, since)), Some(now + RECHECK))
            }
            (FileState::Wrong { text, .. }, _) => (Some((text, now)), Some(now + RECHECK)),
        };
    }

    /// Returns the invalid text that has stayed the same for so long that it counts as complete.
    fn whole(&self) -> Option<TextDigest> {
        let (text, since) = self.text?;
        (since.elapsed() >= REFUSE_AFTER).then_some(text)
    }

    fn is_due(&self) -> bool {
        self.again.is_some_and(|again| Instant::now() >= again)
    }

    async fn due(&self) {
        match self.again {
            Some(again) => sleep_until(again).await,
            None => std::future::pending().await,
        }
    }
}
