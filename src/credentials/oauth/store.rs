//! What `weir login` keeps: a file for each upstream and issuer in the state folder, for its owner's eyes only.
//!
//! Every write is to a file beside its place, synced and then moved there, so that a crash leaves the old file or the new
//! one. Who replaces a refresh token holds the file's lock from reading it to writing the next, because two
//! processes that use up one token lose both (RFC 9700 §4.14.2).

mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use url::Url;

pub use record::{ClientRecord, Method, Parties, Record, Tokens};

/// Most bytes of a file; tokens of some servers have several KiB.
const BYTES: u64 = 256 * 1024;
/// Most files that are looked at.
const FILES: usize = 10_000;
/// How often a lock that another process holds is tried.
const EVERY: Duration = Duration::from_millis(25);

/// Why nothing can be kept, or what is kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder that cannot be used.
    #[error("cannot use {}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is in a later format than this weir knows.
    #[error("{} was written by a later version of weir", path.display())]
    Later {
        /// Which.
        path: PathBuf,
    },
    /// Another process held the lock all the time.
    #[error("another process does not let go of {}", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Unusable {
        path: path.to_owned(),
        source,
    }
}

/// The folder of grants.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// The one who may replace a grant, among all processes that use the folder.
#[derive(Debug)]
pub struct Lock {
    /// Locked as long as it is open.
    _file: File,
    place: PathBuf,
}

/// A file beside the place of a grant: there is room for it, and it may be written.
#[derive(Debug)]
pub struct Draft<'l> {
    file: File,
    path: PathBuf,
    lock: &'l Lock,
}

impl Store {
    /// The store in a state folder. Makes nothing yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join("oauth"),
        }
    }

    /// Another number whenever a grant of an upstream was stored; 0 where there is none. Drafts and locks do not count:
    /// a refresh that failed has changed nothing.
    #[must_use]
    pub fn version(&self, upstream: &str) -> u64 {
        let start = readable(upstream);
        let entries = fs::read_dir(&self.folder).into_iter().flatten().take(FILES);
        let newest = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let is_grant = is_grant(name.to_str()?, &start);
            let modified = is_grant.then(|| entry.metadata())?.ok()?.modified().ok()?;
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            // As a number to compare, its lower half will do.
            Some(since.as_nanos() as u64)
        });
        newest.max().unwrap_or(0)
    }

    /// The grant for an upstream at this URL, of this issuer or, if none is named, of whichever a person logged in at
    /// last. A file that is none is set aside.
    ///
    /// # Errors
    /// A folder or file that cannot be read.
    pub fn find(
        &self,
        upstream: &str,
        url: &Url,
        issuer: Option<&str>,
    ) -> Result<Option<Record>, StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&self.folder)(error)),
        };
        let (start, mut found) = (readable(upstream), None::<Record>);
        for entry in entries.take(FILES) {
            let name = entry.map_err(at(&self.folder))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if !is_grant(name, &start) {
                continue;
            }
            let Some(record) = read(&self.folder.join(name))? else {
                continue;
            };
            let fits = record.upstream == upstream
                && record.url == *url
                && issuer.is_none_or(|issuer| same_issuer(issuer, &record.issuer));
            if fits && (found.as_ref()).is_none_or(|found| found.logged_in <= record.logged_in) {
                found = Some(record);
            }
        }
        Ok(found)
    }

    /// Waits until nobody else may replace the grant of this upstream and issuer.
    ///
    /// # Errors
    /// The folder cannot be used, or the other one does not let go within `patience`.
    pub async fn lock(
        &self,
        upstream: &str,
        issuer: &str,
        patience: Duration,
    ) -> Result<Lock, StoreError> {
        self.make_folder()?;
        let place = self.place(upstream, issuer);
        let path = place.with_extension("lock");
        let mut options = private();
        let file = options.create(true).truncate(false);
        let file = file.open(&path).map_err(at(&path))?;
        let locking = async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(EVERY).await,
                    Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
                }
            }
        };
        match tokio::time::timeout(patience, locking).await {
            Ok(locked) => locked?,
            Err(_) => return Err(StoreError::Locked { path }),
        }
        Ok(Lock { _file: file, place })
    }

    fn place(&self, upstream: &str, issuer: &str) -> PathBuf {
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        let key = digest(&SHA256, format!("{upstream}\n{issuer}").as_bytes());
        let start = key.as_ref().iter().take(8);
        let hex: String = start.map(|byte| format!("{byte:02x}")).collect();
        self.folder
            .join(format!("{}{hex}.json", readable(upstream)))
    }

    fn make_folder(&self) -> Result<(), StoreError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(at(&self.folder))?;
        let mode = fs::metadata(&self.folder)
            .map_err(at(&self.folder))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
                .map_err(at(&self.folder))?;
        }
        Ok(())
    }
}

impl Lock {
    /// The grant as it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Option<Record>, StoreError> {
        read(&self.place)
    }

    /// Makes room for a new one, before anything is used up for it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn draft(&self) -> Result<Draft<'_>, StoreError> {
        let path = self.place.with_extension("new");
        // What a crash left may have been made by somebody else.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
        let file = private().create_new(true).open(&path).map_err(at(&path))?;
        Ok(Draft {
            file,
            path,
            lock: self,
        })
    }
}

impl Draft<'_> {
    /// Puts the grant in its place, for good. Blocks for as long as the disk takes, once in the life of a token.
    ///
    /// # Errors
    /// The disk is full, or broken.
    pub fn keep(mut self, record: &Record) -> Result<(), StoreError> {
        let here = at(&self.path);
        let text = serde_json::to_vec_pretty(record).map_err(|error| here(error.into()))?;
        self.file.write_all(&text).map_err(&here)?;
        self.file.sync_all().map_err(&here)?;
        fs::rename(&self.path, &self.lock.place).map_err(&here)?;
        let folder = self.lock.place.parent().unwrap_or(&self.path);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(at(folder))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Kept, it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Readable by its owner only, from the beginning.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Issuers are compared as text; a slash at the end of a host is the one thing that people add.
fn same_issuer(one: &str, other: &str) -> bool {
    one.strip_suffix('/').unwrap_or(one) == other.strip_suffix('/').unwrap_or(other)
}

/// The beginning of a file's name, for people: names of upstreams may have characters that files cannot.
fn readable(upstream: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let kept = upstream.chars().filter(|c| legal(*c)).take(40);
    kept.chain(['.']).collect()
}

/// Whether a file may be a grant of an upstream whose files begin like this.
fn is_grant(name: &str, start: &str) -> bool {
    name.starts_with(start) && name.ends_with(".json")
}

fn read(path: &Path) -> Result<Option<Record>, StoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(BYTES + 1)
            .read_to_end(&mut text)
            .map_err(at(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    if let Ok(record) = serde_json::from_slice::<Record>(&text)
        && record.is_current()
    {
        return Ok(Some(record));
    }
    match serde_json::from_slice::<Version>(&text) {
        Ok(Version { version }) if version > record::VERSION => Err(StoreError::Later {
            path: path.to_owned(),
        }),
        _ => {
            let aside = path.with_extension("corrupt");
            fs::rename(path, &aside).map_err(at(path))?;
            // What is in it is not for the log.
            tracing::warn!(file = %path.display(), "a stored login cannot be read; it was set aside");
            Ok(None)
        }
    }
}
