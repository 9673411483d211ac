//! The files that `policy.files` names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::{MAX_FILE_BYTES, MAX_FILES};
use crate::files::io_reason;

/// Most entries of folders that a pattern looks at.
const MAX_ENTRIES: usize = 10_000;
/// Most folders below each other that a pattern looks into.
const MAX_DEPTH: usize = 8;

/// An error of a pattern or of one of its files.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// No glob.
    #[error("not a glob: {}", .0.kind())]
    Glob(globset::Error),
    /// Nothing fits.
    #[error("no file fits this pattern")]
    NoFile,
    /// More than anybody has.
    #[error("more than {MAX_FILES} files, or {MAX_ENTRIES} entries in folders, fit this pattern")]
    TooMany,
    /// A folder or file that cannot be read.
    #[error("{} cannot be read: {}", path.display(), io_reason(source))]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file that is too large.
    #[error("{} has more than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
}

/// Returns the files that fit a pattern, sorted by name. A path without wildcards is itself, whether
/// it exists or not.
///
/// # Errors
/// The pattern is no glob, fits nothing, or a folder cannot be read.
pub(in crate::config) fn find_files(
    folder: &Path,
    pattern: &str,
) -> Result<Vec<PathBuf>, PolicyFileError> {
    let is_wild = |text: &str| text.contains(['*', '?', '[', '{']);
    if !is_wild(pattern) {
        return Ok(vec![folder.join(pattern)]);
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(PolicyFileError::Glob)?.compile_matcher();
    // The part of the pattern before its first wildcard is the folder to look into.
    let fixed: PathBuf = Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_str().is_some_and(is_wild))
        .collect();
    let mut walk = Walk {
        folder,
        found: Vec::new(),
        left: MAX_ENTRIES,
    };
    walk.look_into(&fixed, MAX_DEPTH, &|path| glob.is_match(path))?;
    walk.found.sort();
    match walk.found.len() {
        0 => Err(PolicyFileError::NoFile),
        count if count > MAX_FILES => Err(PolicyFileError::TooMany),
        _ => Ok(walk.found),
    }
}

/// A walk through the folders of a pattern.
struct Walk<'f> {
    folder: &'f Path,
    found: Vec<PathBuf>,
    /// How many more entries may be looked at.
    left: usize,
}

impl Walk<'_> {
    fn look_into(
        &mut self,
        path: &Path,
        depth: usize,
        fits: &dyn Fn(&Path) -> bool,
    ) -> Result<(), PolicyFileError> {
        let folder = self.folder.join(path);
        let unreadable = |source| PolicyFileError::Unreadable {
            path: folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            self.left = self.left.checked_sub(1).ok_or(PolicyFileError::TooMany)?;
            let name = entry.file_name();
            // Kubernetes and editors leave files that begin with a dot.
            if name.to_str().is_none_or(|name| name.starts_with('.')) {
                continue;
            }
            let path = path.join(name);
            // Follows links: Kubernetes mounts files as links.
            let Ok(metadata) = std::fs::metadata(self.folder.join(&path)) else {
                continue;
            };
            if metadata.is_dir() && depth > 0 {
                self.look_into(&path, depth - 1, fits)?;
            } else if metadata.is_file() && fits(&path) {
                self.found.push(self.folder.join(path));
            }
        }
        Ok(())
    }
}

/// Reads a file of policies or tests.
///
/// # Errors
/// It cannot be read, or is too large.
pub(in crate::config) fn read_text(path: &Path) -> Result<String, PolicyFileError> {
    let unreadable = |source| PolicyFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    match read.map_err(unreadable)? as u64 {
        bytes if bytes > MAX_FILE_BYTES => Err(PolicyFileError::TooLarge(path.to_owned())),
        _ => Ok(text),
    }
}
