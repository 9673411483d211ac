//! The files of the config are watched, so that a change is taken on without being asked for.
//!
//! Their folders are watched, and looked at from time to time ([`Folders`]). Whatever happens there, what counts is what is seen of the
//! files themselves: somebody else may write to the same folder all the time. What is seen has to stay for a quiet time, so that all
//! that makes one change is one change: a file and its backup, a folder that Kubernetes swaps, several files.
//!
//! Nothing says that a text is whole. A file that its writer still has open is waited for, where the system tells; what is
//! wrong is looked at again before it is refused; and half a file that means something is kept out by the quiet time alone.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{self, TextDigest};
use crate::files::{Folders, Stamp, Ways};
use crate::live::reload::{Reloads, Seen};

/// Whoever writes is done when the files have looked the same for so long: more than an editor or a copy takes between two steps,
/// less than somebody who waits for it minds,
const QUIET: Duration = Duration::from_millis(250);
/// and if they never do, or one of them stays open, then after so long.
const RESTLESS: Duration = Duration::from_secs(5);
/// What is wrong is looked at again after so long,
const AGAIN: Duration = Duration::from_secs(1);
/// and refused if it is the same after so long.
const LASTING: Duration = Duration::from_secs(2);
/// What was refused for being wrong may become right by something that is in no file of the config: a secret that was missing.
const MENDED: Duration = Duration::from_secs(5);

/// Where somebody else writes to the same folder all the time, the files are looked at so often.
const BREATH: Duration = Duration::from_millis(25);

/// Asks for a look at the files of a config whenever they have changed, until nobody answers.
pub(super) async fn watch(file: PathBuf, reloads: Reloads) {
    let (heard, mut events) = mpsc::channel(1);
    let mut eye = Eye::new(file, heard);
    let mut tried = None;
    let mut doubt = Doubt::default();
    loop {
        let Some(looked) = eye.look().await else {
            return;
        };
        eye = looked;
        if tried.as_ref() != Some(&eye.sight) {
            let Some(settled) = eye.settled().await else {
                return;
            };
            eye = settled;
        } else if !doubt.is_due() {
            tokio::select! {
                Some(()) = events.recv() => sleep(BREATH).await,
                () = sleep(eye.period) => {}
                () = doubt.due() => {}
            }
            continue;
        }
        tried = Some(eye.sight.clone());
        let Some(seen) = reloads.look(doubt.whole()).await else {
            return;
        };
        doubt.take(seen);
    }
}

/// Who looks at the files of a config.
struct Eye {
    file: PathBuf,
    folders: Folders,
    sight: Sight,
    /// When to look again without being told.
    period: Duration,
    /// Whether somebody still writes one of the files.
    written: bool,
}

/// What is seen of the files of a config without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sight {
    files: Vec<(PathBuf, Option<Stamp>)>,
    /// Whether the folder of the others is there, and is one.
    folder: Option<bool>,
}

impl Eye {
    fn new(file: PathBuf, heard: mpsc::Sender<()>) -> Self {
        Self {
            // Whatever becomes of the folder that weir was started in.
            file: std::path::absolute(&file).unwrap_or(file),
            folders: Folders::new(heard),
            sight: Sight::default(),
            period: Duration::ZERO,
            written: false,
        }
    }

    /// Looks, and follows the files to where they are now. `None` only if that broke.
    async fn look(mut self) -> Option<Self> {
        let looked = tokio::task::spawn_blocking(move || {
            self.see();
            self
        });
        looked.await.ok()
    }

    fn see(&mut self) {
        let (paths, folder) = config::paths(&self.file);
        let is_folder = || std::fs::metadata(&folder).ok().map(|found| found.is_dir());
        let all = paths.iter().chain([&folder]);
        let mut ways = Ways::of(all.map(PathBuf::as_path));
        if is_folder() == Some(true) {
            ways.folders.insert(folder.clone());
        }
        self.period = self.folders.follow(ways.folders);
        let names = paths.iter().chain(&ways.ends);
        let names = names.filter_map(|path| path.file_name());
        self.written = self.folders.is_written(names);
        let stamped = paths.into_iter().map(|path| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        });
        self.sight = Sight {
            files: stamped.collect(),
            folder: is_folder(),
        };
    }

    /// Waits until whoever writes is done.
    async fn settled(self) -> Option<Self> {
        let end = Instant::now() + RESTLESS;
        let mut eye = self;
        loop {
            let before = eye.sight.clone();
            sleep(QUIET).await;
            eye = eye.look().await?;
            if eye.sight == before && !eye.written {
                return Some(eye);
            }
            if Instant::now() >= end {
                eye.folders.forget_written();
                return Some(eye);
            }
        }
    }
}

/// Something in the files that is wrong, and may not be all of it.
#[derive(Debug, Default)]
struct Doubt {
    /// What, and since when it is known.
    text: Option<(TextDigest, Instant)>,
    /// When to look again.
    again: Option<Instant>,
}

impl Doubt {
    fn take(&mut self, seen: Seen) {
        let now = Instant::now();
        (self.text, self.again) = match (seen, self.text) {
            (Seen::Settled, _) => (None, None),
            (Seen::Wrong { refused: true, .. }, _) => (None, Some(now + MENDED)),
            (Seen::Wrong { text, .. }, Some((known, since))) if text == known => {
                (Some((text, since)), Some(now + AGAIN))
            }
            (Seen::Wrong { text, .. }, _) => (Some((text, now)), Some(now + AGAIN)),
        };
    }

    /// What has been wrong for so long that it is taken for whole.
    fn whole(&self) -> Option<TextDigest> {
        let (text, since) = self.text?;
        (since.elapsed() >= LASTING).then_some(text)
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
