//! Finds the first break of a chain.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::audit::chain::{ChainEnd, LineEnd, LineHash};
use crate::audit::checkpoint::{AuditPublicKey, Checkpoint};
use crate::audit::event::AuditEvent;
use crate::audit::line::LONGEST_LINE;
use crate::audit::query::RecordHead;
use crate::audit::writer::CHECKPOINT_LINES;

/// How a chain is checked.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The key that has to have signed every checkpoint. Without it, each is checked with the key
    /// that it names.
    pub key: Option<AuditPublicKey>,
    /// A file with copies of checkpoints that were kept elsewhere: all of them have to be in the
    /// chain.
    pub checkpoints: Option<PathBuf>,
}

/// A chain without a break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Its lines.
    pub lines: u64,
    /// The bytes of its files.
    pub bytes: u64,
    /// The number of the first line. More than 1: what was before is not in these files.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// Checkpoints, all with right signatures.
    pub checkpoints: u64,
    /// Lines after the last checkpoint, which nothing has signed.
    pub unsigned: u64,
    /// The keys that checkpoints name.
    pub keys: Vec<AuditPublicKey>,
    /// Lines that weir itself says are missing.
    pub gaps: u64,
}

/// The first break of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainBreak {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1 on; 0 is the file itself.
    pub line: u64,
    /// The kind of break.
    pub kind: BreakKind,
}

/// A kind of break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// The file cannot be read.
    Unreadable(String),
    /// The bytes of the line are not those that its hash was made of.
    Changed,
    /// The line is whole, but it is not the one that the next one was chained to.
    Replaced,
    /// Lines are missing before it: from the first number to before the second.
    Missing(u64, u64),
    /// It is not at its place: its number, and the one that should be here.
    Moved(u64, u64),
    /// The file ends within a line.
    Torn,
    /// Lines at the end are missing: a checkpoint that was kept elsewhere is of this line.
    Cut(u64),
    /// A checkpoint that was kept elsewhere has another hash for this line.
    Rewritten(u64),
    /// A checkpoint is signed by another key, or not at all.
    Signature,
    /// Weir would have signed before.
    Unsigned,
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            0 => write!(f, "{file}: ")?,
            line => write!(f, "{file}:{line}: ")?,
        }
        match &self.kind {
            BreakKind::Unreadable(error) => write!(f, "cannot be read: {error}"),
            BreakKind::Changed => f.write_str("changed: its bytes do not have its hash"),
            BreakKind::Replaced => {
                f.write_str("changed: it does not follow the line before it, by its `prev`")
            }
            BreakKind::Missing(from, to) if from + 1 == *to => {
                write!(f, "missing: the line {from} before it")
            }
            BreakKind::Missing(from, to) => {
                write!(f, "missing: the lines {from} to {} before it", to - 1)
            }
            BreakKind::Moved(found, expected) => {
                write!(f, "reordered: the line {found}, where {expected} belongs")
            }
            BreakKind::Torn => f.write_str("cut: the file ends within a line"),
            BreakKind::Cut(seq) => write!(
                f,
                "cut: there is a checkpoint of the line {seq}, which is not here any more"
            ),
            BreakKind::Rewritten(seq) => {
                write!(f, "changed: there is a checkpoint of another line {seq}")
            }
            BreakKind::Signature => {
                f.write_str("changed: the signature of this checkpoint is not that of the key")
            }
            BreakKind::Unsigned => write!(
                f,
                "changed: no checkpoint for more than {CHECKPOINT_LINES} lines before it"
            ),
        }
    }
}

/// A check under way.
struct Verifier<'o> {
    options: &'o VerifyOptions,
    /// The checkpoints that were kept elsewhere, by the numbers of their lines.
    kept: Vec<(u64, LineHash)>,
    found: Verified,
    end: Option<ChainEnd>,
    file: PathBuf,
    line: u64,
}

/// Checks the chain in these files, whatever their order.
///
/// # Errors
/// The first break.
pub fn verify(files: &[PathBuf], options: &VerifyOptions) -> Result<Verified, Box<ChainBreak>> {
    let mut verifier = Verifier {
        options,
        kept: Vec::new(),
        found: Verified::default(),
        end: None,
        file: PathBuf::new(),
        line: 0,
    };
    if let Some(path) = &options.checkpoints {
        verifier.read_checkpoints(path)?;
    }
    for file in in_order(files) {
        verifier.check_file(&file)?;
    }
    verifier.check_end()
}

/// Sorts files by the numbers of their first lines.
fn in_order(files: &[PathBuf]) -> Vec<PathBuf> {
    let first = |path: &PathBuf| {
        let mut line = Vec::new();
        let file = File::open(path).ok()?;
        let mut reader = io::Read::take(BufReader::new(file), LONGEST_LINE as u64);
        reader.read_until(b'\n', &mut line).ok()?;
        RecordHead::parse(&line).map(|head| head.seq)
    };
    let mut files: Vec<_> = files.iter().map(|path| (first(path), path)).collect();
    // Those without a number keep their places at the end: they are reported when their turn comes.
    files.sort_by_key(|(first, _)| first.unwrap_or(u64::MAX));
    files.into_iter().map(|(_, path)| path.clone()).collect()
}

impl Verifier<'_> {
    fn failed<T>(&self, kind: BreakKind) -> Result<T, Box<ChainBreak>> {
        Err(Box::new(ChainBreak {
            file: self.file.clone(),
            line: self.line,
            kind,
        }))
    }

    fn open(&mut self, path: &Path) -> Result<BufReader<File>, Box<ChainBreak>> {
        (self.file, self.line) = (path.to_owned(), 0);
        match File::open(path) {
            Ok(file) => Ok(BufReader::with_capacity(1 << 20, file)),
            Err(error) => self.failed(BreakKind::Unreadable(error.to_string())),
        }
    }

    /// Reads the checkpoints that were kept elsewhere.
    fn read_checkpoints(&mut self, path: &Path) -> Result<(), Box<ChainBreak>> {
        let mut reader = self.open(path)?;
        let mut line = Vec::new();
        while self.read_line(&mut reader, &mut line)? {
            let whole = LineEnd::check(&line);
            let (Some(whole), Some(checkpoint)) = (whole, Checkpoint::of_line(&line)) else {
                return self.failed(BreakKind::Changed);
            };
            self.check_signature(&checkpoint)?;
            self.kept.push((whole.seq, whole.hash));
        }
        self.kept
            .sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        Ok(())
    }

    /// Reads the next line, without its line break. Returns false at the end of the file.
    fn read_line(
        &mut self,
        reader: &mut BufReader<File>,
        line: &mut Vec<u8>,
    ) -> Result<bool, Box<ChainBreak>> {
        line.clear();
        let mut bounded = io::Read::take(&mut *reader, LONGEST_LINE as u64);
        let read = bounded.read_until(b'\n', line);
        if let Err(error) = read {
            return self.failed(BreakKind::Unreadable(error.to_string()));
        }
        if line.is_empty() {
            return Ok(false);
        }
        self.line += 1;
        self.found.bytes += line.len() as u64;
        match line.pop_if(|byte| *byte == b'\n') {
            Some(_) => Ok(true),
            None if line.len() >= LONGEST_LINE => self.failed(BreakKind::Changed),
            None => self.failed(BreakKind::Torn),
        }
    }

    fn check_file(&mut self, path: &Path) -> Result<(), Box<ChainBreak>> {
        let mut reader = self.open(path)?;
        let mut line = Vec::new();
        while self.read_line(&mut reader, &mut line)? {
            let Some(found) = LineEnd::check(&line) else {
                return self.failed(BreakKind::Changed);
            };
            self.check_place(&line, found, &mut reader)?;
            self.end = Some(found.after());
            self.check_line(&line, found)?;
        }
        Ok(())
    }

    /// Checks that a whole line follows the one before it.
    fn check_place(
        &mut self,
        line: &[u8],
        found: LineEnd,
        reader: &mut BufReader<File>,
    ) -> Result<(), Box<ChainBreak>> {
        let Some(end) = self.end else {
            self.found.first = found.seq;
            let begins = found.seq == 1 && found.prev == LineHash::NONE;
            let goes_on = || {
                let head = RecordHead::parse(line);
                head.is_some_and(|head| head.method == AuditEvent::ROTATE)
            };
            return match begins || (found.seq > 1 && goes_on()) {
                true => Ok(()),
                false => self.failed(BreakKind::Missing(1, found.seq)),
            };
        };
        let expected = end.seq + 1;
        if found.seq == expected && found.prev == end.hash {
            return Ok(());
        }
        let kind = match found.seq {
            seq if seq == expected => BreakKind::Replaced,
            seq if seq < expected => BreakKind::Moved(seq, expected),
            // It is missing, unless it comes later.
            seq => match self.comes_later(expected, reader) {
                true => BreakKind::Moved(seq, expected),
                false => BreakKind::Missing(expected, seq),
            },
        };
        self.failed(kind)
    }

    fn comes_later(&mut self, seq: u64, reader: &mut BufReader<File>) -> bool {
        let at = self.line;
        let mut line = Vec::new();
        let mut found = false;
        while !found && self.read_line(reader, &mut line).unwrap_or(false) {
            let end = LineEnd::check(&line);
            found = end.is_some_and(|end| end.seq == seq);
        }
        self.line = at;
        found
    }

    /// Checks what a line at its place says.
    fn check_line(&mut self, line: &[u8], found: LineEnd) -> Result<(), Box<ChainBreak>> {
        self.found.lines += 1;
        self.found.last = found.seq;
        while let Some((seq, hash)) = self.kept.pop_if(|(seq, _)| *seq <= found.seq) {
            let is_before = seq < self.found.first;
            if !is_before && (seq, hash) != (found.seq, found.hash) {
                return self.failed(BreakKind::Rewritten(seq));
            }
        }
        match Checkpoint::of_line(line) {
            Some(checkpoint) => {
                self.check_signature(&checkpoint)?;
                self.found.checkpoints += 1;
                self.found.unsigned = 0;
            }
            None => {
                self.found.unsigned += 1;
                self.found.gaps += gap(line);
            }
        }
        let is_long = self.found.unsigned > CHECKPOINT_LINES as u64;
        match is_long && self.options.key.is_some() {
            true => self.failed(BreakKind::Unsigned),
            false => Ok(()),
        }
    }

    fn check_signature(&mut self, checkpoint: &Checkpoint<'_>) -> Result<(), Box<ChainBreak>> {
        let named = checkpoint.key();
        let Some(key) = self.options.key.or(named) else {
            return self.failed(BreakKind::Signature);
        };
        if !checkpoint.is_signed_by(&key) {
            return self.failed(BreakKind::Signature);
        }
        if !self.found.keys.contains(&key) {
            self.found.keys.push(key);
        }
        Ok(())
    }

    /// Checks that the chain goes as far as the checkpoints that were kept elsewhere.
    fn check_end(mut self) -> Result<Verified, Box<ChainBreak>> {
        match self.kept.first() {
            Some((seq, _)) => {
                let seq = *seq;
                self.line += 1;
                self.failed(BreakKind::Cut(seq))
            }
            None => Ok(self.found),
        }
    }
}

/// Returns how many lines a line of weir's says are missing.
fn gap(line: &[u8]) -> u64 {
    static METHOD: LazyLock<Finder<'static>> =
        LazyLock::new(|| Finder::new(b",\"method\":\"weir/gap\",\"tool_name\":"));
    if METHOD.find(line).is_none() {
        return 0;
    }
    let line: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    let missing = line.and_then(|line| line.pointer("/event/missing")?.as_u64());
    missing.unwrap_or_default()
}

#[cfg(test)]
mod tests;
