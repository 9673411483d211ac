//! The file of a store: a first line that says what it is, and a line for each value: id, class,
//! when it was used, and the encrypted value. A later line replaces an earlier one.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::classes::Class;
use crate::durable;

use super::super::base32;
use super::super::pseudonym::ID;
use super::entry::{Entry, StoreLimits};

/// The first line.
pub(super) const HEAD: &str = "weir pseudonyms 1\n";

/// The content of a file.
#[derive(Default)]
pub(super) struct ReadLines {
    pub entries: Vec<([u8; ID], Entry)>,
    pub lines: usize,
    /// Lines that are none of weir's, or cut off.
    pub unreadable: usize,
    /// Whether there is no such file, or another program's.
    pub is_missing: bool,
}

/// Returns the line of a value.
pub(super) fn line(id: &[u8; ID], entry: &Entry) -> String {
    let (id, class) = (base32::encode(id), entry.class.name());
    let sealed = URL_SAFE_NO_PAD.encode(&entry.sealed);
    format!("{id} {class} {} {sealed}\n", entry.used)
}

fn parse(line: &str) -> Option<([u8; ID], Entry)> {
    let mut parts = line.split(' ');
    let (id, class, used, sealed) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let id = base32::decode(id)?.try_into().ok()?;
    let class = Class::known(class).or_else(|| Class::own(class).ok())?;
    let used = used.parse().ok()?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let entry = Entry {
        class,
        sealed: sealed.into(),
        used,
        noted: used,
        turn: 0,
    };
    parts.next().is_none().then_some((id, entry))
}

/// Reads a file, as far as a store of these limits could have written it. No file has no lines.
pub(super) fn read(path: &Path, limits: StoreLimits) -> io::Result<ReadLines> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(missing()),
        Err(error) => return Err(error),
    };
    let most = u64::try_from(limits.bytes)
        .unwrap_or(u64::MAX)
        .saturating_mul(4);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1 << 20))
        .read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some(lines) = text.strip_prefix(HEAD) else {
        let aside = durable::set_aside(path)?;
        tracing::warn!(file = %aside.display(), "a file in the state folder is not weir's: it is moved");
        return Ok(missing());
    };
    let mut read = ReadLines::default();
    for line in lines.split_inclusive('\n') {
        read.lines += 1;
        // The last line was cut off where it has no end.
        match line.strip_suffix('\n').and_then(parse) {
            Some(entry) => read.entries.push(entry),
            None => read.unreadable += 1,
        }
    }
    Ok(read)
}

fn missing() -> ReadLines {
    ReadLines {
        is_missing: true,
        ..ReadLines::default()
    }
}

/// Replaces the file.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    durable::replace(path, text.as_bytes())
}

/// Adds lines to the file, which is there.
pub(super) fn append(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    if sync { file.sync_data() } else { Ok(()) }
}
