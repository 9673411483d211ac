//! The file that lines are written to: opened where an earlier run ended, locked, rotated.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::audit::chain::{ChainEnd, LineEnd};
use crate::audit::event::AuditEvent;
use crate::audit::line::LONGEST_LINE;
use crate::audit::names::{FullFile, beside, full_files, full_name};
use crate::audit::query::RecordHead;
use crate::durable;

/// The bytes at the end of a file in which its last whole line is looked for.
const TAIL: u64 = 2 * LONGEST_LINE as u64;

/// Why a record file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditFileError {
    /// The operating system refuses.
    #[error("`audit.file` {} cannot be used", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "`audit.file` {} is being written by another weir: give each weir a file of its own",
        path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// There is something else in it.
    #[error(
        "`audit.file` {} does not end in records of weir: move it away, or name another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// Where an earlier run ended.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The number of its last line; 0 if there is none.
    pub(super) seq: u64,
    /// Whether that line says that weir stopped in order; `None` without lines.
    pub(super) in_order: Option<bool>,
    /// The bytes at the end that were no whole line, and the file that they are in now.
    pub(super) cut: Option<(u64, PathBuf)>,
}

/// The file being written.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    /// The bytes that are whole lines.
    length: u64,
    /// Whether there may be part of a line behind them.
    is_torn: bool,
    /// The number of its first line.
    first: u64,
    /// When that was written.
    begun: SystemTime,
    /// Held as long as the process lives.
    _lock: File,
}

/// The outcome of a rotation.
#[derive(Debug)]
pub(super) struct Rotated {
    /// The file that is full.
    pub(super) full: PathBuf,
    /// Files that were removed, because there were more than are kept.
    pub(super) removed: Vec<PathBuf>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AuditFileError {
    let path = path.to_owned();
    move |source| AuditFileError::Io { path, source }
}

impl AuditFile {
    /// Opens a file for its owner only, creating it and its folder if they are missing, and finds
    /// the end of its chain. What is no whole line at its end is moved to a file beside it.
    ///
    /// # Errors
    /// It cannot be opened or locked, or is no record file.
    pub(super) fn open(path: &Path) -> Result<(Self, ChainEnd, Resumed), AuditFileError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        durable::make_folder(folder).map_err(failed(folder))?;
        let lock = lock(path)?;
        let mut file = open_file(path).map_err(failed(path))?;
        let length = file.metadata().map_err(failed(path))?.len();
        let (end, kept, mut resumed) = find_end(&mut file, length).map_err(failed(path))?;
        let Some(end) = end.or_else(|| is_unbegun(&mut file, length).then_some(ChainEnd::EMPTY))
        else {
            let path = path.to_owned();
            return Err(AuditFileError::Foreign { path });
        };
        if kept < length {
            let aside = move_end(&mut file, path, kept).map_err(failed(path))?;
            resumed.cut = Some((length - kept, aside));
        }
        let mut opened = Self {
            path: path.to_owned(),
            file,
            length: kept,
            is_torn: false,
            first: end.seq + 1,
            begun: SystemTime::now(),
            _lock: lock,
        };
        let end = match kept {
            0 => opened.end_of_full(&mut resumed)?,
            _ => {
                opened.read_first()?;
                end
            }
        };
        resumed.seq = end.seq;
        Ok((opened, end, resumed))
    }

    /// Returns the end of the chain if nothing is in the file: that of the last full file.
    fn end_of_full(&mut self, resumed: &mut Resumed) -> Result<ChainEnd, AuditFileError> {
        let full = full_files(&self.path).map_err(failed(&self.path))?;
        let Some(FullFile { path, .. }) = full.last() else {
            return Ok(ChainEnd::EMPTY);
        };
        let mut file = File::open(path).map_err(failed(path))?;
        let length = file.metadata().map_err(failed(path))?.len();
        let (end, _, of_full) = find_end(&mut file, length).map_err(failed(path))?;
        let path = path.clone();
        let end = end.ok_or(AuditFileError::Foreign { path })?;
        resumed.in_order = of_full.in_order;
        self.first = end.seq + 1;
        Ok(end)
    }

    /// Reads number and time of the first line.
    fn read_first(&mut self) -> Result<(), AuditFileError> {
        let mut head = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| {
            let mut part = (&self.file).take(LONGEST_LINE as u64);
            part.read_to_end(&mut head)
        });
        read.map_err(failed(&self.path))?;
        let line = head.split(|byte| *byte == b'\n').next();
        if let Some(head) = line.and_then(RecordHead::parse) {
            self.first = head.seq;
            let time = chrono::DateTime::parse_from_rfc3339(&head.time);
            self.begun = time.map_or(self.begun, SystemTime::from);
        }
        Ok(())
    }

    /// Returns the bytes in it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns when its first line was written.
    pub(super) fn begun(&self) -> SystemTime {
        self.begun
    }

    /// Writes lines, all or none of them.
    ///
    /// # Errors
    /// The operating system refuses. Part of them may be in the file; it is removed before the next
    /// attempt, at the latest.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.mend()?;
        match self.file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.is_torn = true;
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Removes a part of a line from the end.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file the name of a full one, begins another, and removes the oldest but for `keep`.
    /// `next` is the number of the next line.
    ///
    /// # Errors
    /// The operating system refuses; the file stays as it is.
    pub(super) fn rotate(&mut self, next: u64, keep: Option<usize>) -> io::Result<Rotated> {
        self.file.sync_data()?;
        let now = SystemTime::now();
        let full = full_name(&self.path, self.first, now);
        if full.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&self.path, &full)?;
        match open_file(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                // The lines go on where they were.
                std::fs::rename(&full, &self.path)?;
                return Err(error);
            }
        }
        (self.length, self.first, self.begun) = (0, next, now);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            tracing::warn!(folder = %folder.display(), %error, "a new record file may not survive a loss of power");
        }
        let removed = keep.map_or_else(Vec::new, |keep| self.remove_oldest(keep));
        Ok(Rotated { full, removed })
    }

    fn remove_oldest(&self, keep: usize) -> Vec<PathBuf> {
        let full = full_files(&self.path).unwrap_or_default();
        let over = full.len().saturating_sub(keep);
        let mut removed = Vec::new();
        for FullFile { path, .. } in full.into_iter().take(over) {
            match std::fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a record file is not removed: see `audit.rotate.keep`");
                }
            }
        }
        removed
    }
}

/// Takes the lock of a record file: only one process writes to it.
fn lock(path: &Path) -> Result<File, AuditFileError> {
    let beside = beside(path, ".lock");
    let lock = open_file(&beside).map_err(failed(&beside))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let path = path.to_owned();
            Err(AuditFileError::Locked { path })
        }
        Err(TryLockError::Error(source)) => {
            let path = beside;
            Err(AuditFileError::Io { path, source })
        }
    }
}

/// Opens a file for its owner only; what is written goes to its end.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Finds the last whole line whose hash is right: the end of the chain, and the bytes up to it.
/// `None` if there is none.
fn find_end(file: &mut File, length: u64) -> io::Result<(Option<ChainEnd>, u64, Resumed)> {
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(length - start).read_to_end(&mut tail)?;
    let mut rest = &*tail;
    while let Some(end) = memchr::memrchr(b'\n', rest) {
        let (before, _) = rest.split_at(end);
        let begin = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let (_, line) = before.split_at(begin);
        if let Some(found) = LineEnd::check(line) {
            let (earlier, _) = before.split_at(begin.saturating_sub(1));
            let resumed = Resumed {
                in_order: Some(is_stop(earlier, line)),
                ..Resumed::default()
            };
            let kept = start + end as u64 + 1;
            return Ok((Some(found.after()), kept, resumed));
        }
        rest = before;
    }
    Ok((None, 0, Resumed::default()))
}

/// Returns whether weir stopped in order: the last line is the checkpoint after its event.
fn is_stop(earlier: &[u8], last: &[u8]) -> bool {
    let earlier = earlier.rsplit(|byte| *byte == b'\n').next();
    let is = |line: &[u8], method: &str| {
        let head = RecordHead::parse(line);
        head.is_some_and(|head| head.method == method)
    };
    is(last, AuditEvent::CHECKPOINT) && earlier.is_some_and(|line| is(line, AuditEvent::STOP))
}

/// Returns whether there is nothing in a file but the beginning of a first line.
fn is_unbegun(file: &mut File, length: u64) -> bool {
    const BEGIN: &[u8] = b"{\"time\":\"";
    if length == 0 || length > LONGEST_LINE as u64 {
        return length == 0;
    }
    let mut all = Vec::new();
    let read = file.seek(SeekFrom::Start(0));
    let read = read.and_then(|_| file.take(LONGEST_LINE as u64).read_to_end(&mut all));
    let begins = all
        .iter()
        .zip(BEGIN)
        .all(|(found, expected)| found == expected);
    read.is_ok() && begins && !all.contains(&b'\n')
}

/// Moves the end of a file to a file beside it, and returns that.
fn move_end(file: &mut File, path: &Path, from: u64) -> io::Result<PathBuf> {
    let mut cut = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(TAIL).read_to_end(&mut cut)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let aside = beside(
        path,
        &format!(".cut-{}", now.unwrap_or_default().as_millis()),
    );
    durable::replace(&aside, &cut)?;
    file.set_len(from)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(end: &mut ChainEnd, method: &str) -> Vec<u8> {
        let line = crate::audit::AuditLine {
            time: Some(SystemTime::now()),
            method,
            ..Default::default()
        };
        let mut line = line.write();
        end.end_line(&mut line);
        line
    }

    /// A file with lines of these methods, and the end of their chain.
    fn written(path: &Path, methods: &[&str]) -> ChainEnd {
        let (mut file, mut end, _) = AuditFile::open(path).unwrap();
        for method in methods {
            file.append(&line(&mut end, method)).unwrap();
        }
        end
    }

    #[test]
    fn a_chain_goes_on_where_an_earlier_run_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/weir.jsonl");
        let first = written(&path, &["ping", "weir/stop", "weir/checkpoint"]);
        let (_, end, resumed) = AuditFile::open(&path).unwrap();
        assert_eq!((end, resumed.in_order, resumed.seq), (first, Some(true), 3));
        assert!(resumed.cut.is_none());
    }

    #[test]
    fn a_torn_last_line_is_moved_to_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let two = written(&path, &["ping", "ping"]);
        let whole = std::fs::read(&path).unwrap();
        let mut third = two;
        let third = line(&mut third, "ping");
        let tails: [&[u8]; 4] = [b"{", &third[..third.len() - 1], &[0; 4096], b"\n\nx\n"];
        for tail in tails {
            std::fs::write(&path, [&*whole, tail].concat()).unwrap();
            let (mut file, mut end, resumed) = AuditFile::open(&path).unwrap();
            assert_eq!((end, resumed.in_order), (two, Some(false)));
            let (bytes, aside) = resumed.cut.unwrap();
            assert_eq!(bytes, tail.len() as u64);
            assert_eq!(std::fs::read(&aside).unwrap(), tail);
            let next = line(&mut end, "ping");
            file.append(&next).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), [&*whole, &next].concat());
            std::fs::remove_file(aside).unwrap();
        }
    }

    #[test]
    fn the_first_line_may_be_torn_too_but_another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        for torn in ["", "{", "{\"time\":\"2026-"] {
            std::fs::write(&path, torn).unwrap();
            let (_, end, resumed) = AuditFile::open(&path).unwrap();
            assert_eq!((end, resumed.in_order), (ChainEnd::EMPTY, None), "{torn}");
            assert_eq!(std::fs::read(&path).unwrap(), b"");
        }
        for other in ["root:x:0:0\n", "x", "{\"time\":\"now\"}\n"] {
            std::fs::write(&path, other).unwrap();
            let opened = AuditFile::open(&path);
            assert!(
                matches!(opened, Err(AuditFileError::Foreign { .. })),
                "{other}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
    }

    #[test]
    fn only_one_weir_writes_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let first = AuditFile::open(&path).unwrap();
        let second = AuditFile::open(&path);
        assert!(matches!(second, Err(AuditFileError::Locked { .. })));
        drop(first);
        assert!(AuditFile::open(&path).is_ok());
    }

    #[test]
    fn the_chain_goes_on_in_the_next_file_and_only_some_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.jsonl");
        let (mut file, mut end, _) = AuditFile::open(&path).unwrap();
        let mut removed = 0;
        for _ in 0..4 {
            file.append(&line(&mut end, "ping")).unwrap();
            removed += file.rotate(end.seq + 1, Some(2)).unwrap().removed.len();
        }
        let left = full_files(&path).unwrap();
        let firsts: Vec<_> = left.iter().map(|file| file.first).collect();
        assert_eq!((firsts, removed), (vec![3, 4], 2));
        drop(file);
        // Killed between the two: there is no line in the new file yet.
        let (_, resumed, _) = AuditFile::open(&path).unwrap();
        assert_eq!(resumed, end);
        std::fs::remove_file(&path).unwrap();
        let (_, resumed, _) = AuditFile::open(&path).unwrap();
        assert_eq!(resumed, end);
    }
}
