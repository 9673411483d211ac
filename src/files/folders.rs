//! Watches folders, and tells files apart without reading them.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How often files are polled whose folders are watched.
const SELDOM: Duration = Duration::from_secs(5);
/// How often files are polled if a folder cannot be watched.
const OFTEN: Duration = Duration::from_millis(500);
/// Most symbolic links that are followed for one path: the system's own limit.
const LINKS: usize = 40;
/// Most files that are remembered as open for writing.
const OPEN_FILES: usize = 256;

/// Metadata by which a changed or replaced file is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    inode: (u64, u64),
    modified: Option<SystemTime>,
    /// The system sets this time itself: it moves even if the writer sets `modified` back.
    changed: (i64, i64),
    bytes: u64,
}

impl FileStamp {
    /// Reads the metadata of the file at a path. Returns `None` if it cannot be read.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: (metadata.dev(), metadata.ino()),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.len(),
        })
    }
}

/// Identity of a folder, whatever its name: device, inode, and time of creation if the system knows
/// it, because the inode of a removed folder may be used again.
type FolderIdentity = (u64, u64, Option<SystemTime>);

fn folder_identity(path: &Path) -> std::io::Result<FolderIdentity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Paths with all their symbolic links followed.
#[derive(Clone, Debug, Default)]
pub struct ResolvedPaths {
    /// The folders whose entries decide where the paths lead: the folder of each path and of each
    /// symbolic link that was followed.
    pub folders: BTreeSet<PathBuf>,
    /// The paths without links, in the order of the given ones.
    pub ends: Vec<PathBuf>,
}

impl ResolvedPaths {
    /// Follows the links of these paths, as they are now.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let (mut resolved, mut plain) = (Self::default(), HashSet::new());
        for path in paths {
            resolved.follow(path, &mut plain);
        }
        resolved
    }

    /// Follows one path. `plain` are folders whose paths have no link: many files share one.
    fn follow(&mut self, path: &Path, plain: &mut HashSet<PathBuf>) {
        let mut current = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        for _ in 0..LINKS {
            self.folders.extend(current.parent().map(Path::to_owned));
            let Some((link, target)) = last_link(&current, plain) else {
                plain.extend(current.parent().map(Path::to_owned));
                break;
            };
            let folder = link.parent().unwrap_or(link);
            let mut next = folder.join(target);
            if let Some(rest) = current.strip_prefix(link).ok().filter(|rest| *rest != "") {
                next.push(rest);
            }
            self.folders.insert(folder.to_owned());
            current = next;
        }
        self.ends.push(current);
    }
}

/// Returns the last part of a path that is a symbolic link, and the link's target.
fn last_link<'p>(path: &'p Path, plain: &HashSet<PathBuf>) -> Option<(&'p Path, PathBuf)> {
    let parts = path.ancestors().take_while(|part| !plain.contains(*part));
    let mut links = parts.filter_map(|part| Some((part, std::fs::read_link(part).ok()?)));
    links.next()
}

/// Folders that are watched. They may be removed, created again, and linked elsewhere.
pub struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: HashMap<FolderIdentity, PathBuf>,
    written: OpenFiles,
    /// Whether a warning was logged that something cannot be watched.
    warned: bool,
}

impl Folders {
    /// Begins without folders. `heard` gets a message when something may have changed in one of
    /// them; a channel with room for one is enough.
    #[must_use]
    pub fn new(heard: mpsc::Sender<()>) -> Self {
        let written = OpenFiles::default();
        let noted = written.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let news = event.map_or(true, |event| {
                noted.note(&event);
                is_news(event.kind)
            });
            if news {
                // If the channel is full, the receiver will look anyway.
                let _ = heard.try_send(());
            }
        });
        let watcher = watcher.inspect_err(
            |error| tracing::warn!(%error, "files cannot be watched, so they are polled"),
        );
        Self {
            warned: watcher.is_err(),
            watcher: watcher.ok(),
            watched: HashMap::new(),
            written,
        }
    }

    /// Watches exactly these folders. Returns after what time to look at the files without a
    /// message: at once if a folder is newly watched, because earlier changes were not reported.
    pub fn follow(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> Duration {
        let Some(watcher) = &mut self.watcher else {
            return OFTEN;
        };
        let mut wanted = HashMap::new();
        let mut period = SELDOM;
        for path in paths {
            match folder_identity(&path) {
                Ok(folder) => drop(wanted.insert(folder, path)),
                Err(_) => period = OFTEN,
            }
        }
        self.watched.retain(|folder, path| {
            let stays = wanted.contains_key(folder);
            if !stays {
                let _ = watcher.unwatch(path);
            }
            stays
        });
        let (mut failed, mut anew) = (None, false);
        for (folder, path) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder, path);
                    anew = true;
                }
                Err(error) => failed = Some((path, error)),
            }
        }
        if let Some((folder, error)) = &failed {
            period = OFTEN;
            if !self.warned {
                let folder = folder.display();
                tracing::warn!(%folder, %error, "a folder cannot be watched, so it is polled");
            }
        }
        self.warned = failed.is_some();
        if anew { Duration::ZERO } else { period }
    }

    /// Returns whether one of these files is open for writing, as far as the system reports it.
    #[must_use]
    pub fn is_written<'a>(&self, names: impl IntoIterator<Item = &'a OsStr>) -> bool {
        let written = self.written.names();
        names.into_iter().any(|name| written.contains(name))
    }

    /// Assumes that all files are closed.
    pub fn forget_written(&self) {
        self.written.names().clear();
    }
}

/// Returns whether an event may be a change: reading a file is none.
fn is_news(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// Names of files that are open for writing. Only Linux reports when one is closed; elsewhere this
/// is empty.
#[derive(Clone, Default)]
struct OpenFiles(Arc<Mutex<HashSet<OsString>>>);

impl OpenFiles {
    fn names(&self) -> MutexGuard<'_, HashSet<OsString>> {
        self.0.lock()
    }

    fn note(&self, event: &Event) {
        if cfg!(not(target_os = "linux")) {
            return;
        }
        let begun = match event.kind {
            EventKind::Modify(ModifyKind::Data(_)) => true,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => false,
            EventKind::Any | EventKind::Access(_) | EventKind::Modify(_) | EventKind::Other => {
                return;
            }
        };
        let mut names = self.names();
        for name in event.paths.iter().filter_map(|path| path.file_name()) {
            if !begun {
                names.remove(name);
            } else if names.len() < OPEN_FILES {
                names.insert(name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_has_its_folder() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let at = |name: &str| home.join(name);
        for folder in ["etc", "data", "data/v1"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("data/v1/real.yaml"), "").unwrap();
        symlink("../data/current", at("etc/weir")).unwrap();
        symlink("v1", at("data/current")).unwrap();
        symlink("real.yaml", at("data/v1/weir.yaml")).unwrap();
        let real = |path: &PathBuf| path.canonicalize().unwrap();
        let paths = ["weir.yaml", "real.yaml", "weir.yaml"].map(|name| at("etc/weir").join(name));
        for paths in [&paths[..1], &paths] {
            let resolved = ResolvedPaths::of(paths.iter().map(PathBuf::as_path));
            let folders: BTreeSet<_> = resolved.folders.iter().map(real).collect();
            assert_eq!(folders, ["etc", "data", "data/v1"].map(at).into());
            assert_eq!(resolved.ends.len(), paths.len());
            let is_end = |end: &PathBuf| end.ends_with("real.yaml") && end.is_file();
            assert!(resolved.ends.iter().all(is_end), "{resolved:?}");
        }
        // A link to itself does not go on for ever.
        symlink("loop", at("loop")).unwrap();
        assert!(ResolvedPaths::of([&*at("loop/a")]).folders.contains(&home));
    }

    #[tokio::test]
    async fn a_file_is_written_until_it_is_closed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a");
        fs::write(&path, "before").unwrap();
        let (heard, mut events) = mpsc::channel(1);
        let mut folders = Folders::new(heard);
        for period in [Duration::ZERO, SELDOM] {
            assert_eq!(folders.follow([home.path().to_owned()]), period);
        }
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        let written = || folders.is_written([OsStr::new("a")]);
        while !written() {
            events.recv().await.unwrap();
        }
        drop(file);
        while written() {
            events.recv().await.unwrap();
        }
    }

    #[test]
    fn a_time_that_is_set_back_does_not_hide_a_change() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a");
        fs::write(&path, "one").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let before = FileStamp::of(&path);
        // The clock of a file system moves in steps.
        while FileStamp::of(&path) == before {
            fs::write(&path, "two").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
    }
}
