//! Files that may be replaced while weir runs: secrets and certificates.
//!
//! Weir watches their folders, because a file is replaced by moving another file, or a whole
//! folder, into its place (Kubernetes swaps a symbolic link). Where the system cannot watch, or
//! does not report a change (NFS), weir polls. A file that is missing, empty, too long or not text
//! changes nothing: its last good content stays in use.

mod folders;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use folders::{FileStamp, Folders, ResolvedPaths};

use crate::json;
use crate::latest::Latest;
use crate::secret::Secret;

/// A writer is taken to be done when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(20);
/// The most that weir waits for such a pause.
const RESTLESS: Duration = Duration::from_millis(200);
/// The most that weir waits for a writer that still has a file open.
const OPEN: Duration = Duration::from_millis(600);

/// Why a file cannot be used. Never contains the file's content.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("file `{}` cannot be read: {}", .path.display(), io_reason(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// It holds nothing.
    #[error("file `{}` is empty", .0.display())]
    Empty(PathBuf),
    /// It is longer than it may be.
    #[error("file `{}` is larger than {} KiB", path.display(), limit / 1024)]
    Large {
        /// The file.
        path: PathBuf,
        /// How many bytes it may have.
        limit: u64,
    },
}

/// Describes the system's error in a few words.
#[must_use]
pub fn io_reason(error: &std::io::Error) -> String {
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if kind == ErrorKind::InvalidData {
        "it is not UTF-8 text".to_owned()
    } else {
        kind.to_string()
    }
}

/// Reads a text file of at most `limit` bytes, without a byte order mark before it and without one
/// line break at its end.
///
/// # Errors
/// It cannot be read, is empty, or too long.
pub fn read(path: &Path, limit: u64) -> Result<Secret, FileError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    let path = path.to_owned();
    if let Err(source) = read {
        return Err(FileError::Io { path, source });
    }
    if text.len() as u64 > limit {
        return Err(FileError::Large { path, limit });
    }
    let text = json::without_bom(&text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(FileError::Empty(path));
    }
    Ok(Secret::new(text))
}

/// All files of this weir that may be replaced.
#[derive(Debug, Default)]
pub struct Files {
    /// A file is watched for as long as a [`FileCell`] of it exists.
    watched: Mutex<HashMap<PathBuf, Weak<WatchedFile>>>,
    opened: Notify,
}

/// Content of a file when it could last be read.
#[derive(Clone, Debug)]
pub struct FileCell(Arc<WatchedFile>);

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    limit: u64,
    now: Latest<Secret>,
    version: AtomicU64,
    changed: Notify,
    last: Mutex<LastLook>,
}

/// Result of the last look at a file.
#[derive(Debug)]
struct LastLook {
    stamp: Option<FileStamp>,
    at: Instant,
    /// Whether a warning was logged that the file cannot be used.
    warned: bool,
}

impl Files {
    /// Reads a file now. It is watched from then on while [`Files::watch`] runs.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(&self, path: &Path, limit: u64) -> Result<FileCell, FileError> {
        let mut watched = self.watched.lock();
        if let Some(known) = watched.get(path).and_then(Weak::upgrade) {
            return Ok(FileCell(known));
        }
        let stamp = FileStamp::of(path);
        let opened = Arc::new(WatchedFile {
            path: path.to_owned(),
            limit,
            now: Latest::new(read(path, limit)?),
            version: AtomicU64::new(1),
            changed: Notify::new(),
            last: Mutex::new(LastLook {
                stamp,
                at: Instant::now(),
                warned: false,
            }),
        });
        watched.insert(path.to_owned(), Arc::downgrade(&opened));
        drop(watched);
        self.opened.notify_one();
        Ok(FileCell(opened))
    }

    fn all(&self) -> Vec<Arc<WatchedFile>> {
        let mut watched = self.watched.lock();
        watched.retain(|_, file| file.strong_count() > 0);
        watched.values().filter_map(Weak::upgrade).collect()
    }

    /// Keeps all files up to date until `shutdown`.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let (heard, mut events) = mpsc::channel(1);
        let mut folders = None;
        loop {
            let files = self.all();
            // A weir without files needs no watcher.
            let period = match files.is_empty() {
                true => {
                    folders = None;
                    None
                }
                false => {
                    let folders = folders.get_or_insert_with(|| Folders::new(heard.clone()));
                    let resolved = ResolvedPaths::of(files.iter().map(|file| file.path.as_path()));
                    Some(folders.follow(resolved.folders))
                }
            };
            let looking = async {
                match period {
                    Some(period) => tokio::time::sleep(period).await,
                    None => std::future::pending().await,
                }
            };
            let unread = tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.opened.notified() => false,
                Some(()) = events.recv() => true,
                () = looking => false,
            };
            let written = async {
                if unread {
                    settled(&mut events).await;
                }
                if let Some(folders) = &folders {
                    closed(folders, &files).await;
                }
            };
            shutdown.run_until_cancelled(written).await;
            let looked = tokio::task::spawn_blocking(move || {
                for file in files {
                    file.look(unread);
                }
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looked => {}
            }
        }
    }
}

/// Waits until the writer seems to be done.
async fn settled(events: &mut mpsc::Receiver<()>) {
    let end = Instant::now() + RESTLESS;
    while Instant::now() < end {
        if timeout(QUIET, events.recv()).await.is_err() {
            return;
        }
    }
}

/// Waits until no file is open for writing.
async fn closed(folders: &Folders, files: &[Arc<WatchedFile>]) {
    let end = Instant::now() + OPEN;
    while folders.is_written(files.iter().filter_map(|file| file.path.file_name())) {
        if Instant::now() >= end {
            folders.forget_written();
            return;
        }
        tokio::time::sleep(QUIET).await;
    }
}

impl FileCell {
    /// Returns the content.
    #[must_use]
    pub fn now(&self) -> Secret {
        self.0.now.get().as_ref().clone()
    }

    /// Returns a number that grows with each change of the content.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Waits until the content is another one than that of a version, and returns its version.
    pub async fn changed(&self, seen: u64) -> u64 {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let version = self.version();
            if version != seen {
                return version;
            }
            changed.await;
        }
    }

    /// Looks at the file now, unless the last look is less than `old` ago.
    pub async fn look(&self, old: Duration) {
        if let Some(looking) = self.looking(old) {
            let _ = looking.await;
        }
    }

    /// Does the same in the background.
    pub fn look_soon(&self, old: Duration) {
        drop(self.looking(old));
    }

    fn looking(&self, old: Duration) -> Option<tokio::task::JoinHandle<()>> {
        let file = Arc::clone(&self.0);
        let at = file.last.lock().at;
        (at.elapsed() >= old).then(|| tokio::task::spawn_blocking(move || file.look(true)))
    }
}

impl WatchedFile {
    /// Reads the file if it changed since the last look, or in any case with `anyway`.
    fn look(&self, anyway: bool) {
        let mut last = self.last.lock();
        last.at = Instant::now();
        let stamp = FileStamp::of(&self.path);
        if !anyway && stamp == last.stamp && !last.warned {
            return;
        }
        match read(&self.path, self.limit) {
            Ok(text) => {
                last.stamp = stamp;
                last.warned = false;
                if text != *self.now.get() {
                    self.now.set(text);
                    self.version.fetch_add(1, Ordering::Release);
                    self.changed.notify_waiters();
                    tracing::info!(file = %self.path.display(), "a file was replaced and is in use");
                }
            }
            Err(error) if !last.warned => {
                last.warned = true;
                tracing::warn!(%error, "what the file held stays in use");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMIT: u64 = 64;

    /// Files that are watched until the test ends.
    struct Rig {
        folder: tempfile::TempDir,
        files: Arc<Files>,
        _shutdown: tokio_util::sync::DropGuard,
    }

    impl Rig {
        fn new() -> Self {
            let (files, shutdown) = (Arc::new(Files::default()), CancellationToken::new());
            #[allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
            tokio::spawn(Arc::clone(&files).watch(shutdown.clone()));
            Self {
                folder: tempfile::tempdir().unwrap(),
                files,
                _shutdown: shutdown.drop_guard(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn open(&self, name: &str) -> FileCell {
            self.files.open(&self.path(name), LIMIT).unwrap()
        }
    }

    async fn becomes(cell: &FileCell, text: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        while cell.now().expose() != text {
            assert!(
                Instant::now() < until,
                "it is still {}",
                cell.now().expose()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn what_nobody_uses_any_more_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let (files, path) = (Files::default(), folder.path().join("token"));
        fs::write(&path, "one").unwrap();
        let cell = files.open(&path, LIMIT).unwrap();
        let same = files.open(&path, LIMIT).unwrap();
        drop(cell);
        assert_eq!(files.all().len(), 1);
        drop(same);
        assert!(files.all().is_empty());
        // A file that is opened again is read again.
        fs::write(&path, "").unwrap();
        assert!(files.open(&path, LIMIT).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_written_anew_is_in_use_within_a_second() {
        let rig = Rig::new();
        rig.write("a", "one\n");
        let cell = rig.open("a");
        assert_eq!((cell.now().expose(), cell.version()), ("one", 1));
        // Slower than this only where nothing watches: then `SELDOM` makes it longer than a second.
        for number in 0..5 {
            let text = format!("number {number}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            let start = Instant::now();
            rig.write("a", &text);
            becomes(&cell, &text).await;
            assert!(start.elapsed() < Duration::from_secs(1));
            assert_eq!(cell.version(), number + 2);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_moved_into_place_is_in_use() {
        let rig = Rig::new();
        rig.write("a", "one");
        let cell = rig.open("a");
        rig.write("b", "two");
        fs::rename(rig.path("b"), rig.path("a")).unwrap();
        becomes(&cell, "two").await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_is_not_read_before_its_writer_closes_it() {
        use std::io::Write as _;
        let rig = Rig::new();
        rig.write("a", "one");
        let cell = rig.open("a");
        tokio::time::sleep(RESTLESS).await;
        let mut file = File::create(rig.path("a")).unwrap();
        file.write_all(b"half").unwrap();
        tokio::time::sleep(RESTLESS * 2).await;
        assert_eq!(cell.now().expose(), "one");
        file.write_all(b" and half").unwrap();
        drop(file);
        becomes(&cell, "half and half").await;
        assert_eq!(cell.version(), 2);
        // A writer that never closes it does not delay the change for ever.
        let mut file = File::create(rig.path("a")).unwrap();
        file.write_all(b"two").unwrap();
        becomes(&cell, "two").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_kubernetes_swaps_is_followed() {
        let rig = Rig::new();
        for (folder, text) in [("..1", "one"), ("..2", "two"), ("..3", "three")] {
            fs::create_dir(rig.path(folder)).unwrap();
            rig.write(&format!("{folder}/token"), text);
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, rig.path(name)).unwrap();
        link("..1", "..data");
        link("..data/token", "token");
        let cell = rig.open("token");
        for (folder, text) in [("..2", "two"), ("..3", "three")] {
            link(folder, "..next");
            fs::rename(rig.path("..next"), rig.path("..data")).unwrap();
            becomes(&cell, text).await;
        }
        rig.write("..3/token", "four");
        becomes(&cell, "four").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_used_changes_nothing() {
        let rig = Rig::new();
        rig.write("a", "one");
        let cell = rig.open("a");
        let look = async || cell.look(Duration::ZERO).await;
        rig.write("a", "");
        look().await;
        rig.write("a", &"x".repeat(65));
        look().await;
        fs::write(rig.path("a"), [0xff, 0xfe]).unwrap();
        look().await;
        fs::remove_file(rig.path("a")).unwrap();
        look().await;
        assert_eq!((cell.now().expose(), cell.version()), ("one", 1));
        rig.write("a", "two");
        becomes(&cell, "two").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_is_made_anew_is_watched_again() {
        let rig = Rig::new();
        fs::create_dir(rig.path("d")).unwrap();
        rig.write("d/a", "one");
        let cell = rig.open("d/a");
        fs::rename(rig.path("d"), rig.path("old")).unwrap();
        fs::create_dir(rig.path("d")).unwrap();
        rig.write("d/a", "two");
        becomes(&cell, "two").await;
        rig.write("d/a", "three");
        becomes(&cell, "three").await;
    }

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (written, text) in [("x\r\n", "x"), ("x\n\n", "x\n"), ("x", "x")] {
            fs::write(&path, written).unwrap();
            assert_eq!(read(&path, LIMIT).unwrap().expose(), text);
        }
    }
}
