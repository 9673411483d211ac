//! A file of policies → its policies, with every error and its place.

use std::path::Path;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Policy, PolicyId};

use super::WrittenPolicy;
use crate::document::node::Position;

/// An error of one policy, and where it is in its file.
#[derive(Debug)]
pub(in crate::config) struct PolicyError {
    pub(in crate::config) at: Position,
    /// In Cedar's words, or weir's.
    pub(in crate::config) message: String,
}

/// Clauses that AgentCore takes and Cedar does not, by their first words (developer guide, "Policy in
/// Amazon Bedrock AgentCore": Dogwood).
const DIALECTS: [(&[&str], &str); 4] = [
    (
        &["when", "temporal"],
        "`when temporal` is AgentCore's and not Cedar: weir keeps no history of a session",
    ),
    (
        &["unless", "temporal"],
        "`unless temporal` is AgentCore's and not Cedar: weir keeps no history of a session",
    ),
    (
        &["when", "guardrails"],
        "`when guardrails` is AgentCore's and not Cedar: have a hook call the guardrail",
    ),
    (
        &["suppressOutput"],
        "`suppressOutput` is AgentCore's and not Cedar: leave it out",
    ),
];

/// A policy's text, and where it begins.
struct Piece<'t> {
    text: &'t str,
    start: usize,
    /// The bytes of its words outside of texts and comments.
    words: Vec<&'t str>,
}

/// Parses a file. `first` is the number of policies before it.
///
/// Each policy gets the id `N`, its number among all.
pub(in crate::config) fn parse_policies(
    text: &str,
    file: &Path,
    first: usize,
) -> (Vec<WrittenPolicy>, Vec<PolicyError>) {
    let lines = Lines::of(text);
    let (mut policies, mut errors) = (Vec::new(), Vec::new());
    for piece in pieces(text) {
        let at = lines.position(piece.start);
        let id = PolicyId::new((first + policies.len()).to_string());
        match parse(&piece, id) {
            Ok(policy) => {
                let origin = format!("{}:{}", file.display(), at.line);
                let name = policy.annotation("id").filter(|id| !id.is_empty());
                let before = policies.last();
                let is_alone =
                    before.is_none_or(|before: &WrittenPolicy| before.at.line != at.line);
                let name = match name {
                    Some(name) => name.into(),
                    None if is_alone => origin.as_str().into(),
                    // Several policies in a line.
                    None => format!("{}:{at}", file.display()).into(),
                };
                let log_only = match policy.annotation("mode") {
                    None | Some("enforce") => false,
                    Some("log_only") => true,
                    Some(_) => {
                        errors.push(PolicyError {
                            at,
                            message: "`@mode` is \"enforce\" or \"log_only\"".to_owned(),
                        });
                        continue;
                    }
                };
                policies.push(WrittenPolicy {
                    name,
                    origin: origin.into(),
                    file: file.to_owned(),
                    at,
                    log_only,
                    policy,
                });
            }
            Err((offset, message)) => errors.push(PolicyError {
                at: lines.position(piece.start + offset),
                message,
            }),
        }
    }
    (policies, errors)
}

/// Parses one policy, or returns where in it and why it is none.
fn parse(piece: &Piece<'_>, id: PolicyId) -> Result<Policy, (usize, String)> {
    let error = match Policy::parse(Some(id), piece.text) {
        Ok(policy) => return Ok(policy),
        Err(error) => error,
    };
    for (words, message) in DIALECTS {
        let found = piece.words.windows(words.len()).find(|some| some == &words);
        if let Some(word) = found.and_then(<[_]>::first) {
            return Err((offset_in(piece.text, word), message.to_owned()));
        }
    }
    let all = error.iter().map(DetailedError::from);
    let mut all = all.peekable();
    let detail = match all.peek() {
        Some(_) => all.next(),
        None => Some(DetailedError::from(&error)),
    };
    let Some(detail) = detail else {
        return Err((0, error.to_string()));
    };
    let offset = detail.source_locations.first();
    let offset = offset.map_or(0, |label| label.loc.start);
    let mut message = detail.message;
    if let Some(help) = detail.help {
        message = format!("{message} ({help})");
    }
    Err((offset, message.replace('\n', " ")))
}

/// Returns where a part of a text begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// Cuts a file behind each `;` that is in no text and no comment. A rest without a `;` is a piece too
/// if there is a word in it, so that Cedar says what is wrong.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut start, mut words) = (0, None, Vec::new());
    while let Some(byte) = bytes.get(at) {
        let begin = at;
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = memchr::memchr(b'\n', bytes.get(at..).unwrap_or_default())
                    .map_or(bytes.len(), |end| at + end);
                continue;
            }
            b'"' => at = end_of_text(bytes, at),
            byte if is_of_word(*byte) => {
                while bytes.get(at).copied().is_some_and(is_of_word) {
                    at += 1;
                }
                words.extend(text.get(begin..at));
            }
            _ => at += 1,
        }
        if !byte.is_ascii_whitespace() {
            start.get_or_insert(begin);
        }
        if *byte == b';'
            && let Some(start) = start.take()
        {
            found.extend(text.get(start..at).map(|text| Piece {
                text,
                start,
                words: std::mem::take(&mut words),
            }));
        }
    }
    if let Some(start) = start {
        let text = text.get(start..).unwrap_or_default();
        found.push(Piece { text, start, words });
    }
    found
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Returns where the text in quotes ends that begins here.
fn end_of_text(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where the lines of a file begin.
struct Lines<'t> {
    text: &'t str,
    begins: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes());
        let begins = std::iter::once(0).chain(breaks.map(|at| at + 1)).collect();
        Self { text, begins }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.begins.partition_point(|begin| *begin <= offset);
        let begin = line.checked_sub(1).and_then(|at| self.begins.get(at));
        let before = begin.and_then(|begin| self.text.get(*begin..offset));
        Position {
            line,
            column: before.map_or(1, |before| before.chars().count() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let (_, errors) = parse_policies(text, Path::new("a.cedar"), 0);
        let line = |error: PolicyError| format!("{}: {}", error.at, error.message);
        errors.into_iter().map(line).collect()
    }

    #[test]
    fn policies_know_their_lines_and_names() {
        let text = "// One; \"not\n@id(\"first\")\npermit(principal, action, resource) when { \"a;\\\";b\" == \"//\" };\n\n  @mode(\"log_only\") forbid(principal, action, resource); // end";
        let (policies, errors) = parse_policies(text, Path::new("a.cedar"), 7);
        assert_eq!(errors.len(), 0, "{errors:?}");
        let names: Vec<_> = policies.iter().map(|policy| &*policy.name).collect();
        assert_eq!(names, ["first", "a.cedar:5"]);
        let ids = policies.iter().map(|policy| policy.policy.id().to_string());
        assert_eq!(ids.collect::<Vec<_>>(), ["7", "8"]);
        assert!(!policies[0].log_only && policies[1].log_only);
    }

    #[test]
    fn every_error_has_its_line_and_cedars_words() {
        let text = "permit(principal, action, resource)\nwhen { context.x === 1 };\nforbid(principal, actoin, resource);\npermit(principal, action, resource)";
        let errors = errors(text);
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[0].starts_with("2:20: unexpected token `=`"),
            "{errors:?}"
        );
        assert!(errors[1].starts_with("3:19: "), "{errors:?}");
        assert!(errors[2].starts_with("4:36: unexpected end"), "{errors:?}");
    }

    #[test]
    fn what_only_agentcore_takes_is_refused_by_name() {
        for (text, word) in [
            (
                "permit(principal, action, resource)\nwhen temporal { count(1) };",
                "`when temporal`",
            ),
            (
                "permit(principal, action, resource) when guardrails { x };",
                "`when guardrails`",
            ),
            (
                "permit(principal, action, resource) suppressOutput;",
                "`suppressOutput`",
            ),
        ] {
            let errors = errors(text);
            assert!(errors[0].contains(word), "{errors:?}");
        }
        // A text may say so.
        let text = "permit(principal, action, resource) when { \"when temporal\" == \"\" };";
        assert_eq!(errors(text).len(), 0);
    }

    #[test]
    fn templates_are_refused() {
        let errors = errors("permit(principal == ?principal, action, resource);");
        assert!(errors[0].contains("template"), "{errors:?}");
    }
}
