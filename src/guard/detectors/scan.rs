//! The one pass over a text: each word, and each sign that values are known by, is looked at once,
//! by the detectors that it can begin.

use super::kinds::ValueKind;
use super::layout::Following;
use super::network::UrlClasses;
use super::search::{Evidence, TextSearch};
use super::words::WordSet;
use super::{banks, email, keys, layout, network, phone, wallets};

/// The most values that are told apart in one text. The rest of a text with more is one value.
pub(super) const MOST: usize = 250_000;

/// The detectors of a set of classes, each with the place of its class among them.
#[derive(Default)]
pub(super) struct ScanPlan {
    pub email: Option<u16>,
    pub iban: Option<u16>,
    pub swift: Option<u16>,
    pub ip: Option<u16>,
    pub mac: Option<u16>,
    pub phone: Option<u16>,
    pub crypto: Option<u16>,
    pub api_key: Option<u16>,
    pub jwt: Option<u16>,
    pub private_key: Option<u16>,
    pub aws_access_key: Option<u16>,
    pub aws_secret_key: Option<u16>,
    pub urls: UrlClasses,
    /// The words near telephone numbers, and near codes of banks.
    pub phone_words: WordSet,
    pub bank_words: WordSet,
    /// Layouts whose first group is digits, by its length.
    pub digits: Vec<Vec<Candidate>>,
    /// Layouts whose first group has letters, by its length.
    pub letters: Vec<Vec<Candidate>>,
}

/// A layout, and the kind of values that has it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub class: u16,
    pub layout: &'static str,
    pub kind: &'static ValueKind,
    /// The words that stand near such a value.
    pub words: WordSet,
    /// Whether a word has to be near.
    pub is_vague: bool,
    /// The characters after its first group.
    pub following: Following,
}

/// A word of ASCII letters and digits.
#[derive(Clone, Copy)]
struct Word {
    start: usize,
    end: usize,
    signs: u8,
}

const DIGIT: u8 = 1;
const CAPITAL: u8 = 2;
const SMALL: u8 = 4;
/// Not in words, but begins something.
const SIGN: u8 = 8;

/// The kind of each byte; 0 if it neither is in a word nor begins something.
#[allow(clippy::indexing_slicing, reason = "made when weir is compiled")]
static SIGNS: [u8; 256] = {
    let mut signs = [0; 256];
    let mut byte = 0;
    while byte < signs.len() {
        signs[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => CAPITAL,
            b'a'..=b'z' => SMALL,
            b'@' | b'%' | b':' | b'-' | b'\\' => SIGN,
            _ => 0,
        };
        byte += 1;
    }
    signs
};

fn sign(byte: u8) -> u8 {
    SIGNS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Looks through a text, until there are more values than [`MOST`].
pub(super) fn scan(plan: &ScanPlan, search: &mut TextSearch<'_>) {
    let bytes = search.bytes();
    let (mut at, mut url_end) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match sign(byte) {
            0 => at += 1,
            SIGN => at += read_sign(plan, search, at, byte, &mut url_end),
            first => {
                let start = at;
                let mut signs = first;
                at += 1;
                while let Some(more) = bytes.get(at).map(|byte| sign(*byte))
                    && more & (DIGIT | CAPITAL | SMALL) != 0
                {
                    signs |= more;
                    at += 1;
                }
                let word = Word {
                    start,
                    end: at,
                    signs,
                };
                read_word(plan, search, word, &mut url_end);
            }
        }
        if search.hits.len() > MOST {
            return;
        }
    }
}

/// Looks at a sign, and returns how many bytes were read.
fn read_sign(
    plan: &ScanPlan,
    search: &mut TextSearch<'_>,
    at: usize,
    byte: u8,
    url_end: &mut usize,
) -> usize {
    let bytes = search.bytes();
    let rest = bytes.get(at..).unwrap_or_default();
    match (byte, rest) {
        (b'@', _) => {
            if let Some(class) = plan.email {
                email::find(search, class, at, at + 1);
            }
            1
        }
        (b'%', [_, b'4', b'0', ..]) => {
            if let Some(class) = plan.email {
                email::find(search, class, at, at + 3);
            }
            3
        }
        // Percent-encoding (RFC 3986 §2.1): its digits are no part of a word.
        (b'%', [_, a, b, ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
        // An escape of a string inside a string.
        (b'\\', [_, b'n' | b't' | b'r' | b'"', ..]) => 2,
        (b':', [_, b'/', b'/', ..]) if at >= *url_end => {
            if plan.urls.url.is_some() || plan.urls.password.is_some() {
                *url_end = network::find_url(search, plan.urls, at).unwrap_or(*url_end);
            }
            3
        }
        (b':', [_, b':', ..]) => {
            if let Some(class) = plan.ip {
                network::find_ipv6(search, class, at);
            }
            1
        }
        (b'-', [_, b'-', b'-', b'-', b'-', b'B', ..]) => {
            let end = plan
                .private_key
                .and_then(|class| keys::find_private_key(search, class, at));
            end.map_or(1, |end| end.saturating_sub(at).max(1))
        }
        _ => 1,
    }
}

/// Looks at a word.
fn read_word(plan: &ScanPlan, search: &mut TextSearch<'_>, word: Word, url_end: &mut usize) {
    let Word { start, end, signs } = word;
    let length = end - start;
    let bytes = search.bytes();
    let next = bytes.get(end).copied().unwrap_or_default();
    if signs & DIGIT != 0 {
        read_digits(plan, search, word, next);
    }
    if signs & (CAPITAL | SMALL) != 0 {
        read_letters(plan, search, word, next);
    }
    if let Some(class) = plan.api_key
        && length >= 2
    {
        keys::find_api_key(search, class, start);
    }
    if let Some(class) = plan.urls.url
        && next == b'.'
        && length == 3
        && start >= *url_end
    {
        *url_end = network::find_www(search, class, start).unwrap_or(*url_end);
    }
    if matches!(next, b':' | b'-' | b'.') && length <= 4 {
        if let Some(class) = plan.mac {
            network::find_mac(search, class, start, end);
        }
        if let Some(class) = plan.ip
            && next == b':'
        {
            network::find_ipv6(search, class, start);
        }
    }
}

/// Looks at a word with digits.
fn read_digits(plan: &ScanPlan, search: &mut TextSearch<'_>, word: Word, next: u8) {
    let Word { start, end, signs } = word;
    let length = end - start;
    let table = if signs == DIGIT {
        &plan.digits
    } else {
        &plan.letters
    };
    if let Some(candidates) = table.get(length) {
        read_layouts(search, start, end, candidates);
    }
    if signs == DIGIT {
        if let Some(class) = plan.ip
            && next == b'.'
            && length <= 3
        {
            network::find_ipv4(search, class, start);
        }
        if let Some(class) = plan.phone
            && length <= 15
        {
            phone::find(search, class, start, &plan.phone_words);
        }
    }
    if let Some(class) = plan.crypto
        && length >= 26
    {
        wallets::find(search, class, start, end);
    }
}

/// Looks at a word with letters.
fn read_letters(plan: &ScanPlan, search: &mut TextSearch<'_>, word: Word, next: u8) {
    let Word { start, end, signs } = word;
    let length = end - start;
    let bytes = search.bytes();
    if signs & DIGIT == 0 && length <= 4 {
        // A word of letters begins a layout only where it is a short group of its own.
        if let Some(candidates) = plan.letters.get(length)
            && !candidates.is_empty()
        {
            read_layouts(search, start, end, candidates);
        }
    }
    if let Some(class) = plan.iban
        && (signs & DIGIT != 0 || length == 2)
    {
        banks::find_iban(search, class, start);
    }
    if let Some(class) = plan.swift
        && signs & SMALL == 0
    {
        banks::find_swift(search, class, start, end, &plan.bank_words);
    }
    if let Some(class) = plan.jwt
        && bytes
            .get(start..)
            .is_some_and(|rest| rest.starts_with(b"eyJ"))
    {
        keys::find_jwt(search, class, start);
    }
    if let Some(class) = plan.aws_access_key
        && length == 20
    {
        keys::find_aws_access_key(search, class, start, end);
    }
    if let Some(class) = plan.aws_secret_key
        && (length >= 39 || matches!(next, b'/' | b'+'))
    {
        keys::find_aws_secret_key(search, class, start);
    }
}

/// Looks for values in the layouts that may begin with a word.
fn read_layouts(
    search: &mut TextSearch<'_>,
    start: usize,
    word_end: usize,
    candidates: &[Candidate],
) {
    let found = Following::found(search.bytes(), word_end);
    let fitting = candidates.iter();
    // Many kinds have the same layout.
    let mut last = ("", None);
    for candidate in fitting.filter(|candidate| candidate.following.may_be(found)) {
        let kind = candidate.kind;
        if last.0 != candidate.layout {
            let read = layout::read(candidate.layout, search.text, start);
            last = (candidate.layout, read);
        }
        let Some((value, end)) = &last.1 else {
            continue;
        };
        let end = *end;
        if !(kind.check)(value.as_bytes()) {
            continue;
        }
        let has_word = match kind.is_close {
            false => search.has_word(start, end, &candidate.words),
            true => search.has_word_beside(start, end, &candidate.words),
        };
        if candidate.is_vague && !has_word {
            continue;
        }
        let evidence = match (kind.has_checksum, has_word) {
            (true, true) => Evidence::ChecksumAndWord,
            (true, false) => Evidence::Checksum,
            (false, true) => Evidence::FormAndWord,
            (false, false) => Evidence::Form,
        };
        search.add(start, end, candidate.class, evidence);
    }
}
