//! Folders that are watched, and what is seen of a file without reading it.

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

/// How often files are looked at where their folders are watched.
const SELDOM: Duration = Duration::from_secs(5);
/// How often they are looked at where something cannot be watched.
const OFTEN: Duration = Duration::from_millis(500);
/// Most symbolic links on the way to one file, as for the system itself.
const LINKS: usize = 40;
/// Most files of which it is remembered that somebody writes them.
const WRITTEN: usize = 256;

/// What tells a file from another one, and from itself written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    place: (u64, u64),
    modified: Option<SystemTime>,
    /// Also moves where whoever writes sets the time of modification back.
    changed: (i64, i64),
    bytes: u64,
}

impl FileStamp {
    /// That of the file that a path leads to; `None` where there is none, or it cannot be seen.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            place: (metadata.dev(), metadata.ino()),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.len(),
        })
    }
}

/// A folder, whatever its name: where it is, and when it was made, where the system knows. The place of a folder
/// that was removed may be given to the next one.
type FolderIdentity = (u64, u64, Option<SystemTime>);

fn folder_identity(path: &Path) -> std::io::Result<FolderIdentity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Where paths lead.
#[derive(Clone, Debug, Default)]
pub struct ResolvedPaths {
    /// The folders in which that is settled: those of the names, and that of each symbolic link on the way.
    pub folders: BTreeSet<PathBuf>,
    /// What is at the ends, in the order of the paths.
    pub ends: Vec<PathBuf>,
}

impl ResolvedPaths {
    /// Those of these paths, as they are now.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let (mut ways, mut plain) = (Self::default(), HashSet::new());
        for path in paths {
            ways.follow(path, &mut plain);
        }
        ways
    }

    /// `plain` are paths that have no link in them: most of many files are in one folder.
    fn follow(&mut self, path: &Path, plain: &mut HashSet<PathBuf>) {
        let mut way = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        for _ in 0..LINKS {
            self.folders.extend(way.parent().map(Path::to_owned));
            let Some((link, target)) = last_link(&way, plain) else {
                plain.extend(way.parent().map(Path::to_owned));
                break;
            };
            let folder = link.parent().unwrap_or(link);
            let mut next = folder.join(target);
            if let Some(rest) = way.strip_prefix(link).ok().filter(|rest| *rest != "") {
                next.push(rest);
            }
            self.folders.insert(folder.to_owned());
            way = next;
        }
        self.ends.push(way);
    }
}

/// The last part of a path that is a symbolic link, and what it says.
fn last_link<'p>(path: &'p Path, plain: &HashSet<PathBuf>) -> Option<(&'p Path, PathBuf)> {
    let parts = path.ancestors().take_while(|part| !plain.contains(*part));
    let mut links = parts.filter_map(|part| Some((part, std::fs::read_link(part).ok()?)));
    links.next()
}

/// The folders that are watched. They may go, come back and lead elsewhere.
pub struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: HashMap<FolderIdentity, PathBuf>,
    written: OpenFiles,
    /// Whether it was said that something cannot be watched.
    warned: bool,
}

impl Folders {
    /// None yet. `heard` gets a word when something may have changed in one of them: a channel of one place is enough.
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
                // One word that waits is enough.
                let _ = heard.try_send(());
            }
        });
        let watcher = watcher.inspect_err(
            |error| tracing::warn!(%error, "files cannot be watched, so they are looked at"),
        );
        Self {
            warned: watcher.is_err(),
            watcher: watcher.ok(),
            watched: HashMap::new(),
            written,
        }
    }

    /// Watches these folders, as they are now, and no others. Says when to look without being warned: at once where one is watched
    /// only now, because there is no word of what happened before.
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
                tracing::warn!(%folder, %error, "a folder cannot be watched, so it is looked at");
            }
        }
        self.warned = failed.is_some();
        if anew { Duration::ZERO } else { period }
    }

    /// Whether somebody has begun to write one of these files and has not closed it yet, as far as the system says.
    #[must_use]
    pub fn is_written<'a>(&self, names: impl IntoIterator<Item = &'a OsStr>) -> bool {
        let written = self.written.names();
        names.into_iter().any(|name| written.contains(name))
    }

    /// Takes all files for closed.
    pub fn forget_written(&self) {
        self.written.names().clear();
    }
}

/// Whether something may be another thing than before: reading is none.
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

/// The names of files that are being written. Only Linux tells when one is closed; elsewhere there are none.
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
            } else if names.len() < WRITTEN {
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
            let ways = ResolvedPaths::of(paths.iter().map(PathBuf::as_path));
            let folders: BTreeSet<_> = ways.folders.iter().map(real).collect();
            assert_eq!(folders, ["etc", "data", "data/v1"].map(at).into());
            assert_eq!(ways.ends.len(), paths.len());
            let is_end = |end: &PathBuf| end.ends_with("real.yaml") && end.is_file();
            assert!(ways.ends.iter().all(is_end), "{ways:?}");
        }
        // One that leads to itself has an end.
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
