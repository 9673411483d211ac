//! JSON with comments → YAML flow style of the same shape.
//!
//! YAML reads JSON and trailing commas, but neither `//` comments nor `\ud83d\ude00`, which editors write into
//! `mcp.json`. Both are rewritten here, comments by blanks, so that positions stay true.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// The text with comments blanked and surrogate pairs joined, if it looks like JSON; else as it is.
pub(crate) fn to_yaml(text: &str) -> Cow<'_, str> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with(['{', '[']) || start.starts_with("//") || start.starts_with("/*") {
        Cow::Owned(rewrite(text))
    } else {
        Cow::Borrowed(text)
    }
}

fn rewrite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // A comment begins after a blank or after punctuation, and never inside a plain `http://…`.
    let mut boundary = true;
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) if boundary => {
                out.push(' ');
                while let Some(c) = chars.next_if(|&c| c != '\n') {
                    out.push(blank(c));
                }
            }
            ('/', Some('*')) if boundary => block(&mut chars, &mut out),
            ('"', _) => {
                out.push('"');
                double(&mut chars, &mut out);
            }
            ('\'', _) if boundary => {
                out.push('\'');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == '\'' {
                        break;
                    }
                }
            }
            _ => out.push(c),
        }
        boundary =
            c.is_whitespace() || matches!(c, '{' | '[' | ',' | ']' | '}' | '"' | '/' | '\u{feff}');
    }
    out
}

fn blank(c: char) -> char {
    if c == '\n' || c == '\r' { c } else { ' ' }
}

fn block(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push(' ');
    out.extend(chars.next().map(|_| ' '));
    let mut last = ' ';
    for c in chars.by_ref() {
        out.push(blank(c));
        if last == '*' && c == '/' {
            break;
        }
        last = c;
    }
}

fn double(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' {
            if let Some((joined, rest)) = surrogates(chars) {
                out.push(joined);
                *chars = rest;
                continue;
            }
            out.push(c);
            out.extend(chars.next());
            continue;
        }
        out.push(c);
        if c == '"' {
            break;
        }
    }
}

/// The character that `ud83d\ude00` means, and what follows it.
fn surrogates<'t>(chars: &Peekable<Chars<'t>>) -> Option<(char, Peekable<Chars<'t>>)> {
    let mut rest = chars.clone();
    let high = unit(&mut rest)?;
    rest.next_if_eq(&'\\')?;
    let low = unit(&mut rest)?;
    let joined = char::decode_utf16([high, low]).next()?.ok()?;
    (u32::from(joined) > 0xffff).then_some((joined, rest))
}

fn unit(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    chars.next_if_eq(&'u')?;
    let mut unit = 0_u16;
    for _ in 0..4 {
        let digit = chars.next()?.to_digit(16)?;
        unit = unit << 4 | u16::try_from(digit).ok()?;
    }
    Some(unit)
}
