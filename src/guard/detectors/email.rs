//! E-mail addresses (RFC 5322 addr-spec, and letters of RFC 6531), at an `@` or its `%40`.

use crate::classes::PSEUDONYM_DOMAIN;

use super::boundary::is_without_spaces;
use super::search::{Evidence, TextSearch};

/// The most bytes of the part before the `@` that are looked at (RFC 5321 §4.5.3.1 has 64
/// characters), and of the domain.
const LOCAL: usize = 256;
const DOMAIN: usize = 255;

/// Looks for an address around the sign from `at` to `after`, and returns its range.
pub(super) fn find(search: &mut TextSearch<'_>, class: u16, at: usize, after: usize) {
    let Some(start) = local(search.text, at) else {
        return;
    };
    let Some(end) = domain(search.text, after) else {
        return;
    };
    let name = search.text.get(start..at).unwrap_or_default();
    let domain = search.text.get(after..end).unwrap_or_default();
    let next = search.bytes().get(end);
    // The address of a repository: `git@github.com:owner/name`.
    let is_repository = name == "git" && next == Some(&b':');
    if is_repository || is_pseudonym(name, domain) || is_userinfo(search.text, start) {
        return;
    }
    search.add(start, end, class, Evidence::Form);
}

/// Returns whether the name and the password of a URL end here: `https://name:password@host`.
fn is_userinfo(text: &str, start: usize) -> bool {
    let from = text.ceil_char_boundary(start.saturating_sub(LOCAL));
    let before = text.get(from..start).unwrap_or_default();
    let end = before.rfind(|c: char| c == '/' || c == '?' || c.is_whitespace());
    let head = end.and_then(|end| before.get(..=end)).unwrap_or_default();
    head.ends_with("://") && !head.ends_with("mailto://")
}

/// Returns whether an address stands in for one already.
fn is_pseudonym(name: &str, domain: &str) -> bool {
    let body = name.rsplit('_').next().unwrap_or_default();
    let is_body = body.len() >= 16 && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_body && domain.eq_ignore_ascii_case(PSEUDONYM_DOMAIN)
}

/// Returns where the part before the sign begins.
fn local(text: &str, at: usize) -> Option<usize> {
    let from = text.ceil_char_boundary(at.saturating_sub(LOCAL));
    let before = text.get(from..at)?;
    if before.ends_with('"') {
        return quoted(before).map(|length| at - length);
    }
    if before.ends_with('.') {
        return None;
    }
    let mut start = None;
    for (place, c) in before.char_indices().rev() {
        let is_sign = ".-+%'~!#*$^".contains(c);
        let is_other = c == '%'
            && before
                .get(place..)
                .is_some_and(|rest| rest.starts_with("%40"));
        if c.is_alphanumeric() && !is_without_spaces(c) || c == '_' {
            start = Some(from + place);
        } else if !is_sign || is_other {
            break;
        }
    }
    start
}

/// Returns the length of a quoted string at the end of a text, with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let inner = text.strip_suffix('"')?;
    let begin = inner.rfind(['"', '\n'])?;
    let is_quote = inner.get(begin..)?.starts_with('"');
    // An empty one is the end of something else.
    (is_quote && begin + 1 < inner.len()).then_some(text.len() - begin)
}

/// Returns where the domain after the sign ends.
fn domain(text: &str, after: usize) -> Option<usize> {
    let rest = text.get(after..)?;
    if let Some(literal) = rest.strip_prefix('[') {
        let end = literal.bytes().take(DOMAIN).position(|byte| byte == b']')?;
        let address = literal.get(..end)?;
        let address = address.strip_prefix("IPv6:").unwrap_or(address);
        address.parse::<std::net::IpAddr>().ok()?;
        return Some(after + end + 2);
    }
    // A script without spaces goes on with its sentence after a domain of other letters.
    let mut before = '.';
    let is_end = |c: char| {
        let is_sentence = is_without_spaces(c) && before != '.' && !is_without_spaces(before);
        before = c;
        is_sentence || !(c.is_alphanumeric() || c == '-' || c == '.')
    };
    let end = rest.find(is_end).unwrap_or(rest.len());
    let end = rest.floor_char_boundary(end.min(DOMAIN));
    let whole = rest.get(..end)?;
    // Anything that is no label ends it: `a@b.com..` or `a@b.com.-`.
    let whole = whole.split("..").next()?.trim_end_matches(['.', '-']);
    let (_, top) = whole.rsplit_once('.')?;
    let labels = whole.split('.');
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && label.len() <= 63;
    let is_top = top.starts_with("xn--") || top.chars().all(char::is_alphabetic);
    let is_top = is_top && top.chars().nth(1).is_some() && !is_file(top);
    (is_top && labels.clone().all(is_label)).then_some(after + whole.len())
}

/// Returns whether the last label is the ending of a file: `icon@2x.png`, `lib@4.1.js`.
fn is_file(top: &str) -> bool {
    const FILES: &str =
        "png jpg jpeg gif svg webp pdf css js mjs ts json html xml yaml yml txt zip";
    FILES.split(' ').any(|file| top.eq_ignore_ascii_case(file))
}
