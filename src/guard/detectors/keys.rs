//! Keys and secrets whose form tells what they are.

use std::sync::LazyLock;

use super::boundary;
use super::search::{Evidence, TextSearch};

/// The most bytes of one key, but for those of certificates and tokens.
const MOST: usize = 512;

/// How the keys of one service look: a beginning, then so many characters of a set.
struct KeyForm {
    begins: &'static str,
    fewest: usize,
    most: usize,
    characters: Characters,
}

#[derive(Clone, Copy)]
enum Characters {
    /// Letters and digits.
    Alphanumeric,
    /// Those of base64url: `-` and `_` too.
    Base64Url,
    /// Small hexadecimal digits.
    Hex,
    /// Those of base64url, and dots.
    Dotted,
}

impl Characters {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
        }
    }
}

const fn form(begins: &'static str, fewest: usize, most: usize, characters: Characters) -> KeyForm {
    KeyForm {
        begins,
        fewest,
        most,
        characters,
    }
}

/// Keys of services, as their documentation has them. The longer beginning comes first.
const FORMS: &[KeyForm] = &[
    form("AGE-SECRET-KEY-1", 58, 58, Characters::Alphanumeric),
    form("AIza", 35, 35, Characters::Base64Url),
    form("GOCSPX-", 28, 28, Characters::Base64Url),
    form("SG.", 60, 70, Characters::Dotted),
    form("dop_v1_", 64, 64, Characters::Hex),
    form("ghp_", 36, 251, Characters::Alphanumeric),
    form("gho_", 36, 251, Characters::Alphanumeric),
    form("ghu_", 36, 251, Characters::Alphanumeric),
    form("ghs_", 36, 251, Characters::Alphanumeric),
    form("ghr_", 36, 251, Characters::Alphanumeric),
    form("github_pat_", 50, 251, Characters::Base64Url),
    form("glpat-", 20, 64, Characters::Base64Url),
    form("hf_", 30, 64, Characters::Alphanumeric),
    form("npm_", 36, 36, Characters::Alphanumeric),
    form("pypi-AgE", 40, MOST, Characters::Base64Url),
    form("rk_live_", 16, 247, Characters::Alphanumeric),
    form("rk_test_", 16, 247, Characters::Alphanumeric),
    form("sk_live_", 16, 247, Characters::Alphanumeric),
    form("sk_test_", 16, 247, Characters::Alphanumeric),
    form("sk-ant-", 32, 256, Characters::Base64Url),
    form("sk-proj-", 32, 256, Characters::Base64Url),
    form("sk-", 32, 128, Characters::Alphanumeric),
    form("shpat_", 32, 32, Characters::Hex),
    form("weir_", 50, 128, Characters::Base64Url),
    form("whsec_", 24, 128, Characters::Alphanumeric),
    form("xapp-", 30, 255, Characters::Base64Url),
    form("xoxa-", 10, 255, Characters::Base64Url),
    form("xoxb-", 10, 255, Characters::Base64Url),
    form("xoxe-", 10, 255, Characters::Base64Url),
    form("xoxp-", 10, 255, Characters::Base64Url),
    form("xoxr-", 10, 255, Characters::Base64Url),
    form("xoxs-", 10, 255, Characters::Base64Url),
    form("ya29.", 30, MOST, Characters::Base64Url),
];

/// The pairs of bytes that keys begin with, a bit for each.
static BEGINS: LazyLock<[u64; 1024]> = LazyLock::new(|| {
    let mut pairs = [0; 1024];
    for form in FORMS {
        if let Some(pair) = form.begins.as_bytes().first_chunk() {
            let (place, bit) = place_of(*pair);
            if let Some(bits) = pairs.get_mut(place) {
                *bits |= bit;
            }
        }
    }
    pairs
});

fn place_of(pair: [u8; 2]) -> (usize, u64) {
    let number = usize::from(u16::from_be_bytes(pair));
    (number / 64, 1 << (number % 64))
}

/// Returns whether keys begin with these two bytes: most words end the search here.
fn may_begin(pair: [u8; 2]) -> bool {
    let (place, bit) = place_of(pair);
    BEGINS.get(place).is_some_and(|bits| bits & bit != 0)
}

/// Returns whether a key may begin at a place: not in the middle of another word.
fn is_begin(search: &TextSearch<'_>, start: usize) -> bool {
    let before = search.bytes().get(..start).and_then(<[u8]>::last);
    let joins = before.is_some_and(|byte| matches!(byte, b'-' | b'_'));
    !joins && boundary::may_begin(search.text, start)
}

/// Looks for a key of a service that begins at a place.
pub(super) fn find_api_key(search: &mut TextSearch<'_>, class: u16, start: usize) {
    let rest = search.bytes().get(start..).unwrap_or_default();
    if !rest.first_chunk().is_some_and(|pair| may_begin(*pair)) {
        return;
    }
    let fits = |form: &&KeyForm| rest.starts_with(form.begins.as_bytes());
    let Some(form) = FORMS.iter().find(fits).filter(|_| is_begin(search, start)) else {
        return;
    };
    let body = rest.get(form.begins.len()..).unwrap_or_default();
    let run = body.iter().take(MOST + 1);
    let length = run.take_while(|byte| form.characters.has(**byte)).count();
    let body = body.get(..length).unwrap_or_default();
    // A sentence may end with it.
    let body = body.strip_suffix(b".").unwrap_or(body);
    let end = start + form.begins.len() + body.len();
    let is_long = (form.fewest..=form.most).contains(&body.len());
    // Words of a name, `sk-ant-example-of-a-key`, have no digits.
    let is_random = body.iter().any(u8::is_ascii_digit);
    if is_long && is_random && boundary::may_end(search.text, end) {
        search.add(start, end, class, Evidence::Form);
    }
}

/// Looks for a JSON Web Token, or an encrypted one: three or five parts of base64url with dots, of
/// which the first begins an object (RFC 7515 §7.1). Returns where it ends.
pub(super) fn find_jwt(search: &mut TextSearch<'_>, class: u16, start: usize) {
    if !is_begin(search, start) {
        return;
    }
    let bytes = search.bytes();
    let (mut at, mut ends, mut parts) = (start, start, 0);
    while parts < 5 {
        let rest = bytes.get(at..).unwrap_or_default();
        let part = rest
            .iter()
            .take_while(|byte| Characters::Base64Url.has(**byte))
            .count();
        // The first part has to be a header; the second may be empty, where it is sent apart.
        if part == 0 && parts != 1 || parts == 0 && part < 10 {
            break;
        }
        (at, parts) = (at + part, parts + 1);
        if matches!(parts, 2 | 3 | 5) {
            ends = at;
        }
        if bytes.get(at) != Some(&b'.') {
            break;
        }
        at += 1;
    }
    let is_header = |text: Option<&str>| text.is_some_and(|text| text.starts_with("eyJ"));
    // Two parts are the header and the payload of a token whose signature was cut off.
    let first = search.text.get(start..ends).unwrap_or_default();
    let second = first.split_once('.').map(|(_, second)| second);
    if ends > start && (parts >= 3 || is_header(second)) {
        search.add(start, ends, class, Evidence::Form);
    }
}

/// Looks for an id of an AWS key (IAM User Guide, "Unique identifiers").
pub(super) fn find_aws_access_key(
    search: &mut TextSearch<'_>,
    class: u16,
    start: usize,
    end: usize,
) {
    let word = search.bytes().get(start..end).unwrap_or_default();
    let begins = ["AKIA", "ASIA", "ABIA", "ACCA"];
    let is_prefix = begins
        .iter()
        .any(|prefix| word.starts_with(prefix.as_bytes()));
    let is_body = word
        .iter()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if is_prefix && is_body && word.len() == 20 && boundary::may_begin(search.text, start) {
        search.add(start, end, class, Evidence::Form);
    }
}

/// Looks for a secret of an AWS key: forty characters of base64 that are no digest and no path.
pub(super) fn find_aws_secret_key(search: &mut TextSearch<'_>, class: u16, start: usize) {
    const LENGTH: usize = 40;
    let bytes = search.bytes();
    let is_body = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+');
    // It may begin with a sign, which begins no word.
    let signs = bytes
        .get(..start)
        .unwrap_or_default()
        .iter()
        .rev()
        .take(LENGTH);
    let start = start - signs.take_while(|byte| matches!(byte, b'/' | b'+')).count();
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .take(LENGTH + 1)
        .take_while(|byte| is_body(byte))
        .count();
    let before = bytes.get(..start).and_then(<[u8]>::last);
    let joins =
        |byte: Option<&u8>| byte.is_some_and(|byte| is_body(byte) || matches!(byte, b'-' | b'_'));
    let after = bytes.get(start + LENGTH);
    let is_padded = after == Some(&b'=');
    if length != LENGTH || joins(before) || joins(after) || is_padded {
        return;
    }
    let key = rest.get(..LENGTH).unwrap_or_default();
    let has = |is: fn(&u8) -> bool| key.iter().any(is);
    let is_mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    let is_whole =
        boundary::may_begin(search.text, start) && boundary::may_end(search.text, start + LENGTH);
    if is_mixed && is_whole && distinct(key) >= 20 {
        search.add(start, start + LENGTH, class, Evidence::Form);
    }
}

/// Returns how many different characters there are.
fn distinct(bytes: &[u8]) -> u32 {
    let seen = bytes
        .iter()
        .fold(0_u128, |seen, byte| seen | 1 << (byte & 127));
    seen.count_ones()
}

/// Looks for a private key in PEM (RFC 7468) at its first dashes, and returns where it ends. One
/// without an end goes as far as its lines do.
pub(super) fn find_private_key(
    search: &mut TextSearch<'_>,
    class: u16,
    start: usize,
) -> Option<usize> {
    let rest = search.text.get(start..)?;
    let label = rest.strip_prefix("-----BEGIN ")?;
    let label = label.get(
        ..label
            .as_bytes()
            .iter()
            .take(64)
            .position(|byte| *byte == b'-')?,
    )?;
    label.ends_with("PRIVATE KEY").then_some(()).or_else(|| {
        // PGP has a word more.
        label.ends_with("PRIVATE KEY BLOCK").then_some(())
    })?;
    let body = start + "-----BEGIN ".len() + label.len() + "-----".len();
    let text = search.text.get(body..)?;
    // Lines may be written as `\n` in a string inside a string.
    let is_line =
        |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "+/=\\:,-.".contains(c);
    // Nothing after the end is looked at: many keys cost what one costs.
    const END: &str = "-----END ";
    let is_end = |at: usize| text.get(at..).is_some_and(|text| text.starts_with(END));
    let mut chars = text.char_indices();
    let lines = chars.find(|(at, c)| !is_line(*c) || *c == '-' && is_end(*at));
    let lines = lines.map_or(text.len(), |(at, _)| at);
    let end = if is_end(lines) {
        let label = text.get(lines + END.len()..)?;
        let label = label
            .as_bytes()
            .iter()
            .take(64)
            .position(|byte| *byte == b'-');
        body + lines + END.len() + label.map_or(0, |label| label + "-----".len())
    } else {
        body + text.get(..lines)?.trim_end().len()
    };
    let end = search.text.floor_char_boundary(end);
    search.add(start, end, class, Evidence::Form);
    Some(end)
}
