//! Says in plain words what is wrong with a text that is not YAML, and what to write instead.
//!
//! The parser names the rule of the grammar that a text breaks. The mistake is mostly another one:
//! an unquoted `*`, a Windows path in double quotes, a missing blank. The advice never repeats a
//! value, which may be a secret.

use super::node::{Position, SyntaxError, is_key_without_blank};

/// The plain words for an error of the grammar, which the parser found at `at`.
pub(super) fn explain(info: &str, at: Position, text: &str) -> SyntaxError {
    let found = Context::of(text, at);
    SyntaxError::Grammar(found.advice(info).unwrap_or_else(|| info.to_owned()))
}

/// Returns whether a template such as `{{ … }}` begins at a position, or around it.
pub(super) fn is_template(text: &str, at: Position) -> bool {
    Context::of(text, at).line.contains("{{")
}

/// The surroundings of an error.
struct Context<'t> {
    /// The line of the error.
    line: &'t str,
    /// The part of it before the error.
    before: &'t str,
    /// The part from the error on.
    rest: &'t str,
    /// The last line before it that is not empty.
    above: &'t str,
}

impl<'t> Context<'t> {
    fn of(text: &'t str, at: Position) -> Self {
        let mut lines = text.lines().take(at.line);
        let line = lines.clone().nth(at.line.saturating_sub(1));
        let line = line.unwrap_or_default();
        let column = line.char_indices().nth(at.column.saturating_sub(1));
        let (before, rest) = line.split_at(column.map_or(line.len(), |(index, _)| index));
        let mut above = "";
        for _ in 1..at.line {
            let line = lines.next().unwrap_or_default();
            if !line.trim().is_empty() {
                above = line;
            }
        }
        Self {
            line,
            before,
            rest,
            above,
        }
    }

    fn advice(&self, info: &str) -> Option<String> {
        let has = |words: &str| info.contains(words);
        if has("tabs") || has("a tab") || self.line.trim_start_matches(' ').starts_with('\t') {
            return Some("a tab in the indentation: YAML indents with blanks only".to_owned());
        }
        if has("anchor or alias") || has("unknown anchor") {
            return Some(self.quotes_for(&self.first()));
        }
        if has("unexpected character") {
            return Some(self.quotes_for(&self.first()));
        }
        if has("escape character") || has("hexadecimal number") {
            return Some(
                "`\\` begins an escape inside double quotes: write a Windows path in single quotes, as \
                 in 'C:\\Users\\me', or without quotes"
                    .to_owned(),
            );
        }
        if has("trailing content") {
            return Some(
                "text after a closing quote: inside single quotes a quote is written twice (''), \
                 inside double quotes as \\\""
                    .to_owned(),
            );
        }
        if has("quoted scalar") {
            return Some("a closing quote is missing".to_owned());
        }
        self.advice_for_structure(info)
    }

    /// Advice where keys, values and indentation do not fit together.
    fn advice_for_structure(&self, info: &str) -> Option<String> {
        let has = |words: &str| info.contains(words);
        if has("mapping values are not allowed") || has("simple key") {
            if lacks_blank(self.above) {
                let above = "a blank is missing after the `:` in a line above: write `key: value`";
                return Some(above.to_owned());
            }
            if has("simple key") {
                return lacks_blank(self.line)
                    .then(|| "a blank is missing after the `:`: write `key: value`".to_owned());
            }
            return Some(match self.before.contains(": ") {
                true => "a value that has `: ` in it needs quotes".to_owned(),
                false => {
                    "this line is indented deeper than its neighbours, or belongs to a value that \
                          needs quotes"
                        .to_owned()
                }
            });
        }
        if has("flow mapping") && self.rest.starts_with(": ") {
            return Some("a value that has `: ` in it needs quotes".to_owned());
        }
        if has("flow mapping") && (self.before.ends_with(':') || self.rest.starts_with(':')) {
            return Some("a blank is missing after the `:`: write `key: value`".to_owned());
        }
        if has("flow mapping") || has("flow sequence") {
            return Some("a `,`, or a closing `}` or `]`, is missing here or before".to_owned());
        }
        if has("block mapping") || has("block collection") || has("block sequence") {
            return Some(
                "this line is indented differently from the keys above that it belongs to"
                    .to_owned(),
            );
        }
        if has("invalid indentation") || has("illegal placement") {
            return Some("a closing `]` or `}` is missing before this line".to_owned());
        }
        None
    }

    /// Returns the character at the error.
    fn first(&self) -> String {
        self.rest.chars().take(1).collect()
    }

    fn quotes_for(&self, character: &str) -> String {
        let example = match character {
            "*" => ", such as \"*\" or \"*_list\"",
            "@" => ", such as \"@scope/package\"",
            _ => "",
        };
        format!("a value that begins with `{character}` needs quotes{example}")
    }
}

/// Returns whether a line is `key:value` without a blank. `http://…` is none.
fn lacks_blank(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    is_key_without_blank(line)
}
