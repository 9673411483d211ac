//! Configs that come from a stream instead of a file.

use std::path::Path;

/// Returns whether a config can be read only once: `<(…)`, `/dev/stdin` or a named pipe. What was
/// written to it is gone afterwards.
#[must_use]
pub fn is_stream(main: &Path) -> bool {
    let is_pipe = || match std::fs::metadata(main) {
        Ok(found) => !found.is_file() && !found.is_dir(),
        Err(_) => false,
    };
    names_descriptor(main) || is_pipe()
}

/// Returns whether a path names an open descriptor of the process, and so no place among files.
pub(super) fn names_descriptor(main: &Path) -> bool {
    let folders = ["/dev/stdin", "/dev/fd", "/proc"];
    folders.iter().any(|folder| main.starts_with(folder))
}
