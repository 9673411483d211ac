//! Text files that a command edits.

use std::io::ErrorKind;
use std::path::Path;

use crate::durable;

/// Why a file was not edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileEditError {
    #[error("{file} cannot be read")]
    Read {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{file} cannot be written")]
    Write {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} was changed meanwhile: try again")]
    Changed(String),
}

/// Returns the text of a file; `None` if there is none yet.
///
/// # Errors
/// The file is there, and cannot be read as text.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileEditError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

/// Returns the text of a file.
///
/// # Errors
/// The file is not there, or cannot be read as text.
pub(super) fn read_existing(path: &Path) -> Result<String, FileEditError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, source: std::io::Error) -> FileEditError {
    let file = path.display().to_string();
    FileEditError::Read { file, source }
}

/// Replaces the text of a file, unless somebody else did since it was `before`. A new file is its
/// owner's only.
///
/// # Errors
/// The file was changed meanwhile, or cannot be read or written. Then it is as it was.
pub(super) fn write(path: &Path, before: Option<&str>, after: &str) -> Result<(), FileEditError> {
    let file = path.display().to_string();
    if read(path)?.as_deref() != before {
        return Err(FileEditError::Changed(file));
    }
    let written = match before {
        Some(_) => durable::rewrite(path, after.as_bytes()),
        None => durable::replace(path, after.as_bytes()),
    };
    written.map_err(|source| FileEditError::Write { file, source })
}
