//! Comments begin with a verb or a noun. One that begins with "Who" or "What" names a thing by a
//! riddle.

use std::fs;
use std::path::Path;

const FOLDERS: [&str; 3] = ["benches", "src", "tests/it"];

const WORDS: [&str; 5] = ["Who", "What", "Whose", "Whoever", "Whatever"];

/// Returns the lines, counted from 1, whose comment begins with one of the words.
fn accents(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let comment = comment(line);
        let first = comment.and_then(|comment| comment.split(|c: char| !c.is_alphabetic()).next());
        if !goes_on && first.is_some_and(|word| WORDS.contains(&word)) {
            found.push(number);
        }
        goes_on = comment.is_some_and(|comment| !comment.is_empty());
    }
    found
}

/// Returns the text of a line that is a comment and nothing else.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

#[test]
fn comments_do_not_begin_with_a_riddle() {
    let mut wrong = Vec::new();
    for folder in FOLDERS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for path in super::files_below(&root) {
            let text = fs::read_to_string(&path).unwrap();
            let lines = accents(&text).into_iter();
            wrong.extend(lines.map(|line| format!("{}:{line}", path.display())));
        }
    }
    assert!(
        wrong.is_empty(),
        "comments that begin with one of {WORDS:?}:\n{}",
        wrong.join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_riddle_is_found_at_the_begin_of_a_comment() {
        let riddles = "/// What it is.\nstruct A;\n    // Whoever comes.\n//! Who\n///\n//! Whose";
        assert_eq!(accents(riddles), [1, 3, 6]);
        let others =
            "/// Returns the answer.\n/// What else it does.\nlet a = \"// What\";\n// Whole";
        assert!(accents(others).is_empty());
    }
}
