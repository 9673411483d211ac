//! API keys: `listen.auth.api_keys`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::{HashMap, HashMapExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::api_key::ApiKeyText;
use super::{AuthenticationContext, Refusal};
use crate::caller::{Caller, Identity, Principal};
use crate::config::{ApiKeyEntry, ConfigErrors, parse_api_keys};
use crate::files::{self, FileCell, FileError};
use crate::latest::Latest;

/// The tag with the id of the key. It is weir's own, so no tag of the file replaces it.
pub const KEY_ID: &str = "key_id";
/// Most errors of a file that are logged one by one.
const LOGGED: usize = 10;

/// The API keys of a file, as it is now.
#[derive(Debug)]
pub struct ApiKeys {
    table: Arc<KeyTable>,
    /// Ends the task that follows the file.
    _following: DropGuard,
}

/// Why there are no API keys.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content cannot be used.
    #[error(transparent)]
    Entries(#[from] ConfigErrors),
}

#[derive(Debug)]
struct KeyTable {
    path: PathBuf,
    keys: Latest<HashMap<Box<str>, KnownKey>>,
}

#[derive(Debug)]
struct KnownKey {
    hash: [u8; 32],
    caller: Caller,
}

impl ApiKeys {
    /// Reads a file of API keys, and follows its changes until the value is dropped. A file that
    /// cannot be used changes nothing.
    ///
    /// # Errors
    /// It cannot be used now.
    pub fn open(path: &Path, context: &AuthenticationContext) -> Result<Self, ApiKeysError> {
        let file = context.files.open(path, ApiKeyEntry::MAX_FILE)?;
        let seen = file.version();
        let table = Arc::new(KeyTable {
            path: path.to_owned(),
            keys: Latest::new(read(&file, path)?),
        });
        warn_of_permissions(path);
        let stop = CancellationToken::new();
        let following = follow(file, seen, Arc::clone(&table));
        let (stopped, shutdown) = (stop.clone(), context.shutdown.clone());
        context.tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = shutdown.cancelled() => {}
                () = following => {}
            }
        });
        Ok(Self {
            table,
            _following: stop.drop_guard(),
        })
    }

    /// Authenticates the sender of a key.
    ///
    /// # Errors
    /// It is misspelt, not in the file, or has expired.
    pub fn authenticate(&self, presented: &str) -> Result<Caller, Refusal> {
        const PUBLIC: &str = "the API key is not valid";
        let refuse = |reason: String| Refusal::invalid_token(PUBLIC, reason);
        let key =
            ApiKeyText::parse(presented).map_err(|error| refuse(format!("API key: {error}")))?;
        let hash = key.hash();
        let keys = self.table.keys.get();
        let Some(known) = keys.get(key.id) else {
            let file = self.table.path.display();
            return Err(refuse(format!("no API key `{}` in {file}", key.id)));
        };
        if !are_equal(&known.hash, &hash) {
            return Err(refuse(format!(
                "the secret of API key `{}` is wrong",
                key.id
            )));
        }
        let expires = known.caller.identity().expires;
        if expires.is_some_and(|expires| expires <= SystemTime::now()) {
            let reason = format!("API key `{}` has expired", key.id);
            return Err(Refusal::invalid_token("the API key has expired", reason));
        }
        Ok(known.caller.clone())
    }
}

impl ApiKeys {
    /// Returns whether the key of a caller is still in the file, for the same subject.
    #[must_use]
    pub fn still_has(&self, caller: &Caller) -> bool {
        let id = caller.identity().tags.get(KEY_ID);
        let keys = self.table.keys.get();
        let known = id.and_then(|id| keys.get(id));
        known.is_some_and(|known| known.caller.key() == caller.key())
    }
}

/// Compares in a time that does not depend on where they differ.
fn are_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differ = one
        .iter()
        .zip(other)
        .fold(0, |all, (one, other)| all | (one ^ other));
    std::hint::black_box(differ) == 0
}

/// Reads the file whenever it changes.
async fn follow(file: FileCell, mut seen: u64, table: Arc<KeyTable>) {
    loop {
        seen = file.changed(seen).await;
        let (file, table) = (file.clone(), Arc::clone(&table));
        // A file of thousands of keys takes some milliseconds.
        let read = tokio::task::spawn_blocking(move || table.replace(&file));
        if read.await.is_err() {
            return;
        }
    }
}

impl KeyTable {
    fn replace(&self, file: &FileCell) {
        warn_of_permissions(&self.path);
        match read(file, &self.path) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), file = %self.path.display(), "API keys are in force");
                self.keys.set(keys);
            }
            Err(errors) => {
                for problem in errors.iter().take(LOGGED) {
                    tracing::error!(%problem, "the API keys from before stay in force");
                }
            }
        }
    }
}

/// Returns the callers of the API keys that a file has now, in the order of their ids.
///
/// # Errors
/// The file cannot be read, or its content cannot be used.
pub fn read_api_key_callers(path: &Path) -> Result<Vec<Caller>, ApiKeysError> {
    let text = files::read(path, ApiKeyEntry::MAX_FILE)?;
    let mut entries = parse_api_keys(text.expose(), path)?;
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    let callers = entries
        .into_iter()
        .map(|entry| Caller::new(identify(entry)));
    Ok(callers.collect())
}

fn read(file: &FileCell, path: &Path) -> Result<HashMap<Box<str>, KnownKey>, ConfigErrors> {
    let entries = parse_api_keys(file.now().expose(), path)?;
    let mut keys = HashMap::with_capacity(entries.len());
    for entry in entries {
        let (id, hash) = (entry.id.clone(), entry.hash);
        let caller = Caller::new(identify(entry));
        keys.insert(id, KnownKey { hash, caller });
    }
    Ok(keys)
}

/// Makes the identity of a key. Several keys of one subject are one principal.
fn identify(entry: ApiKeyEntry) -> Identity {
    let mut tags = entry.tags;
    tags.insert(KEY_ID.into(), entry.id);
    if !entry.scopes.is_empty() {
        let scope = entry.scopes.join(" ");
        tags.entry("scope".into()).or_insert(scope.into());
    }
    Identity {
        scopes: entry.scopes.into(),
        tags,
        expires: entry.expires,
        ..Identity::new(Principal::ApiKey, &entry.subject)
    }
}

/// Warns if everybody on this machine may add keys.
fn warn_of_permissions(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o002 != 0) {
        tracing::warn!(
            file = %path.display(),
            "everybody on this machine may write the file of API keys: `chmod o-w` it"
        );
    }
}

#[cfg(test)]
mod tests;
