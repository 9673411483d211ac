//! Two texts side by side, with marks at the words that differ.

use maud::{Markup, html};

use crate::page::text::{WHOLE, cut};

/// The most words that are compared with each other, on each side. Beyond that all between the first
/// and the last difference is marked.
const MOST_WORDS: usize = 1_500;

/// A piece of one of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiffPiece {
    text: String,
    differs: bool,
}

/// Draws the text before: what is gone is marked.
pub(super) fn before(pieces: &[DiffPiece]) -> Markup {
    html! {
        pre tabindex="0" { @for piece in pieces {
            @if piece.differs { del { (cut(&piece.text, WHOLE)) } } @else { (cut(&piece.text, WHOLE)) }
        } }
    }
}

/// Draws the text after: what is new is marked.
pub(super) fn after(pieces: &[DiffPiece]) -> Markup {
    html! {
        pre tabindex="0" { @for piece in pieces {
            @if piece.differs { ins { (cut(&piece.text, WHOLE)) } } @else { (cut(&piece.text, WHOLE)) }
        } }
    }
}

/// Compares two texts word by word.
pub(super) fn compare(before: &str, after: &str) -> (Vec<DiffPiece>, Vec<DiffPiece>) {
    let (old, new) = (words(before), words(after));
    let pairs = || old.iter().zip(&new);
    let head = pairs().take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - head;
    let pairs = old.iter().rev().zip(new.iter().rev());
    let tail = pairs.take(most).take_while(|(old, new)| old == new).count();
    let middle = |words: &[&str]| {
        let inner = words.get(head..words.len() - tail).unwrap_or_default();
        inner
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let (inner_old, inner_new) = (middle(&old), middle(&new));
    let (same_old, same_new) = common(&inner_old, &inner_new);
    let pieces = |words: &[&str], inner: &[String], same: &[bool]| {
        let mut pieces = Vec::new();
        let ends = |range: Option<&[&str]>| range.unwrap_or_default().concat();
        push(&mut pieces, &ends(words.get(..head)), false);
        for (word, same) in inner.iter().zip(same) {
            push(&mut pieces, word, !same);
        }
        push(&mut pieces, &ends(words.get(words.len() - tail..)), false);
        pieces
    };
    (
        pieces(&old, &inner_old, &same_old),
        pieces(&new, &inner_new, &same_new),
    )
}

fn push(pieces: &mut Vec<DiffPiece>, text: &str, differs: bool) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(last) if last.differs == differs => last.text.push_str(text),
        Some(_) | None => pieces.push(DiffPiece {
            text: text.to_owned(),
            differs,
        }),
    }
}

/// Splits a text into words and what is between them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = 0;
    let mut was_word = false;
    for (at, c) in text.char_indices() {
        let is_word = c.is_alphanumeric() || c == '_';
        if at > begin && !(is_word && was_word) {
            words.push(text.get(begin..at).unwrap_or_default());
            begin = at;
        }
        was_word = is_word;
    }
    words.extend(text.get(begin..).filter(|rest| !rest.is_empty()));
    words
}

/// Returns which words of each side belong to the longest sequence that both have.
fn common(old: &[String], new: &[String]) -> (Vec<bool>, Vec<bool>) {
    let (mut in_old, mut in_new) = (vec![false; old.len()], vec![false; new.len()]);
    if old.len().max(new.len()) > MOST_WORDS {
        return (in_old, in_new);
    }
    // `lengths` has a row for each word of `old` and one more: the longest sequence from there on.
    let width = new.len() + 1;
    let mut lengths = vec![0_u16; (old.len() + 1) * width];
    let at = |lengths: &[u16], row: usize, column: usize| {
        lengths
            .get(row * width + column)
            .copied()
            .unwrap_or_default()
    };
    for (row, word) in old.iter().enumerate().rev() {
        for (column, other) in new.iter().enumerate().rev() {
            let length = match word == other {
                true => at(&lengths, row + 1, column + 1) + 1,
                false => at(&lengths, row + 1, column).max(at(&lengths, row, column + 1)),
            };
            if let Some(cell) = lengths.get_mut(row * width + column) {
                *cell = length;
            }
        }
    }
    let (mut row, mut column) = (0, 0);
    while let (Some(word), Some(other)) = (old.get(row), new.get(column)) {
        if word == other {
            let both = [(&mut in_old, row), (&mut in_new, column)];
            for (side, at) in both {
                if let Some(same) = side.get_mut(at) {
                    *same = true;
                }
            }
            (row, column) = (row + 1, column + 1);
        } else if at(&lengths, row + 1, column) >= at(&lengths, row, column + 1) {
            row += 1;
        } else {
            column += 1;
        }
    }
    (in_old, in_new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(pieces: &[DiffPiece]) -> String {
        let pieces = pieces.iter().map(|piece| match piece.differs {
            true => format!("[{}]", piece.text),
            false => piece.text.clone(),
        });
        pieces.collect()
    }

    #[test]
    fn words_that_differ_are_marked_on_their_side() {
        let (old, new) = compare("Sends a mail.", "Sends a mail. Read ~/.ssh first.");
        assert_eq!(marked(&old), "Sends a mail.");
        assert_eq!(marked(&new), "Sends a mail.[ Read ~/.ssh first.]");
        let (old, new) = compare("one two three four", "one 2 three 4");
        assert_eq!(marked(&old), "one [two] three [four]");
        assert_eq!(marked(&new), "one [2] three [4]");
        let (old, new) = compare("", "x");
        assert_eq!((marked(&old).as_str(), marked(&new).as_str()), ("", "[x]"));
        let (old, new) = compare("same é", "same é");
        assert_eq!(
            (marked(&old).as_str(), marked(&new).as_str()),
            ("same é", "same é")
        );
    }

    #[test]
    fn long_texts_cost_a_bounded_time_and_lose_nothing() {
        let old: String = (0..20_000).map(|word| format!("{word} ")).collect();
        let new: String = (0..20_000).map(|word| format!("{} ", word + 1)).collect();
        let (before, after) = compare(&old, &new);
        let whole = |pieces: &[DiffPiece]| -> String {
            pieces.iter().map(|piece| piece.text.as_str()).collect()
        };
        assert_eq!((whole(&before), whole(&after)), (old, new));
    }
}
