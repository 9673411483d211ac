//! One file: text → raw model, with every mismatch reported and not only the first.
//!
//! ParsedDocument stops at the first mismatch, as serde does. So the culprit is reported, taken out of the tree, and
//! reading starts again, until what is left fits. What was taken out is remembered: nobody complains that it
//! is missing.

use std::collections::HashSet;
use std::path::{Path as FilePath, PathBuf};

use serde::de::DeserializeOwned;

use super::error::{Problem, ProblemKind};
use crate::document::de::{DeError, Mismatch, NodeReader};
use crate::document::node::{Node, Position, Value};
use crate::document::parse;
use crate::document::path::{KeyPath, Segment};

/// The most mismatches that are reported for one file.
const MAX_MISMATCHES: usize = 100;

/// A file whose raw model has been read, with the positions of everything in it.
#[derive(Debug)]
pub(super) struct SourceFile {
    file: PathBuf,
    order: usize,
    root: Node,
    /// Keys that were taken out, and those they were probably meant to be, by the path of their mapping.
    excused: HashSet<(KeyPath, String)>,
}

/// Reads a file's text, adding what is wrong with it to `problems`. What cannot be read is the default.
pub(super) fn read<T: DeserializeOwned + Default>(
    text: &str,
    file: &FilePath,
    order: usize,
    problems: &mut Vec<Problem>,
) -> (T, SourceFile) {
    let reading = parse::parse(text);
    let broken = reading.root.is_none();
    let mut source = SourceFile {
        file: file.to_owned(),
        order,
        root: reading.root.unwrap_or(Node {
            at: Position::START,
            value: Value::Null,
        }),
        excused: HashSet::new(),
    };
    for (at, error) in reading.errors {
        problems.push(source.problem(Some(at), &KeyPath::default(), error.into()));
    }
    if broken {
        return (T::default(), source);
    }
    for _ in 0..MAX_MISMATCHES {
        match T::deserialize(NodeReader::new(&source.root)) {
            Ok(raw) => return (raw, source),
            Err(error) => {
                if !source.take_out(error, problems) {
                    return (T::default(), source);
                }
            }
        }
    }
    problems.push(source.problem(None, &KeyPath::default(), ProblemKind::TooMany));
    (T::default(), source)
}

impl SourceFile {
    /// Returns the path of the file, as it was given.
    pub(super) fn file(&self) -> &FilePath {
        &self.file
    }

    /// A kind at a place of the raw model.
    pub(super) fn problem_at(&self, path: &KeyPath, kind: ProblemKind) -> Problem {
        let (at, path) = self.locate(path);
        self.problem(Some(at), &path, kind)
    }

    /// Returns the position of a place of the raw model: of its key, or of the nearest one around
    /// it that is written.
    pub(super) fn position(&self, path: &KeyPath) -> Position {
        self.locate(path).0
    }

    /// Returns the text at a place of the raw model, if it is a text.
    pub(super) fn text(&self, path: &KeyPath) -> Option<&str> {
        let mut node = &self.root;
        for segment in path.segments() {
            node = match segment {
                Segment::Key(key) => &node.get(key)?.node,
                Segment::Index(index) => nth(node, *index)?.1,
            };
        }
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Removed => None,
        }
    }

    /// Returns whether this key was reported already, so that its absence is not reported too.
    pub(super) fn is_excused(&self, parent: &KeyPath, key: &str) -> bool {
        self.excused.contains(&(parent.clone(), key.to_owned()))
    }

    fn problem(&self, at: Option<Position>, path: &KeyPath, kind: ProblemKind) -> Problem {
        Problem {
            file: self.file.clone(),
            order: self.order,
            at,
            path: path.to_string(),
            kind,
        }
    }

    /// The position of a path of the raw model, and the path as it is in the file: lists there may have had
    /// more items.
    fn locate(&self, path: &KeyPath) -> (Position, KeyPath) {
        let mut node = Some(&self.root);
        let mut at = self.root.at;
        let mut written = KeyPath::default();
        for segment in path.segments() {
            match segment {
                Segment::Key(key) => {
                    let entry = node.and_then(|node| node.get(key));
                    node = entry.map(|entry| &entry.node);
                    at = entry.map_or(at, |entry| entry.at);
                    written = written.key(key);
                }
                Segment::Index(index) => {
                    let item = node.and_then(|node| nth(node, *index));
                    node = item.map(|(_, item)| item);
                    at = item.map_or(at, |(_, item)| item.at);
                    written = written.item(item.map_or(*index, |(index, _)| index));
                }
            }
        }
        // The value says more than its key, where both stand in one line.
        if let Some(node) = node
            && node.at.line == at.line
            && !matches!(node.value, Value::Map(_))
        {
            at = node.at;
        }
        (at, written)
    }

    /// Reports a mismatch unless it follows from an earlier one, and takes its node out. False at the root.
    fn take_out(&mut self, error: DeError, problems: &mut Vec<Problem>) -> bool {
        let (at, path) = (error.position(), error.path());
        let follows = match &error.kind {
            Mismatch::MissingKey { key } => self.is_excused(&path, key),
            Mismatch::NotOneKey { .. } => self.excused.iter().any(|(parent, _)| *parent == path),
            Mismatch::UnknownKey { .. }
            | Mismatch::UnknownWord { .. }
            | Mismatch::WrongType { .. }
            | Mismatch::BareSecret
            | Mismatch::Said(_) => false,
        };
        let kind = kind_of(error.kind);
        if let (Some((parent, _)), Some(meant)) = (path.split(), kind.suggestion()) {
            self.excused.insert((parent, meant.to_owned()));
        }
        if !follows {
            problems.push(self.problem(Some(at), &path, kind));
        }
        let Some((parent, last)) = path.split() else {
            return false;
        };
        if let Segment::Key(key) = last {
            self.excused.insert((parent.clone(), key.clone()));
        }
        remove(&mut self.root, parent.segments(), last);
        true
    }
}

/// The list item that readers see as number `index`, and its number in the file.
fn nth(node: &Node, index: usize) -> Option<(usize, &Node)> {
    let Value::List(items) = &node.value else {
        return None;
    };
    let present = |(_, item): &(usize, &Node)| !matches!(item.value, Value::Removed);
    items.iter().enumerate().filter(present).nth(index)
}

fn remove(node: &mut Node, parent: &[Segment], last: &Segment) {
    let Some((first, rest)) = parent.split_first() else {
        match (&mut node.value, last) {
            (Value::Map(entries), Segment::Key(key)) => entries.retain(|entry| entry.key != *key),
            (Value::List(items), Segment::Index(index)) => {
                if let Some(item) = items.get_mut(*index) {
                    item.value = Value::Removed;
                }
            }
            _ => {}
        }
        return;
    };
    let child = match (&mut node.value, first) {
        (Value::Map(entries), Segment::Key(key)) => entries
            .iter_mut()
            .find(|entry| entry.key == *key)
            .map(|entry| &mut entry.node),
        (Value::List(items), Segment::Index(index)) => items.get_mut(*index),
        _ => None,
    };
    if let Some(child) = child {
        remove(child, rest, last);
    }
}

/// Returns what is wrong with an unknown key that is a known one, badly written.
fn misspelt_key(key: &str, expected: &[&'static str]) -> Option<ProblemKind> {
    if key.trim() != key {
        return Some(ProblemKind::OddBlank);
    }
    let (word, _) = key.split_once(':')?;
    let known = expected.iter().find(|known| **known == word)?;
    Some(ProblemKind::NoBlank { key: known })
}

fn kind_of(mismatch: Mismatch) -> ProblemKind {
    if let Mismatch::UnknownKey { key, expected } = &mismatch
        && let Some(kind) = misspelt_key(key, expected)
    {
        return kind;
    }
    match mismatch {
        Mismatch::UnknownKey { key, expected } => ProblemKind::UnknownKey {
            expected,
            suggestion: suggest(&key, expected),
        },
        Mismatch::UnknownWord { found, expected } => ProblemKind::UnknownWord {
            suggestion: suggest(&found, expected),
            found,
            expected,
        },
        Mismatch::MissingKey { key } => ProblemKind::MissingKey { key },
        Mismatch::WrongType { expected, found } => ProblemKind::WrongType { expected, found },
        Mismatch::NotOneKey { expected } => ProblemKind::NotOneKey { expected },
        Mismatch::BareSecret => ProblemKind::BareSecret,
        Mismatch::Said(text) => ProblemKind::Form(text),
    }
}

/// The word that was probably meant: the nearest one, if it is near.
fn suggest(found: &str, expected: &[&'static str]) -> Option<&'static str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let found = plain(found);
    let near = |word: &&'static str| {
        let distance = strsim::damerau_levenshtein(&found, &plain(word));
        (distance, *word)
    };
    let (distance, word) = expected
        .iter()
        .map(near)
        .min_by_key(|(distance, _)| *distance)?;
    let longest = found.chars().count().max(word.chars().count());
    let near = distance * 5 <= longest * 2 && distance < longest;
    let begun = |word: &&&str| found.len() >= 3 && word.starts_with(&found);
    near.then_some(word)
        .or_else(|| expected.iter().find(begun).copied())
}
