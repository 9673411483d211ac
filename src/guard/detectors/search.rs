//! A search of one text: what was found so far, and the words near a place.

use super::words::{Nearby, WordSet};

/// A value that was found, before overlaps are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub start: usize,
    pub end: usize,
    /// The place of its class among those that are looked for.
    pub class: u16,
    pub evidence: Evidence,
}

/// Why a value is taken for one of its class, the weakest reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// It encloses what other classes find, and gives way to them.
    Container,
    /// Its form, which other things have too.
    Guess,
    /// Its form.
    Form,
    /// Its form, and a word nearby.
    FormAndWord,
    /// Its checksum.
    Checksum,
    /// Its checksum, and a word nearby.
    ChecksumAndWord,
}

/// A text, and what was found in it.
pub(super) struct TextSearch<'t> {
    /// The text.
    pub text: &'t str,
    /// The values that were found, roughly in order.
    pub hits: Vec<Hit>,
    nearby: Nearby,
}

impl<'t> TextSearch<'t> {
    /// Begins the search of a text. `name` is that of the member that it is the value of: words in
    /// it are near everything.
    pub(super) fn new(text: &'t str, name: &str) -> Self {
        Self {
            text,
            hits: Vec::new(),
            nearby: Nearby::new(name),
        }
    }

    /// Returns the bytes of the text.
    pub(super) fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    /// Adds what was found.
    pub(super) fn add(&mut self, start: usize, end: usize, class: u16, evidence: Evidence) {
        self.hits.push(Hit {
            start,
            end,
            class,
            evidence,
        });
    }

    /// Returns whether one of the words stands near a value.
    pub(super) fn has_word(&mut self, start: usize, end: usize, words: &WordSet) -> bool {
        self.nearby.has(self.text, start..end, words)
    }

    /// Returns whether one of the words stands right beside a value.
    pub(super) fn has_word_beside(&mut self, start: usize, end: usize, words: &WordSet) -> bool {
        self.nearby.has_beside(self.text, start..end, words)
    }
}
