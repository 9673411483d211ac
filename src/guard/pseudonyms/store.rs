//! The values of stored pseudonyms, encrypted: in memory, and in a file of the state folder.
//!
//! A value is in the file before its pseudonym leaves ([`PseudonymStore::saved`]). The file grows by
//! lines and is written anew when half of it is out of date. A value that was not used for a while
//! is forgotten, and so are the oldest ones when there are too many.

mod entry;
mod lines;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::classes::Class;

use super::pseudonym::{ID, PseudonymError};

pub(super) use entry::Entry;
pub use entry::StoreLimits;

/// The file in the state folder.
const FILE: &str = "pseudonyms";
/// Of so many values that are there when there is no room, one is forgotten.
const SHARE: usize = 16;
/// How often the use of a value is noted in the file.
const NOTED: Duration = Duration::from_hours(24);
/// The bytes that a value takes besides its own.
const OVERHEAD: usize = 200;

/// Values by the ids of their pseudonyms.
pub struct PseudonymStore {
    /// `None` keeps them in memory only.
    file: Option<PathBuf>,
    limits: StoreLimits,
    /// How long a value is kept that nobody uses, in seconds. A reload may change it.
    keep: AtomicU64,
    inner: Mutex<Inner>,
    /// Wakes up the writer.
    changed: Notify,
    /// How far the file is.
    written: watch::Sender<Written>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<[u8; ID], Entry>,
    bytes: usize,
    turns: u64,
    /// Lines that are not in the file yet, and the number of values that were ever added.
    pending: String,
    added: u64,
    /// The lines of the file.
    lines: usize,
    /// Whether the file has to be written anew.
    is_damaged: bool,
}

/// How many of the values that were added are in the file, and up to which it failed.
#[derive(Clone, Copy, Default)]
struct Written {
    saved: u64,
    failed: u64,
}

/// A piece that is to be written: lines to add, or a whole file.
struct Batch {
    text: String,
    is_whole: bool,
    added: u64,
}

impl PseudonymStore {
    /// Keeps values in memory only: they are forgotten with the process.
    #[must_use]
    pub fn in_memory(limits: StoreLimits) -> Self {
        Self {
            file: None,
            limits,
            keep: AtomicU64::new(limits.keep.as_secs()),
            inner: Mutex::default(),
            changed: Notify::new(),
            written: watch::Sender::new(Written::default()),
        }
    }

    /// Opens the store in a state folder. Lines that cannot be read are left out, and counted in
    /// the log. Blocks.
    ///
    /// # Errors
    /// There is a file, and it cannot be read.
    pub fn open(state_dir: &Path, limits: StoreLimits) -> std::io::Result<Self> {
        let file = state_dir.join(FILE);
        let mut store = Self::in_memory(limits);
        let read = lines::read(&file, limits)?;
        if read.unreadable > 0 {
            tracing::warn!(
                file = %file.display(),
                lines = read.unreadable,
                "pseudonyms in the state folder cannot be read: they stay in texts as they are"
            );
        }
        let inner = store.inner.get_mut();
        inner.lines = read.lines;
        inner.is_damaged = read.is_missing || read.unreadable > 0;
        let oldest = now().saturating_sub(limits.keep.as_secs());
        let mut entries = read.entries;
        entries.sort_by_key(|(_, entry)| entry.used);
        for (id, entry) in entries {
            if entry.used >= oldest {
                inner.insert(id, entry);
            }
        }
        inner.make_room(limits);
        store.file = Some(file);
        Ok(store)
    }

    /// Returns whether values are kept in a file.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Sets how long a value is kept that nobody uses.
    pub fn set_keep(&self, keep: Duration) {
        self.keep.store(keep.as_secs(), Ordering::Relaxed);
    }

    /// Returns an entry, and notes that it was used.
    pub(super) fn get(&self, id: &[u8; ID]) -> Option<Entry> {
        let now = now();
        let mut inner = self.inner.lock();
        let keep = self.keep.load(Ordering::Relaxed);
        let turn = inner.next_turn();
        let entry = inner.entries.get_mut(id)?;
        entry.turn = turn;
        if entry.used.saturating_add(keep) < now {
            inner.remove(id);
            return None;
        }
        entry.used = entry.used.max(now);
        let found = entry.clone();
        if self.file.is_some() && found.used >= found.noted + NOTED.as_secs() {
            entry.noted = found.used;
            let line = lines::line(id, &found);
            inner.add_line(&line);
            drop(inner);
            self.changed.notify_one();
        }
        Some(found)
    }

    /// Returns the entry of an id, or inserts what `seal` encrypts and returns `None`.
    pub(super) fn get_or_insert(
        &self,
        id: [u8; ID],
        class: &Class,
        seal: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Result<Option<Entry>, PseudonymError> {
        if let Some(found) = self.get(&id) {
            return Ok(Some(found));
        }
        let sealed = seal().ok_or(PseudonymError::Long)?;
        let used = now();
        let entry = Entry {
            class: class.clone(),
            sealed: sealed.into(),
            used,
            noted: used,
            turn: 0,
        };
        let mut inner = self.inner.lock();
        // Another request was first.
        if inner.entries.contains_key(&id) {
            return Ok(None);
        }
        if self.file.is_some() {
            inner.add_line(&lines::line(&id, &entry));
        }
        inner.added += 1;
        inner.insert(id, entry);
        inner.make_room(self.limits);
        drop(inner);
        self.changed.notify_one();
        Ok(None)
    }

    /// Waits until the values that were added so far are in the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) async fn saved(&self) -> Result<(), PseudonymError> {
        if self.file.is_none() {
            return Ok(());
        }
        let wanted = self.inner.lock().added;
        let mut written = self.written.subscribe();
        let reached = |written: &Written| written.saved.max(written.failed) >= wanted;
        let found = written.wait_for(reached).await.map(|written| *written);
        match found {
            Ok(written) if written.saved >= wanted => Ok(()),
            Ok(_) | Err(_) => Err(PseudonymError::NotStored),
        }
    }

    /// Waits until there is something to write.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Tells those who wait that what was added so far cannot be written.
    pub(super) fn refuse(&self) {
        let added = self.inner.lock().added;
        let failed = |written: &mut Written| written.failed = written.failed.max(added);
        self.written.send_modify(failed);
    }

    /// Writes what is not in the file yet. Blocks. The bytes are the operating system's then: they
    /// outlive the process. With `sync` they outlive a loss of power.
    ///
    /// # Errors
    /// The file cannot be written. All of it is written anew next time.
    pub(super) fn write(&self, sync: bool) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let batch = {
            let mut inner = self.inner.lock();
            if inner.entries.is_empty() && inner.pending.is_empty() {
                return Ok(());
            }
            inner.take_batch()
        };
        let result = match batch.is_whole {
            true => lines::replace(file, &batch.text),
            false => lines::append(file, &batch.text, sync),
        };
        let mut inner = self.inner.lock();
        inner.is_damaged |= result.is_err();
        drop(inner);
        self.written.send_modify(|written| match result {
            Ok(()) => written.saved = written.saved.max(batch.added),
            Err(_) => written.failed = written.failed.max(batch.added),
        });
        result
    }

    /// Returns how many values are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    /// Returns whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn insert(&mut self, id: [u8; ID], mut entry: Entry) {
        entry.turn = self.next_turn();
        self.bytes += entry.sealed.len() + OVERHEAD;
        if let Some(before) = self.entries.insert(id, entry) {
            self.bytes -= before.sealed.len() + OVERHEAD;
        }
    }

    fn remove(&mut self, id: &[u8; ID]) {
        if let Some(before) = self.entries.remove(id) {
            self.bytes -= before.sealed.len() + OVERHEAD;
        }
    }

    fn add_line(&mut self, line: &str) {
        // All of the file is written anew: lines before that are in it.
        if !self.is_damaged {
            self.pending.push_str(line);
            self.lines += 1;
        }
    }

    /// Forgets the values that were not used for longest, if there are too many.
    fn make_room(&mut self, limits: StoreLimits) {
        while self.entries.len() > limits.values.max(1) || self.bytes > limits.bytes {
            let mut ages: Vec<_> = self
                .entries
                .iter()
                .map(|(id, entry)| (entry.turn, *id))
                .collect();
            let count = ages.len() / SHARE + 1;
            if count < ages.len() {
                ages.select_nth_unstable(count - 1);
            }
            for (_, id) in ages.into_iter().take(count) {
                self.remove(&id);
            }
        }
    }

    /// Takes what is to be written: all values, where the file is damaged or half of it out of
    /// date.
    fn take_batch(&mut self) -> Batch {
        let is_whole = self.is_damaged || self.lines > 2 * self.entries.len() + 1024;
        let mut text = std::mem::take(&mut self.pending);
        if is_whole {
            text = lines::HEAD.to_owned();
            for (id, entry) in &self.entries {
                text.push_str(&lines::line(id, entry));
            }
            self.lines = self.entries.len();
            self.is_damaged = false;
        }
        Batch {
            text,
            is_whole,
            added: self.added,
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

impl fmt::Debug for PseudonymStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymStore")
            .field("file", &self.file)
            .field("values", &self.len())
            .finish_non_exhaustive()
    }
}
