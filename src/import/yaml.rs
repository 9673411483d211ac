//! Text → YAML scalars and comments.

use std::fmt::Write as _;

/// Text in a block mapping: plain if nothing could read it otherwise.
pub(crate) fn scalar(text: &str) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_./@-".contains(&byte);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let word = matches!(
        text.to_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if begins && !word && text.bytes().all(legal) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Text in double quotes. JSON's escapes are YAML's, and what editors cannot show is escaped too.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // writing to a String does not fail
            }
            c => out.push(c),
        }
    }
    out
}

/// Text for a comment: one line of what can be shown.
pub(super) fn comment(text: &str) -> String {
    text.chars()
        .map(|c| {
            // YAML has no byte order mark in comments, and no noncharacters anywhere.
            let is_refused = matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
            if c.is_control() || is_refused || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .take(200)
        .collect()
}

/// A name for an environment variable: `PERPLEXITY_KEY` of `perplexity-key`.
pub(super) fn variable(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut lower = false;
    for c in text.chars() {
        if c.is_ascii_uppercase() && lower {
            name.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        });
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}
