//! Text of others on its way to a terminal, a log or a message: no character of it drives a
//! terminal, begins a line of its own, is invisible, or turns the direction of what stands around it.
//!
//! This is the only place that decides which characters those are. Data that goes to programs, into
//! pipes and files, is not touched.

use std::borrow::Cow;

/// Returns whether a character shows what it is. Others do something else than be read: controls
/// (C0, DEL, C1), characters without width, those that change the direction of text
/// (<https://trojansource.codes>), tags and variation selectors, in which text can be hidden.
#[must_use]
pub const fn is_harmless(c: char) -> bool {
    !c.is_ascii_control()
        && !matches!(
            c,
            '\u{80}'..='\u{9f}'
                | '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0e}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns the text as one line: line ends and tabs are spaces, other characters that are not
/// [harmless](is_harmless) are written as escapes, `\u{202e}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    replaced(text, |c| match c {
        '\t' | '\n' | '\r' => Replacement::Space,
        c if is_harmless(c) => Replacement::Itself,
        _ => Replacement::Escape,
    })
}

/// Returns the text with its lines and tabs, and escapes for other characters that are not harmless.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| match c {
        '\t' | '\n' => Replacement::Itself,
        c if is_harmless(c) => Replacement::Itself,
        _ => Replacement::Escape,
    })
}

/// Returns the text as one line that shows what it was: of characters that are not harmless, only
/// tabs stay, line ends are `\n`.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |c| match c {
        '\t' => Replacement::Itself,
        c if is_harmless(c) => Replacement::Itself,
        _ => Replacement::Escape,
    })
}

/// Returns JSON text that means the same, with JSON's escapes for what is not harmless in its
/// strings.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Outside of strings JSON has no other characters than these.
    let stays = |c: char| matches!(c, '\t' | '\n' | '\r') || is_harmless(c);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if stays(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    Cow::Owned(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Replacement {
    Itself,
    Space,
    Escape,
}

fn replaced(text: &str, by: impl Fn(char) -> Replacement) -> Cow<'_, str> {
    if text.chars().all(|c| by(c) == Replacement::Itself) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match by(c) {
            Replacement::Itself => out.push(c),
            Replacement::Space => out.push(' '),
            Replacement::Escape => out.extend(c.escape_default()),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_hides_or_turns_is_shown_and_the_rest_stays() {
        for harmless in [
            "",
            "plain",
            "é ß 日本 עברית العربية 👍🏽 ❤\u{fe0f} \u{fffd}",
            "a\u{301}",
        ] {
            assert!(matches!(line(harmless), Cow::Borrowed(_)), "{harmless}");
            assert!(matches!(escaped(harmless), Cow::Borrowed(_)), "{harmless}");
        }
        for (text, shown) in [
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{e0041}\u{e0100}", "\\u{e0041}\\u{e0100}"),
            ("\u{2028}", "\\u{2028}"),
        ] {
            assert_eq!(line(text), shown);
            assert_eq!(lines(text), shown);
            assert_eq!(escaped(text), shown);
        }
        let several = "a\tb\nc\rd";
        assert_eq!(line(several), "a b c d");
        assert_eq!(lines(several), "a\tb\nc\\rd");
        assert_eq!(escaped(several), "a\tb\\nc\\rd");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "{\"a\":\"\u{9b}x\u{202e}\u{e0041}é\"}\n";
        let safe = json(text);
        assert!(safe.chars().all(|c| c == '\n' || is_harmless(c)), "{safe}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&safe), read(text));
        assert!(matches!(json("{\"a\":1}"), Cow::Borrowed(_)));
    }
}
