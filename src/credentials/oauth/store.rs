//! The logins that `weir login` stores: one file for each upstream and issuer in the state folder,
//! readable by its owner only.
//!
//! Every file is written beside its final place, synced, and then moved there, so that a crash
//! leaves either the old file or the new one. To replace a refresh token, a process holds the lock
//! of its file from reading the old token to writing the new one: two processes that use the same
//! token would lose the login (RFC 9700 §4.14.2).

mod stored_login;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::hex;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use url::Url;

pub use stored_login::{
    IssuedTokens, LoginParties, StoredClient, StoredLogin, TokenEndpointAuthMethod,
};

/// The largest file; the tokens of some servers have several KiB.
const MAX_BYTES: u64 = 256 * 1024;
/// The most files of the folder that are looked at.
const MAX_FILES: usize = 10_000;
/// The pause between two attempts to take a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(25);

/// The reason why a login cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum LoginStoreError {
    /// A file or folder that cannot be used.
    #[error("cannot use {}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The file has a newer format than this weir knows.
    #[error("{} was written by a newer version of weir", path.display())]
    NewerFormat {
        /// The file or folder.
        path: PathBuf,
    },
    /// Another process held the lock for too long.
    #[error("another process keeps {} locked", path.display())]
    Locked {
        /// The file or folder.
        path: PathBuf,
    },
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> LoginStoreError {
    move |source| LoginStoreError::Unusable {
        path: path.to_owned(),
        source,
    }
}

/// The folder of stored logins.
#[derive(Clone, Debug)]
pub struct LoginStore {
    folder: PathBuf,
}

/// The exclusive right to replace a login, among all processes that use the folder.
#[derive(Debug)]
pub struct LoginLock {
    /// Locked as long as it is open.
    _file: File,
    place: PathBuf,
}

/// An empty file beside the place of a login, which proves that the folder can be written to.
#[derive(Debug)]
pub struct Draft<'l> {
    file: File,
    path: PathBuf,
    lock: &'l LoginLock,
}

impl LoginStore {
    /// Returns the store of a state folder. Creates nothing yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join("oauth"),
        }
    }

    /// Returns a number that changes whenever a login of an upstream is stored; 0 if there is none.
    /// Drafts and locks do not count, because a refresh that failed has changed nothing.
    #[must_use]
    pub fn version(&self, upstream: &str) -> u64 {
        let start = file_prefix(upstream);
        let entries = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .take(MAX_FILES);
        let newest = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let is_login = is_login_file(name.to_str()?, &start);
            let modified = is_login.then(|| entry.metadata())?.ok()?.modified().ok()?;
            let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            // It is only compared, so the lower half is enough.
            Some(since.as_nanos() as u64)
        });
        newest.max().unwrap_or(0)
    }

    /// Finds the login of an upstream with this URL and issuer, or the latest one if no issuer is
    /// named. A file that is not a login is renamed to `*.corrupt`.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn find(
        &self,
        upstream: &str,
        url: &Url,
        issuer: Option<&str>,
    ) -> Result<Option<StoredLogin>, LoginStoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&self.folder)(error)),
        };
        let (start, mut found) = (file_prefix(upstream), None::<StoredLogin>);
        for entry in entries.take(MAX_FILES) {
            let name = entry.map_err(unusable(&self.folder))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if !is_login_file(name, &start) {
                continue;
            }
            let Some(login) = read(&self.folder.join(name))? else {
                continue;
            };
            let matches = login.upstream == upstream
                && login.url == *url
                && issuer.is_none_or(|issuer| is_same_issuer(issuer, &login.issuer));
            if matches && (found.as_ref()).is_none_or(|found| found.logged_in <= login.logged_in) {
                found = Some(login);
            }
        }
        Ok(found)
    }

    /// Waits for the lock of the login of this upstream and issuer.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds the lock for longer than `timeout`.
    pub async fn lock(
        &self,
        upstream: &str,
        issuer: &str,
        timeout: Duration,
    ) -> Result<LoginLock, LoginStoreError> {
        self.create_folder()?;
        let place = self.place(upstream, issuer);
        let path = place.with_extension("lock");
        let mut options = private_options();
        let file = options.create(true).truncate(false);
        let file = file.open(&path).map_err(unusable(&path))?;
        let locking = async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
                    Err(TryLockError::Error(error)) => return Err(unusable(&path)(error)),
                }
            }
        };
        match tokio::time::timeout(timeout, locking).await {
            Ok(locked) => locked?,
            Err(_) => return Err(LoginStoreError::Locked { path }),
        }
        Ok(LoginLock { _file: file, place })
    }

    fn place(&self, upstream: &str, issuer: &str) -> PathBuf {
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        let key = digest(&SHA256, format!("{upstream}\n{issuer}").as_bytes());
        let start = key.as_ref().first_chunk::<8>();
        let start = start.map(|start| hex::text(start)).unwrap_or_default();
        self.folder
            .join(format!("{}{start}.json", file_prefix(upstream)))
    }

    fn create_folder(&self) -> Result<(), LoginStoreError> {
        let created = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        created.map_err(unusable(&self.folder))?;
        let mode = fs::metadata(&self.folder)
            .map_err(unusable(&self.folder))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
                .map_err(unusable(&self.folder))?;
        }
        Ok(())
    }
}

impl LoginLock {
    /// Reads the login.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> Result<Option<StoredLogin>, LoginStoreError> {
        read(&self.place)
    }

    /// Creates the file for a new version of the login, before a code or a refresh token is used up
    /// for it.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn draft(&self) -> Result<Draft<'_>, LoginStoreError> {
        let path = self.place.with_extension("new");
        // A draft that a crash left may have been created by another user: its permissions are not
        // to be trusted.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unusable(&path)(error));
            }
            _ => {}
        }
        let file = private_options()
            .create_new(true)
            .open(&path)
            .map_err(unusable(&path))?;
        Ok(Draft {
            file,
            path,
            lock: self,
        })
    }
}

impl Draft<'_> {
    /// Writes the login, syncs it and moves it to its place. Blocks for as long as the disk takes,
    /// once per token.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn commit(mut self, login: &StoredLogin) -> Result<(), LoginStoreError> {
        let here = unusable(&self.path);
        let text = serde_json::to_vec_pretty(login).map_err(|error| here(error.into()))?;
        self.file.write_all(&text).map_err(&here)?;
        self.file.sync_all().map_err(&here)?;
        fs::rename(&self.path, &self.lock.place).map_err(&here)?;
        let folder = self.lock.place.parent().unwrap_or(&self.path);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(unusable(folder))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After `commit` it is no longer there.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns options that create files which only their owner can read.
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Compares issuers as text, except for a slash at the end, which people add.
fn is_same_issuer(one: &str, other: &str) -> bool {
    one.strip_suffix('/').unwrap_or(one) == other.strip_suffix('/').unwrap_or(other)
}

/// Returns the readable beginning of a file's name: the name of the upstream without characters
/// that file names cannot have.
fn file_prefix(upstream: &str) -> String {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let legal = upstream.chars().filter(|c| is_legal(*c)).take(40);
    legal.chain(['.']).collect()
}

/// Returns whether a file may be a login of the upstream whose files begin with `start`.
fn is_login_file(name: &str, start: &str) -> bool {
    name.starts_with(start) && name.ends_with(".json")
}

fn read(path: &Path) -> Result<Option<StoredLogin>, LoginStoreError> {
    #[derive(Deserialize)]
    struct FileVersion {
        version: u32,
    }
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(unusable(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path)(error)),
    };
    if let Ok(record) = serde_json::from_slice::<StoredLogin>(&text)
        && record.is_current()
    {
        return Ok(Some(record));
    }
    match serde_json::from_slice::<FileVersion>(&text) {
        Ok(FileVersion { version }) if version > stored_login::VERSION => {
            Err(LoginStoreError::NewerFormat {
                path: path.to_owned(),
            })
        }
        _ => {
            let aside = path.with_extension("corrupt");
            fs::rename(path, &aside).map_err(unusable(path))?;
            // Its content is secret, so the log does not say what is wrong with it.
            tracing::warn!(file = %path.display(), "a stored login cannot be read; the file was renamed to *.corrupt");
            Ok(None)
        }
    }
}
