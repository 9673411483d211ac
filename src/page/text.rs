//! Text of others as markup: escaped, cut, and with marks for characters that do not show.

use maud::{Markup, html};

use crate::printable::is_harmless;

/// The most characters of a text in a cell of a table.
pub(super) const CELL: usize = 400;
/// The most characters of a text that has a place of its own.
pub(super) const WHOLE: usize = 60_000;

/// A piece of text of others.
enum Piece<'t> {
    Plain(&'t str),
    /// A character that is not read: it hides something, turns the direction or drives a terminal.
    Mark(char),
}

/// Draws the first characters of a text of others, at most `most`, and says how many are left out.
pub(super) fn cut(text: &str, most: usize) -> Markup {
    let end = text.char_indices().nth(most).map(|(end, _)| end);
    let (head, left) = match end {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    html! {
        @for piece in pieces(head) {
            @match piece {
                Piece::Plain(text) => { (text) }
                Piece::Mark(c) => { span .mark { (mark(c)) } }
            }
        }
        @if !left.is_empty() { span .note { "… " (left.chars().count()) " more characters" } }
    }
}

/// Draws a text of others in a cell of a table.
pub(super) fn cell(text: &str) -> Markup {
    cut(text, CELL)
}

/// Returns a text of others for an attribute, with the same marks.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => out.push_str(text),
            Piece::Mark(c) => out.push_str(&mark(c)),
        }
    }
    out
}

/// Returns the mark for a character: `⟦U+202E⟧`.
fn mark(c: char) -> String {
    format!("⟦U+{:04X}⟧", u32::from(c))
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        if !is_shown(first) {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            return Some(Piece::Mark(first));
        }
        let end = rest.find(|c: char| !is_shown(c)).unwrap_or(rest.len());
        let (plain, left) = rest.split_at(end);
        rest = left;
        Some(Piece::Plain(plain))
    })
}

fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\t') || is_harmless(c)
}

/// Returns a time span in words: `42 s`, `3 min`, `5 h`, `2 d`.
pub(super) fn span_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text_and_shows_what_hides_in_it() {
        let hostile = "<img src=x onerror=alert(1)> \"'&\u{202e}gnp\u{200b}\u{1b}[2J\u{e0041}";
        let drawn = cell(hostile).into_string();
        assert!(!drawn.contains("<img"), "{drawn}");
        for mark in ["⟦U+202E⟧", "⟦U+200B⟧", "⟦U+001B⟧", "⟦U+E0041⟧"] {
            assert!(drawn.contains(mark), "{mark}: {drawn}");
            assert!(plain(hostile).contains(mark));
        }
        assert!(!plain(hostile).contains('\u{202e}'));
        assert_eq!(cell("a\nb é 日本").into_string(), "a\nb é 日本");
    }

    #[test]
    fn long_text_is_cut() {
        let drawn = cut(&"é".repeat(10), 4).into_string();
        assert!(
            drawn.starts_with("éééé<") && drawn.contains("6 more"),
            "{drawn}"
        );
        assert_eq!(cut("abcd", 4).into_string(), "abcd");
    }

    #[test]
    fn spans_are_in_words() {
        let table = [(5, "5 s"), (180, "3 min"), (7_200, "2 h"), (180_000, "2 d")];
        for (seconds, words) in table {
            assert_eq!(span_words(seconds), words);
        }
    }
}
