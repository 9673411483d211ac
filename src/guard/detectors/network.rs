//! Addresses of networks and URLs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::boundary;
use super::search::{Evidence, TextSearch};

/// The longest IPv6 address: the last 32 bits may be written as IPv4.
const IPV6: usize = 45;

/// Looks for an IPv4 address that begins with this word.
pub(super) fn find_ipv4(search: &mut TextSearch<'_>, class: u16, start: usize) {
    let bytes = search.bytes();
    let mut dots = 0;
    let run = bytes.get(start..).unwrap_or_default();
    let length = run
        .iter()
        .take(16)
        .take_while(|byte| match byte {
            b'.' => {
                dots += 1;
                dots < 4
            }
            byte => byte.is_ascii_digit(),
        })
        .count();
    let end = start + length;
    let Some(address) = search.text.get(start..end) else {
        return;
    };
    let (address, end) = match address.strip_suffix('.') {
        Some(address) => (address, end - 1),
        None => (address, end),
    };
    if dots < 3 || address.parse::<Ipv4Addr>().is_err() || is_version(search.text, start) {
        return;
    }
    let after = bytes.get(end..).unwrap_or_default();
    let goes_on = matches!(after, [b'.' | b'-', next, ..] if next.is_ascii_digit());
    let before = bytes.get(..start).unwrap_or_default();
    // `1.` before it: a longer list of numbers.
    let is_inner = matches!(before, [.., last, b'.'] if last.is_ascii_alphanumeric());
    let is_whole = boundary::may_begin(search.text, start) && boundary::may_end(search.text, end);
    if is_whole && !goes_on && !is_inner {
        search.add(start, end, class, Evidence::Form);
    }
}

/// Returns whether the word before says that the numbers after it are a version.
fn is_version(text: &str, start: usize) -> bool {
    let from = text.ceil_char_boundary(start.saturating_sub(12));
    let before = text.get(from..start).unwrap_or_default();
    let before = before
        .trim_end_matches([' ', ':', '=', '.'])
        .to_ascii_lowercase();
    ["version", "release", "firmware", "build", " ver", " v"]
        .iter()
        .any(|word| before.ends_with(word))
}

/// Looks for an IPv6 address that begins at a place (RFC 4291 §2.2).
pub(super) fn find_ipv6(search: &mut TextSearch<'_>, class: u16, start: usize) {
    let bytes = search.bytes();
    let before = bytes.get(..start).and_then(<[u8]>::last);
    // The whole run was looked at where it begins.
    if before.is_some_and(|byte| matches!(byte, b':' | b'.' | b'_') || byte.is_ascii_alphanumeric())
    {
        return;
    }
    let run = bytes.get(start..).unwrap_or_default().iter().take(IPV6 + 1);
    let run = run.take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    let text = search
        .text
        .get(start..start + run.count())
        .unwrap_or_default();
    let address = text.trim_end_matches('.');
    let address = match address.strip_suffix(':') {
        Some(shorter) if !shorter.ends_with(':') => shorter,
        _ => address,
    };
    let end = start + address.len();
    // `abc::def` is a path of a program.
    let is_likely = address.bytes().any(|byte| byte.is_ascii_digit());
    let is_whole = boundary::may_begin(search.text, start) && boundary::may_end(search.text, end);
    if is_likely && is_whole && address.parse::<Ipv6Addr>().is_ok() {
        search.add(start, end, class, Evidence::Form);
    }
}

/// Looks for a MAC address: six pairs with `:` or `-`, or three groups of four with dots.
pub(super) fn find_mac(search: &mut TextSearch<'_>, class: u16, start: usize, end: usize) {
    let bytes = search.bytes();
    let separator = bytes.get(end).copied().unwrap_or_default();
    let (group, groups) = match (end - start, separator) {
        (2, b':' | b'-') => (2, 6),
        (4, b'.') => (4, 3),
        _ => return,
    };
    let length = group * groups + groups - 1;
    let Some(address) = bytes.get(start..start + length) else {
        return;
    };
    let mut parts = address.split(|byte| *byte == separator);
    let is_part = |part: &[u8]| part.len() == group && part.iter().all(u8::is_ascii_hexdigit);
    if !parts.all(is_part) {
        return;
    }
    let end = start + length;
    let has_letter = address.iter().any(u8::is_ascii_alphabetic);
    let before = bytes.get(..start).and_then(<[u8]>::last);
    let goes_on = bytes.get(end) == Some(&separator) || before == Some(&separator);
    let is_whole = boundary::may_begin(search.text, start) && boundary::may_end(search.text, end);
    if is_whole && !goes_on && (has_letter || separator == b':') {
        search.add(start, end, class, Evidence::Form);
    }
}

/// The parts of a URL that are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UrlClasses {
    pub url: Option<u16>,
    pub password: Option<u16>,
}

/// Looks for a URL whose `://` is at a place (RFC 3986), and returns where it ends.
pub(super) fn find_url(
    search: &mut TextSearch<'_>,
    classes: UrlClasses,
    colon: usize,
) -> Option<usize> {
    let text = search.text;
    let before = text.get(..colon)?.as_bytes();
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = before
        .iter()
        .rev()
        .take(32)
        .take_while(|byte| is_scheme(byte))
        .count();
    // A scheme begins with a letter. What runs into it from before is no part of it: `1.https://a.example`.
    let run = text.get(colon - scheme..colon)?;
    let start = colon - scheme + run.find(|c: char| c.is_ascii_alphabetic())?;
    let end = url_end(text, colon + 3)?;
    if let Some(class) = classes.url {
        search.add(start, end, class, Evidence::Container);
    }
    if let Some(class) = classes.password
        && let Some((from, to)) = password(text, colon + 3, end)
    {
        search.add(from, to, class, Evidence::Form);
    }
    Some(end)
}

/// Looks for an address of the web without a scheme, at its `www`, and returns where it ends.
pub(super) fn find_www(search: &mut TextSearch<'_>, class: u16, start: usize) -> Option<usize> {
    let rest = search.text.get(start..)?;
    rest.get(..4)?.eq_ignore_ascii_case("www.").then_some(())?;
    boundary::may_begin(search.text, start).then_some(())?;
    let end = url_end(search.text, start + 4)?;
    let host = search.text.get(start + 4..end)?;
    host.contains('.').then_some(())?;
    search.add(start, end, class, Evidence::Container);
    Some(end)
}

/// Returns where a URL ends, without the signs of the sentence around it. `None` if nothing is left.
fn url_end(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let is_end = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || boundary::is_without_spaces(c)
            || matches!(
                c,
                '<' | '>'
                    | '"'
                    | '`'
                    | '{'
                    | '}'
                    | '|'
                    | '\\'
                    | '^'
                    | '、'
                    | '。'
                    | '」'
                    | '）'
                    | '»'
                    | '”'
                    | '’'
            )
    };
    let url = rest.get(..rest.find(is_end).unwrap_or(rest.len()))?;
    // A bracket that begins in the URL ends in it.
    let has_bracket = url.contains(['(', '[']);
    let is_sign = |c: char| ".,;:!?'*_".contains(c) || !has_bracket && (c == ')' || c == ']');
    let url = url.trim_end_matches(is_sign);
    (!url.is_empty()).then_some(from + url.len())
}

/// Returns where the password of a URL is.
fn password(text: &str, from: usize, end: usize) -> Option<(usize, usize)> {
    let authority = text.get(from..end)?;
    let authority = authority.get(..authority.find(['/', '?', '#']).unwrap_or(authority.len()))?;
    let (userinfo, _) = authority.rsplit_once('@')?;
    let (user, password) = userinfo.split_once(':')?;
    let from = from + user.len() + 1;
    (!password.is_empty()).then_some((from, from + password.len()))
}
