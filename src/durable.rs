//! Replaces files as a whole: a reader finds the old text or the new one, after a crash too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Number of files written, which tells apart those that this process writes at the same time.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Replaces the file's content, readable by its owner only, or leaves the file as it was. Creates
/// the folder, for its owner only, if it is missing.
///
/// # Errors
/// The operating system refuses.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}-{number}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    // The new name survives a crash only when the folder is written too.
    File::open(folder)?.sync_all()
}

/// Replaces the content of a file that people edit: its mode and its owner stay. A link stays one.
///
/// # Errors
/// The operating system refuses; the file is as it was then.
pub fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let before = std::fs::metadata(&path)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let replaced = write(&beside, bytes)
        .and_then(|()| {
            #[cfg(unix)]
            {
                use std::os::unix::fs::{MetadataExt as _, chown};
                let now = std::fs::metadata(&beside)?;
                if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                    chown(&beside, Some(before.uid()), Some(before.gid()))?;
                }
            }
            std::fs::set_permissions(&beside, before.permissions())
        })
        .and_then(|()| std::fs::rename(&beside, &path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    replaced?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Renames a file that cannot be used, and returns its new path.
///
/// # Errors
/// The operating system refuses.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".bad-{}", now.as_millis()));
    let aside = PathBuf::from(aside);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = match options.open(path) {
        // An earlier process with the same id was killed while it wrote.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

/// Creates a folder for its owner only, if it is missing.
///
/// # Errors
/// The operating system refuses.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/c");
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&file), mode(&folder.path().join("a"))),
            (0o600, 0o700)
        );
        let left = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing stays beside it");
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::create_dir(&file).unwrap();
        std::fs::write(file.join("x"), "").unwrap();
        assert!(replace(&file, b"text").is_err());
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing stays beside it");
    }

    #[test]
    fn what_a_killed_process_left_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        // Other tests write too.
        let next = WRITTEN.load(Ordering::Relaxed);
        for number in next..next + 200 {
            let name = format!("a.{}-{number}.new", std::process::id());
            std::fs::write(folder.path().join(name), "half of it, and long").unwrap();
        }
        replace(&file, b"text").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"text");
    }

    #[test]
    fn a_bad_file_is_moved_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "bad").unwrap();
        let aside = set_aside(&file).unwrap();
        assert!(!file.exists());
        assert_eq!(std::fs::read(aside).unwrap(), b"bad");
    }
}
