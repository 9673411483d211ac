//! The names of record files: `weir.jsonl` is being written, `weir-TIME-SEQ.jsonl` are full. TIME is
//! when they became so, SEQ the number of their first line.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// The digits of the number in a name, so that names sort as numbers do.
const DIGITS: usize = 12;

/// A full file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FullFile {
    /// The number of its first line.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// Returns the name of a file that becomes full now.
pub(super) fn full_name(path: &Path, first: u64, now: SystemTime) -> PathBuf {
    let time = DateTime::<Utc>::from(now).format("%Y%m%dT%H%M%SZ");
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{time}-{first:0DIGITS$}{extension}"))
}

/// Returns the name of a file beside it, for what does not belong in it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Finds the full files of a record file, in the order of their lines.
pub(super) fn full_files(path: &Path) -> io::Result<Vec<FullFile>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut found = Vec::new();
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        listed => listed?,
    };
    for entry in listed {
        let entry = entry?;
        if let Some(first) = first_of(path, &entry.file_name()) {
            let path = folder.join(entry.file_name());
            found.push(FullFile { first, path });
        }
    }
    found.sort();
    Ok(found)
}

/// Returns all files of a record file in the order of their lines, the one being written last.
///
/// # Errors
/// The folder cannot be read.
pub fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    let full = full_files(path)?;
    let mut files: Vec<_> = full.into_iter().map(|file| file.path).collect();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|text| format!(".{text}"));
    (
        text(path.file_stem()).unwrap_or_default(),
        extension.unwrap_or_default(),
    )
}

/// Reads the number of the first line from the name of a full file.
fn first_of(path: &Path, name: &OsStr) -> Option<u64> {
    let (stem, extension) = parts(path);
    let rest = name.to_str()?.strip_prefix(&*stem)?.strip_prefix('-')?;
    let (time, number) = rest.strip_suffix(&*extension)?.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let is_time = date.len() == 8 && clock.len() == 6 && is_number(date) && is_number(clock);
    (is_time && number.len() >= DIGITS && is_number(number)).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_found_in_the_order_of_their_lines_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let now = SystemTime::now();
        for first in [1_000_000_000_000, 1, 20, 3] {
            std::fs::write(full_name(&path, first, now), "").unwrap();
        }
        let others = [
            "weir.jsonl",
            "weir.jsonl.lock",
            "weir-2-20260101T000000Z-000000000001.jsonl",
            "weir-20260101T000000Z-1.jsonl",
            "weir-20260101T000000Z-000000000001.jsonl.gz",
            "other-20260101T000000Z-000000000001.jsonl",
        ];
        for other in others {
            std::fs::write(folder.path().join(other), "").unwrap();
        }
        let found = full_files(&path).unwrap();
        let firsts: Vec<_> = found.iter().map(|file| file.first).collect();
        assert_eq!(firsts, [1, 3, 20, 1_000_000_000_000]);
        assert_eq!(files_of(&path).unwrap().last(), Some(&path));
        assert_eq!(full_files(Path::new("/none/weir.jsonl")).unwrap(), []);
    }
}
