//! The files of the config are watched, so that a change is taken on without being asked for.
//!
//! Their folders are watched, and observed at from time to time ([`Folders`]). Whatever happens there, what counts is what is seen of the
//! files themselves: somebody else may write to the same folder all the time. What is seen has to stay for a quiet time, so that all
//! that makes one change is one change: a file and its backup, a folder that Kubernetes swaps, several files.
//!
//! Nothing says that a text is whole. A file that its writer still has open is waited for, where the system tells; what is
//! wrong is observed at again before it is refused; and half a file that means something is kept out by the quiet time alone.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{self, TextDigest};
use crate::files::{FileStamp, Folders, ResolvedPaths};
use crate::live::reload::{FileState, ReloadHandle};

/// Whoever writes is done when the files have observed the same for so long: more than an editor or a copy takes between two steps,
/// less than somebody who waits for it minds,
const QUIET_PERIOD: Duration = Duration::from_millis(250);
/// and if they never do, or one of them stays open, then after so long.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What is wrong is observed at again after so long,
const RECHECK: Duration = Duration::from_secs(1);
/// and refused if it is the same after so long.
const REFUSE_AFTER: Duration = Duration::from_secs(2);
/// What was refused for being wrong may become right by something that is in no file of the config: a secret that was missing.
const RETRY_REFUSED: Duration = Duration::from_secs(5);

/// Where somebody else writes to the same folder all the time, the files are observed at so often.
const EVENT_PAUSE: Duration = Duration::from_millis(25);

/// Asks for a look at the files of a config whenever they have changed, until nobody answers.
pub(super) async fn watch(file: PathBuf, reloads: ReloadHandle) {
    let (heard, mut events) = mpsc::channel(1);
    let mut files = ConfigFiles::new(file, heard);
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

/// Who looks at the files of a config.
struct ConfigFiles {
    file: PathBuf,
    folders: Folders,
    states: FileStates,
    /// When to look again without being told.
    period: Duration,
    /// Whether somebody still writes one of the files.
    written: bool,
}

/// What is seen of the files of a config without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileStates {
    files: Vec<(PathBuf, Option<FileStamp>)>,
    /// Whether the folder of the others is there, and is one.
    folder: Option<bool>,
}

impl ConfigFiles {
    fn new(file: PathBuf, heard: mpsc::Sender<()>) -> Self {
        Self {
            // Whatever becomes of the folder that weir was started in.
            file: std::path::absolute(&file).unwrap_or(file),
            folders: Folders::new(heard),
            states: FileStates::default(),
            period: Duration::ZERO,
            written: false,
        }
    }

    /// Looks, and follows the files to where they are now. `None` only if that broke.
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

    /// Waits until whoever writes is done.
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

/// Something in the files that is wrong, and may not be all of it.
#[derive(Debug, Default)]
struct PendingError {
    /// What, and since when it is known.
    text: Option<(TextDigest, Instant)>,
    /// When to look again.
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

    /// What has been wrong for so long that it is taken for whole.
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
