//! Stored listings: the last good listing of each upstream, so that a weir that starts while the
//! world is down has a catalog.
//!
//! One file per upstream in `state.dir`: a line of JSON that says what it is, then one definition a
//! line, as it was listed. A file is replaced as a whole; one that is damaged, or another
//! upstream's, is moved aside and never fatal. Its modification time says when the listing was last
//! found to hold.

pub(in crate::live) mod pins;
mod writer;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::catalog::{Digest, Hasher, Kind, Listing, ListingBuilder};
use crate::config;
use crate::durable;
use crate::json;
use crate::protocol::era::Era;

pub use writer::StoreWriter;

/// The folder inside `state.dir`.
const FOLDER: &str = "listings";
/// The version of the format.
const VERSION: u32 = 1;
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Where listings and pins are stored.
#[derive(Clone, Debug)]
pub struct ListingStore {
    state_dir: PathBuf,
}

/// A listing that was stored.
#[derive(Debug)]
pub struct StoredListing {
    /// The listing.
    pub listing: Listing,
    /// When it was last found to hold.
    pub at: SystemTime,
}

/// Why something stored is not used.
#[derive(Debug, thiserror::Error)]
pub enum ListingStoreError {
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
struct ListingHeader {
    #[serde(flatten)]
    about: FileHeader,
    era: String,
    /// Definitions of each kind, in the order of [`Kind::ALL`].
    counts: [usize; 4],
    /// Whether the upstream gave instructions; they are the last line.
    #[serde(default)]
    instructions: bool,
}

/// The part that the first lines of all files share.
#[derive(Serialize, Deserialize)]
struct FileHeader {
    /// The kind of file.
    weir: String,
    version: u32,
    upstream: String,
    /// Digest of how the upstream is reached.
    endpoint: String,
    /// Digest of the lines that follow.
    digest: String,
}

impl FileHeader {
    fn of(what: &str, upstream: &config::Upstream, lines: &str) -> Self {
        Self {
            weir: what.to_owned(),
            version: VERSION,
            upstream: upstream.id.as_str().to_owned(),
            endpoint: endpoint(upstream).to_string(),
            digest: digest(lines).to_string(),
        }
    }

    fn fits(
        &self,
        what: &str,
        upstream: &config::Upstream,
        lines: &str,
    ) -> Result<(), ListingStoreError> {
        if self.weir != what || self.version != VERSION {
            return Err(ListingStoreError::Version(self.version));
        }
        if self.upstream != upstream.id.as_str() || self.endpoint != endpoint(upstream).to_string()
        {
            return Err(ListingStoreError::Foreign);
        }
        if self.digest != digest(lines).to_string() {
            return Err(ListingStoreError::Damaged("its digest does not fit"));
        }
        Ok(())
    }
}

impl ListingStore {
    /// The store inside a state folder. Touches nothing.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// Stores a listing. Blocks.
    ///
    /// # Errors
    /// It cannot be written; what was stored before stays.
    pub fn write_listing(
        &self,
        upstream: &config::Upstream,
        listing: &Listing,
    ) -> Result<(), ListingStoreError> {
        let text = write(upstream, listing)?;
        Ok(durable::replace(
            &self.file(FOLDER, upstream),
            text.as_bytes(),
        )?)
    }

    /// Notes that what is stored still holds. Blocks.
    ///
    /// # Errors
    /// There is no such file, or it cannot be changed.
    pub fn confirm_listing(&self, upstream: &config::Upstream) -> Result<(), ListingStoreError> {
        let file = File::options()
            .write(true)
            .open(self.file(FOLDER, upstream))?;
        Ok(file.set_modified(SystemTime::now())?)
    }

    /// Reads the stored listing of an upstream, if there is one. Moves nothing. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn read_listing(
        &self,
        upstream: &config::Upstream,
    ) -> Result<Option<StoredListing>, ListingStoreError> {
        read(&self.file(FOLDER, upstream), upstream)
    }

    /// Loads the stored listing of an upstream, if there is one. A file that cannot be used is
    /// moved aside and logged. Blocks.
    #[must_use]
    pub fn load_listing(&self, upstream: &config::Upstream) -> Option<StoredListing> {
        let path = self.file(FOLDER, upstream);
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

    fn file(&self, folder: &str, upstream: &config::Upstream) -> PathBuf {
        let id = upstream.id.as_str();
        let legible = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = id.chars().map(legible).take(40).collect();
        let mut hasher = Hasher::new("stored listing");
        hasher.add(id.as_bytes());
        let name = format!("{name}-{}", hasher.finish());
        self.state_dir.join(folder).join(name)
    }
}

fn read(
    path: &Path,
    upstream: &config::Upstream,
) -> Result<Option<StoredListing>, ListingStoreError> {
    let Some((text, at)) = contents(path)? else {
        return Ok(None);
    };
    let listing = parse(&text, upstream, None)?.finish();
    Ok(Some(StoredListing { listing, at }))
}

/// A file's text and modification time, if there is such a file.
fn contents(path: &Path) -> Result<Option<(String, SystemTime)>, ListingStoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if found.len() > MAX_BYTES {
        return Err(ListingStoreError::Large(found.len()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if json::without_bom(&text).len() < text.len() {
        text = json::without_bom(&text).to_owned();
    }
    Ok(Some((text, found.modified()?)))
}

/// The first line of a file, and the lines that follow.
fn head<'t, T: Deserialize<'t>>(text: &'t str) -> Result<(T, &'t str), ListingStoreError> {
    let (head, lines) = text
        .split_once('\n')
        .ok_or(ListingStoreError::Damaged("it has no first line"))?;
    let head = serde_json::from_str(head);
    let head = head.map_err(|_| ListingStoreError::Damaged("its first line is not weir's"))?;
    Ok((head, lines))
}

/// Writes a listing as it is stored.
pub(in crate::live) fn write(
    upstream: &config::Upstream,
    listing: &Listing,
) -> Result<String, ListingStoreError> {
    let mut lines = String::new();
    for kind in Kind::ALL.into_iter().chain([Kind::Instructions]) {
        for definition in listing.definitions(kind) {
            lines.push_str(definition.raw());
            lines.push('\n');
        }
    }
    let head = ListingHeader {
        about: FileHeader::of("listing", upstream, &lines),
        era: listing.era().to_string(),
        counts: Kind::ALL.map(|kind| listing.definitions(kind).len()),
        instructions: !listing.definitions(Kind::Instructions).is_empty(),
    };
    let head = serde_json::to_string(&head).map_err(io::Error::from)?;
    Ok(format!("{head}\n{lines}"))
}

/// Reads what [`write`] wrote of the same upstream. What comes again letter by letter is taken over
/// from an `earlier` listing.
pub(in crate::live) fn parse(
    text: &str,
    upstream: &config::Upstream,
    earlier: Option<Arc<Listing>>,
) -> Result<ListingBuilder, ListingStoreError> {
    let (head, lines) = head::<ListingHeader>(text)?;
    head.about.fits("listing", upstream, lines)?;
    let era = match head.era.as_str() {
        "modern" => Era::Modern,
        "legacy" => Era::Legacy,
        _ => return Err(ListingStoreError::Damaged("its era is none")),
    };
    let mut builder = Listing::of(era);
    if let Some(earlier) = earlier {
        builder = builder.after(earlier);
    }
    let mut lines = lines.lines();
    for (kind, count) in Kind::ALL.into_iter().zip(head.counts) {
        for line in lines.by_ref().take(count) {
            builder.add(kind, line);
        }
    }
    if let Some(line) = lines.next().filter(|_| head.instructions) {
        builder.add(Kind::Instructions, line);
    }
    Ok(builder)
}

fn digest(lines: &str) -> Digest {
    let mut hasher = Hasher::new("stored lines");
    hasher.add(lines.as_bytes());
    hasher.finish()
}

/// Computes a digest of how an upstream is reached: a server at another address is another server.
/// Credentials and rules do not matter.
#[must_use]
pub fn endpoint(upstream: &config::Upstream) -> Digest {
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

#[cfg(test)]
mod tests;
