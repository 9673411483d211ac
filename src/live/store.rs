//! Stored listings: the last good listing of each upstream, so that a weir that starts while the world is down has a
//! catalog.
//!
//! One file per upstream in `state.dir`: a line of JSON that says what it is, then one definition a line, as it was
//! listed. A file is replaced as a whole; one that is damaged, or another upstream's, is moved aside and never
//! fatal. Its modification time says when the listing was last found to hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Digest, Hasher, Kind, Listing};
use crate::config;
use crate::durable;
use crate::protocol::era::Era;

/// The folder inside `state.dir`.
const FOLDER: &str = "listings";
/// The version of the format.
const VERSION: u32 = 1;
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Where listings are stored.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A listing that was stored.
#[derive(Debug)]
pub struct Stored {
    /// What was listed.
    pub listing: Listing,
    /// When it was last found to hold.
    pub at: SystemTime,
}

/// Why a stored listing is not used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is larger than anything weir writes.
    #[error("it has {0} bytes, which is too much")]
    Large(u64),
    /// It is not what weir writes, or not all of it.
    #[error("{0}")]
    Damaged(&'static str),
    /// It was written by another version of weir.
    #[error("its format has version {0}")]
    Version(u32),
    /// The upstream of this name was another server when it was written.
    #[error("it was listed at another address")]
    Foreign,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct Head {
    weir: String,
    version: u32,
    upstream: String,
    /// Digest of how the upstream is reached.
    endpoint: String,
    era: String,
    /// Definitions of each kind, in the order of [`Kind::ALL`].
    counts: [usize; 4],
    /// Digest of the lines that follow.
    digest: String,
}

impl Store {
    /// The store inside a state folder. Touches nothing.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            folder: state_dir.join(FOLDER),
        }
    }

    /// Stores a listing. Blocks.
    ///
    /// # Errors
    /// It cannot be written; what was stored before stays.
    pub fn keep(&self, upstream: &config::Upstream, listing: &Listing) -> Result<(), StoreError> {
        let mut lines = String::new();
        for kind in Kind::ALL {
            for definition in listing.definitions(kind) {
                lines.push_str(definition.raw());
                lines.push('\n');
            }
        }
        let head = Head {
            weir: "listing".to_owned(),
            version: VERSION,
            upstream: upstream.id.as_str().to_owned(),
            endpoint: endpoint(upstream).to_string(),
            era: listing.era().to_string(),
            counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
            digest: digest(&lines).to_string(),
        };
        let head = serde_json::to_string(&head).map_err(io::Error::from)?;
        let text = format!("{head}\n{lines}");
        Ok(durable::replace(&self.file(upstream), text.as_bytes())?)
    }

    /// Notes that what is stored still holds. Blocks.
    ///
    /// # Errors
    /// There is no such file, or it cannot be changed.
    pub fn confirm(&self, upstream: &config::Upstream) -> Result<(), StoreError> {
        let file = File::options().write(true).open(self.file(upstream))?;
        Ok(file.set_modified(SystemTime::now())?)
    }

    /// What is stored of an upstream, if anything is. Moves nothing. Blocks.
    ///
    /// # Errors
    /// What is there cannot be used.
    pub fn look(&self, upstream: &config::Upstream) -> Result<Option<Stored>, StoreError> {
        read(&self.file(upstream), upstream)
    }

    /// What is stored of an upstream, if anything is. What cannot be used is moved aside, with a line in the log. Blocks.
    #[must_use]
    pub fn load(&self, upstream: &config::Upstream) -> Option<Stored> {
        let path = self.file(upstream);
        let error = match read(&path, upstream) {
            Ok(stored) => return stored,
            Err(error) => error,
        };
        let aside = durable::set_aside(&path);
        let aside = aside.as_ref().map_or(&path, |aside| aside);
        tracing::warn!(
            upstream = %upstream.id, %error, file = %aside.display(), "a stored listing is of no use"
        );
        None
    }

    fn file(&self, upstream: &config::Upstream) -> PathBuf {
        let id = upstream.id.as_str();
        let legible = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = id.chars().map(legible).take(40).collect();
        let mut hasher = Hasher::new("stored listing");
        hasher.add(id.as_bytes());
        self.folder.join(format!("{name}-{}", hasher.finish()))
    }
}

fn read(path: &Path, upstream: &config::Upstream) -> Result<Option<Stored>, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if found.len() > MAX_BYTES {
        return Err(StoreError::Large(found.len()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let listing = parse(&text, upstream)?;
    let at = found.modified()?;
    Ok(Some(Stored { listing, at }))
}

fn parse(text: &str, upstream: &config::Upstream) -> Result<Listing, StoreError> {
    let damaged = |what| move |_| StoreError::Damaged(what);
    let (head, lines) = text
        .split_once('\n')
        .ok_or(StoreError::Damaged("it has no first line"))?;
    let head: Head = serde_json::from_str(head).map_err(damaged("its first line is not weir's"))?;
    if head.weir != "listing" || head.version != VERSION {
        return Err(StoreError::Version(head.version));
    }
    if head.upstream != upstream.id.as_str() || head.endpoint != endpoint(upstream).to_string() {
        return Err(StoreError::Foreign);
    }
    if head.digest != digest(lines).to_string() {
        return Err(StoreError::Damaged("its digest does not fit"));
    }
    let era = match head.era.as_str() {
        "modern" => Era::Modern,
        "legacy" => Era::Legacy,
        _ => return Err(StoreError::Damaged("its era is none")),
    };
    let mut builder = Listing::of(era);
    let mut lines = lines.lines();
    for (kind, count) in Kind::ALL.into_iter().zip(head.counts) {
        for line in lines.by_ref().take(count) {
            builder.add(kind, line);
        }
    }
    Ok(builder.finish())
}

fn digest(lines: &str) -> Digest {
    let mut hasher = Hasher::new("stored lines");
    hasher.add(lines.as_bytes());
    hasher.finish()
}

/// How the upstream is reached: a server at another place is another server. Who logs in, and what is done to its tools,
/// does not matter.
pub(super) fn endpoint(upstream: &config::Upstream) -> Digest {
    let mut hasher = Hasher::new("endpoint");
    match &upstream.endpoint {
        config::Endpoint::Http(http) => {
            hasher.add(b"http");
            hasher.add(http.url.as_str().as_bytes());
            let socket = http.socket.as_deref().unwrap_or(Path::new(""));
            hasher.add(socket.as_os_str().as_encoded_bytes());
        }
        config::Endpoint::Child {
            program, args, cwd, ..
        } => {
            hasher.add(b"child");
            hasher.add(program.as_os_str().as_encoded_bytes());
            for arg in args {
                hasher.add(arg.as_bytes());
            }
            let cwd = cwd.as_deref().unwrap_or(Path::new(""));
            hasher.add(cwd.as_os_str().as_encoded_bytes());
        }
    }
    hasher.finish()
}

/// Least time between two notes that a stored listing still holds.
const CONFIRMED_EVERY: Duration = Duration::from_secs(30);

/// Hands listings to whoever writes them, the latest of each upstream only, and waits for nobody.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// By the number of the link.
    waiting: Mutex<BTreeMap<u64, Job>>,
    wake: Notify,
}

#[derive(Debug)]
struct Job {
    upstream: Arc<config::Upstream>,
    /// `None`: the one that is stored still holds.
    listing: Option<Arc<Listing>>,
}

impl Writer {
    /// A writer to this store, with nothing to write.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            waiting: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Stores this listing of the upstream that a link leads to, some time soon.
    pub fn keep(&self, link: u64, upstream: &Arc<config::Upstream>, listing: Arc<Listing>) {
        let upstream = Arc::clone(upstream);
        let listing = Some(listing);
        self.lock().insert(link, Job { upstream, listing });
        self.wake.notify_one();
    }

    /// Notes some time soon that what is stored of it still holds.
    pub fn confirm(&self, link: u64, upstream: &Arc<config::Upstream>) {
        let job = || Job {
            upstream: Arc::clone(upstream),
            listing: None,
        };
        self.lock().entry(link).or_insert_with(job);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Job>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until shutdown, and then what is left.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = self.wake.notified() => false,
                () = tokio::time::sleep(CONFIRMED_EVERY) => false,
                () = shutdown.cancelled() => true,
            };
            let writer = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || writer.write()).await;
            if stopped || written.is_err() {
                return;
            }
        }
    }

    fn write(&self) {
        let jobs = std::mem::take(&mut *self.lock());
        for Job { upstream, listing } in jobs.into_values() {
            let done = match listing {
                Some(listing) => self.store.keep(&upstream, &listing),
                None => self.store.confirm(&upstream),
            };
            if let Err(error) = done {
                tracing::warn!(upstream = %upstream.id, %error, "its listing cannot be stored");
            }
        }
    }
}

#[cfg(test)]
mod tests;
