//! Finds values of classes of data in text.
//!
//! Text is passed over once (`scan`); where a word or a sign can begin a value, its layout is read
//! (`layout`, `kinds`), and its checksum decides (`checks`). Kinds of numbers whose checksum says
//! too little are found near words that name them (`search`). Time is linear in the text whatever
//! it is, and there is no backtracking. Names, addresses and the like need a model: no pattern
//! pretends to find them.

mod banks;
mod boundary;
mod checks;
mod email;
mod folding;
mod keys;
mod kinds;
mod layout;
mod near_words;
mod network;
mod overlaps;
mod phone;
mod scan;
mod search;
mod wallets;
mod words;

use std::fmt;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::classes::Class;

use kinds::ValueKind;
use layout::Following;
use network::UrlClasses;
use scan::{Candidate, ScanPlan};
use search::{Evidence, Hit, TextSearch};

/// The most patterns of a config's own, and the most bytes that one of them compiles to.
const PATTERNS: usize = 256;
const PATTERN_BYTES: usize = 1 << 20;
/// The most digits of a number that is looked at.
const NUMBER: usize = 40;

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Its class.
    pub class: Class,
    /// Where it is, in bytes of the text.
    pub range: Range<usize>,
}

/// Detectors of some classes.
pub struct Detectors {
    classes: Vec<Class>,
    plan: ScanPlan,
    /// The patterns of the config, each with the place of its class.
    patterns: Vec<(u16, Regex)>,
}

/// Why detectors cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DetectorsError {
    /// Nothing finds values of the class in text.
    #[error(
        "{0} is not found in text: it needs a pattern under `detectors`, a path under `fields`, or a hook"
    )]
    NotDetected(Class),
    /// The pattern is no regular expression, or none that is matched in linear time.
    #[error("the pattern of {class} cannot be used")]
    Pattern {
        /// The class that it is for.
        class: Class,
        /// The reason.
        #[source]
        source: Box<regex::Error>,
    },
    /// The pattern finds nothing in many places.
    #[error("the pattern of {0} matches the empty text")]
    Empty(Class),
    /// There are too many.
    #[error("there are more than {PATTERNS} patterns")]
    Many,
}

impl Detectors {
    /// Makes detectors of these classes. `patterns` are those of a config: regular expressions
    /// without look-around and back-references, in the syntax of the crate `regex`, matched with
    /// case and anywhere in the text.
    ///
    /// Where values overlap, the longer wins. A class whose values are only reported belongs to
    /// detectors of its own, so that it does not hide one whose values may not pass.
    ///
    /// # Errors
    /// A class that nothing finds, or a pattern that cannot be used.
    pub fn compile<'p>(
        classes: impl IntoIterator<Item = Class>,
        patterns: impl IntoIterator<Item = (Class, &'p str)>,
    ) -> Result<Self, DetectorsError> {
        let mut detectors = Self {
            classes: Vec::new(),
            plan: ScanPlan::default(),
            patterns: Vec::new(),
        };
        for (class, pattern) in patterns {
            if detectors.patterns.len() == PATTERNS {
                return Err(DetectorsError::Many);
            }
            let regex = compile_pattern(&class, pattern)?;
            let place = detectors.place(&class);
            detectors.patterns.push((place, regex));
        }
        for class in classes {
            let has_pattern = detectors.classes.contains(&class);
            if !class.is_detected() && !has_pattern {
                return Err(DetectorsError::NotDetected(class));
            }
            detectors.place(&class);
        }
        detectors.plan = plan(&detectors.classes);
        Ok(detectors)
    }

    /// Returns the place of a class, which is added if it is new.
    fn place(&mut self, class: &Class) -> u16 {
        let found = self.classes.iter().position(|known| known == class);
        let place = found.unwrap_or_else(|| {
            self.classes.push(class.clone());
            self.classes.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// Finds values in a text: in order, and none overlaps another.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Detection> {
        self.find_named("", text)
    }

    /// Finds values in the text of a member: its name counts as a word near the text, as in
    /// `{"pesel": "44051401359"}`.
    #[must_use]
    pub fn find_named(&self, name: &str, text: &str) -> Vec<Detection> {
        let hits = self.hits(name, text);
        let detections = overlaps::resolve(hits).into_iter().filter_map(|hit| {
            let class = self.classes.get(usize::from(hit.class))?.clone();
            let range = hit.start..hit.end;
            Some(Detection { class, range })
        });
        detections.collect()
    }

    /// Finds the class of a number that is a value as a whole: digits of a JSON number, `4111111111111111`.
    /// Only a checksum, or the name of the member, makes a number a value of a class.
    #[must_use]
    pub fn find_in_number(&self, name: &str, number: &str) -> Option<Class> {
        if number.len() > NUMBER || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let hits = self.hits(name, number).into_iter();
        let whole = hits.filter(|hit| hit.end - hit.start == number.len());
        let found = whole.filter(|hit| hit.evidence >= Evidence::FormAndWord);
        let best = found.max_by_key(|hit| (hit.evidence, std::cmp::Reverse(hit.class)))?;
        self.classes.get(usize::from(best.class)).cloned()
    }

    fn hits(&self, name: &str, text: &str) -> Vec<Hit> {
        let mut hits = if folding::is_needed(text) {
            let pieces = folding::pieces(text);
            let found = pieces.flat_map(|piece| {
                let hits = self.hits_as_written(name, &piece.text).into_iter();
                hits.filter_map(|hit| piece.place(hit)).collect::<Vec<_>>()
            });
            found.take(scan::MOST + 1).collect()
        } else {
            self.hits_as_written(name, text)
        };
        // Too many to be told apart: all of the rest is one.
        if hits.len() > scan::MOST
            && let Some(last) = hits.last().copied()
        {
            let evidence = Evidence::ChecksumAndWord;
            let end = text.len();
            hits.push(Hit {
                end,
                evidence,
                ..last
            });
            return hits;
        }
        let mut left = scan::MOST.saturating_sub(hits.len());
        for (class, regex) in &self.patterns {
            for found in regex.find_iter(text).filter(|found| !found.is_empty()) {
                let is_last = left == 0;
                left = left.saturating_sub(1);
                hits.push(Hit {
                    start: found.start(),
                    end: if is_last { text.len() } else { found.end() },
                    class: *class,
                    evidence: Evidence::Form,
                });
                if is_last {
                    return hits;
                }
            }
        }
        hits
    }

    fn hits_as_written(&self, name: &str, text: &str) -> Vec<Hit> {
        let mut search = TextSearch::new(text, name);
        scan::scan(&self.plan, &mut search);
        search.hits
    }

    /// Returns whether there is nothing to find.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

impl fmt::Debug for Detectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detectors").field(&self.classes).finish()
    }
}

/// Returns whether values of a class are told from others by a checksum.
#[must_use]
pub fn has_checksum(class: &Class) -> bool {
    let own = ["INTERNATIONAL_BANK_ACCOUNT_NUMBER", "CRYPTO"];
    let is_checked = |kind: &ValueKind| kind.has_checksum && kind.class == class.name();
    own.contains(&class.name()) || kinds::all().any(is_checked)
}

fn compile_pattern(class: &Class, pattern: &str) -> Result<Regex, DetectorsError> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build()
        .map_err(|source| DetectorsError::Pattern {
            class: class.clone(),
            source: Box::new(source),
        })?;
    if regex.is_match("") {
        return Err(DetectorsError::Empty(class.clone()));
    }
    Ok(regex)
}

/// Makes the plan of the detectors of these classes.
fn plan(classes: &[Class]) -> ScanPlan {
    let place = |name: &str| {
        let found = classes.iter().position(|class| class.name() == name);
        found.and_then(|place| u16::try_from(place).ok())
    };
    let mut plan = ScanPlan {
        email: place("EMAIL"),
        iban: place("INTERNATIONAL_BANK_ACCOUNT_NUMBER"),
        swift: place("SWIFT_CODE"),
        ip: place("IP_ADDRESS"),
        mac: place("MAC_ADDRESS"),
        phone: place("PHONE"),
        crypto: place("CRYPTO"),
        api_key: place("API_KEY"),
        jwt: place("JSON_WEB_TOKEN"),
        private_key: place("PRIVATE_KEY"),
        aws_access_key: place("AWS_ACCESS_KEY"),
        aws_secret_key: place("AWS_SECRET_KEY"),
        urls: UrlClasses {
            url: place("URL"),
            password: place("PASSWORD"),
        },
        phone_words: words::set_of(near_words::PHONE),
        bank_words: words::set_of(near_words::BANK),
        digits: vec![Vec::new(); layout::MOST + 1],
        letters: vec![Vec::new(); layout::MOST + 1],
    };
    for kind in kinds::all() {
        if let Some(class) = place(kind.class) {
            add(&mut plan, class, kind);
        }
    }
    plan
}

fn add(plan: &mut ScanPlan, class: u16, kind: &'static ValueKind) {
    let words = words::set_of(kind.words);
    let known = kind.layouts.iter().map(|layout| (layout, false));
    let vague = kind.vague.iter().map(|layout| (layout, true));
    for (layout, is_vague) in known.chain(vague) {
        let candidate = Candidate {
            class,
            layout,
            kind,
            words,
            is_vague,
            following: Following::of(layout),
        };
        let (length, may_be_digits, may_have_letters) = layout::first_group(layout);
        if may_be_digits && let Some(list) = plan.digits.get_mut(length) {
            list.push(candidate.clone());
        }
        if may_have_letters && let Some(list) = plan.letters.get_mut(length) {
            list.push(candidate);
        }
    }
}

#[cfg(test)]
mod tests;
