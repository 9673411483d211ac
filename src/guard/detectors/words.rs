//! The words that say what a number is: where they are in a text.
//!
//! All words of all kinds are looked for at once, in a block of text, and only in blocks that have
//! a candidate: what a candidate costs does not depend on the number of words.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::boundary;
use super::{kinds, near_words};

/// The bytes before a value in which words about it are looked for, and those after it.
const BEFORE: usize = 80;
const AFTER: usize = 32;
/// The bytes between a word and a value that it stands right before.
const CLOSE: usize = 12;
/// The bytes between a value and the word in brackets after it.
const BRACKET: usize = 3;
/// The bytes of a block, and of the longest value that may reach over its end.
const BLOCK: usize = 512;
const LONGEST: usize = 64;
/// Words of at most this many characters have to be whole.
const SHORT: usize = 4;
/// The numbers of words that a set can hold.
const MOST: usize = 640;

/// A set of words.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WordSet([u64; MOST / 64]);

impl WordSet {
    fn insert(&mut self, word: usize) {
        if let Some(bits) = self.0.get_mut(word / 64) {
            *bits |= 1 << (word % 64);
        }
    }

    /// Returns whether two sets have a word in common.
    fn meets(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        pairs.fold(0, |common, (a, b)| common | (a & b)) != 0
    }

    fn has(&self, word: usize) -> bool {
        let bits = self.0.get(word / 64).copied().unwrap_or(0);
        bits >> (word % 64) & 1 == 1
    }
}

/// All words, by number.
struct Lexicon {
    ends: Vec<WordEnds>,
    numbers: BTreeMap<&'static str, usize>,
    finder: Option<AhoCorasick>,
}

/// Where a word counts.
#[derive(Clone, Copy)]
struct WordEnds {
    /// Only where it is a whole word.
    is_short: bool,
    /// Anywhere: a word of a script without spaces has no ends.
    is_free: bool,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let lists = kinds::all().map(|kind| kind.words);
    let lists = lists.chain([near_words::PHONE, near_words::BANK]);
    let mut numbers = BTreeMap::new();
    for word in lists.flatten() {
        let next = numbers.len();
        numbers.entry(*word).or_insert(next);
    }
    let mut words = vec![""; numbers.len()];
    for (word, number) in &numbers {
        if let Some(place) = words.get_mut(*number) {
            *place = *word;
        }
    }
    debug_assert!(words.len() <= MOST);
    let mut builder = AhoCorasick::builder();
    // A table of about a megabyte, twice as fast as the smaller kind.
    let finder = builder.kind(Some(AhoCorasickKind::DFA)).build(&words).ok();
    let ends = words.iter().map(|word| WordEnds {
        is_short: word.chars().nth(SHORT).is_none(),
        is_free: !word.is_ascii() && boundary::may_end(word, 0),
    });
    Lexicon {
        ends: ends.collect(),
        numbers,
        finder,
    }
});

/// Returns the set of some words, all of which are of a kind.
pub(super) fn set_of(words: &[&str]) -> WordSet {
    let mut set = WordSet::default();
    for word in words {
        if let Some(number) = LEXICON.numbers.get(word) {
            set.insert(*number);
        }
    }
    set
}

/// Words in a text, and in its name.
pub(super) struct Nearby {
    /// The words of the name: they are near everything.
    named: WordSet,
    /// The block that was looked at last, in small letters, and what is in it.
    block: Option<Block>,
}

struct Block {
    number: usize,
    /// Each occurrence, by its place in the text.
    found: Vec<(usize, Range<usize>)>,
    set: WordSet,
}

impl Nearby {
    /// Begins with the name of a text.
    pub(super) fn new(name: &str) -> Self {
        let mut named = WordSet::default();
        if !name.is_empty() {
            for (word, _) in occurrences(&spread(name)) {
                named.insert(word);
            }
        }
        Self { named, block: None }
    }

    /// Returns whether one of the words stands near a value.
    pub(super) fn has(&mut self, text: &str, value: Range<usize>, words: &WordSet) -> bool {
        self.named.meets(words)
            || self.in_text(text, value, words, |range, value| {
                let is_outside = range.end <= value.start || range.start >= value.end;
                let from = value.start.saturating_sub(BEFORE);
                is_outside && range.start >= from && range.end <= value.end + AFTER
            })
    }

    /// Returns whether one of the words stands right before a value, or in brackets right after it.
    pub(super) fn has_beside(&mut self, text: &str, value: Range<usize>, words: &WordSet) -> bool {
        self.named.meets(words)
            || self.in_text(text, value, words, |range, value| {
                let is_before = range.end <= value.start && range.end + CLOSE >= value.start;
                is_before || range.start >= value.end && range.start <= value.end + BRACKET
            })
    }

    fn in_text(
        &mut self,
        text: &str,
        value: Range<usize>,
        words: &WordSet,
        is_near: impl Fn(&Range<usize>, &Range<usize>) -> bool,
    ) -> bool {
        let number = value.start / BLOCK;
        if self
            .block
            .as_ref()
            .is_none_or(|block| block.number != number)
        {
            self.block = Some(Block::read(text, number));
        }
        let Some(block) = self.block.as_ref().filter(|block| block.set.meets(words)) else {
            return false;
        };
        let mut found = block.found.iter();
        found.any(|(word, range)| is_near(range, &value) && words.has(*word))
    }
}

impl Block {
    fn read(text: &str, number: usize) -> Self {
        let start = number * BLOCK;
        let from = text.floor_char_boundary(start.saturating_sub(BEFORE));
        let to = start + BLOCK + LONGEST + AFTER;
        let to = text.ceil_char_boundary(to.min(text.len()));
        let piece = text.get(from..to).unwrap_or_default();
        let (lower, places) = lower(piece);
        let place = |at: usize| from + places.get(at).copied().unwrap_or(at).min(piece.len());
        let (mut found, mut set) = (Vec::new(), WordSet::default());
        for (word, range) in occurrences(&lower) {
            set.insert(word);
            found.push((word, place(range.start)..place(range.end)));
        }
        Self { number, found, set }
    }
}

/// Returns a text in small letters, and for each byte the place in the text, unless it is the same:
/// the case of some letters changes their length.
fn lower(text: &str) -> (String, Vec<usize>) {
    if text.is_ascii() {
        return (text.to_ascii_lowercase(), Vec::new());
    }
    let mut lower = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len() + 1);
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let run = rest.bytes().take_while(u8::is_ascii).count();
        lower.push_str(&rest.get(..run).unwrap_or_default().to_ascii_lowercase());
        places.extend(at..at + run);
        at += run;
        if let Some(c) = rest.get(run..).and_then(|rest| rest.chars().next()) {
            lower.extend(c.to_lowercase());
            places.resize(lower.len(), at);
            at += c.len_utf8();
        }
    }
    places.push(text.len());
    (lower, places)
}

/// Returns the words in a text of small letters, and where they are.
fn occurrences(text: &str) -> Vec<(usize, Range<usize>)> {
    let Some(finder) = &LEXICON.finder else {
        return Vec::new();
    };
    let found = finder.find_overlapping_iter(text).filter_map(|found| {
        let number = found.pattern().as_usize();
        let WordEnds { is_short, is_free } = *LEXICON.ends.get(number)?;
        let counts = is_free
            || boundary::may_begin(text, found.start())
                && (!is_short || boundary::may_end(text, found.end()));
        counts.then_some((number, found.range()))
    });
    found.collect()
}

/// Returns a name in small letters, with spaces between its words: `customerPesel` and
/// `customer_pesel` alike. Only its first 256 bytes count.
fn spread(name: &str) -> String {
    let name = name
        .get(..name.floor_char_boundary(256))
        .unwrap_or_default();
    let mut words = String::with_capacity(name.len() + 8);
    let mut is_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && is_lower {
            words.push(' ');
        }
        is_lower = c.is_lowercase() || c.is_ascii_digit();
        if c == '_' || c == '-' {
            words.push(' ');
        } else {
            words.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(text: &str, name: &str, word: &str) -> bool {
        let start = text.find('1').unwrap();
        Nearby::new(name).has(text, start..start + 1, &set_of(&[word]))
    }

    #[test]
    fn words_are_found_before_and_after_and_in_the_name() {
        for text in [
            "My NHS number is 1",
            "1 (nhs)",
            "nhs:1",
            "NHS-Nr. 1",
            "nhs_1",
        ] {
            assert!(is_near(text, "", "nhs"), "{text}");
        }
        assert!(!is_near("unhsx 1", "", "nhs"));
        assert!(!is_near("nhsx 1", "", "nhs"));
        assert!(is_near("Steueridentifikationsnummer 1", "", "steuer"));
        assert!(is_near("ТЕЛЕФОН 1", "", "телефон"));
        assert!(is_near("私の電話番号は1", "", "電話"));
        for name in ["patientNhsNumber", "nhs_number", "NHS", "nhs"] {
            assert!(is_near("1", name, "nhs"), "{name}");
        }
        let far = format!("nhs {} 1", "x".repeat(100));
        assert!(!is_near(&far, "", "nhs"));
        let later = format!("{}NHS 1", "İ é ".repeat(300));
        assert!(is_near(&later, "", "nhs"));
    }
}
