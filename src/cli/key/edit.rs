//! Edits the text of a file of API keys: adds an entry, removes one, and leaves every other byte as
//! it is.

use std::path::Path;

use crate::config::{ApiKeyEntry, ConfigErrors, parse_api_keys};
use crate::document::node::{Node, Value};
use crate::document::parse;

/// The text of a new file.
const NEW: &str =
    "# API keys of callers, by id. `weir key new` adds them; a key itself is in no file.\n";

/// Why the file is not edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("it cannot be used as it is:\n{0}")]
    Unusable(ConfigErrors),
    #[error("the key would not be valid:\n{0}")]
    Invalid(ConfigErrors),
    #[error("there is a key `{0}` already: choose another name, or revoke it first")]
    Taken(String),
    #[error("there is no key `{0}` in it")]
    Unknown(String),
    #[error("its keys are written in braces, as in JSON, which weir does not edit: do it by hand")]
    Braces,
    #[error("it has an unusual form, which weir does not edit: do it by hand")]
    Unusual,
}

/// Returns the text with an entry at its end. `before` is `None` if there is no file yet; `lines` are
/// the value of the entry in YAML.
pub(super) fn add(
    before: Option<&str>,
    file: &Path,
    id: &str,
    lines: &[String],
) -> Result<String, KeyFileError> {
    let before = before.unwrap_or(NEW);
    let known = parse(before, file).map_err(KeyFileError::Unusable)?;
    if known.iter().any(|entry| &*entry.id == id) {
        return Err(KeyFileError::Taken(id.to_owned()));
    }
    let mut text = without_empty_braces(before)?;
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let tail = match text.lines().position(|line| line.trim_end() == "...") {
        Some(end) => {
            let end: usize = text.split_inclusive('\n').take(end).map(str::len).sum();
            text.split_off(end)
        }
        None => String::new(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(ending);
    }
    // In quotes: an id of digits would be a number elsewhere.
    text.push_str(&format!("\"{id}\":{ending}"));
    for line in lines {
        text.push_str(&format!("  {line}{ending}"));
    }
    text.push_str(&tail);
    let after = parse(&text, file).map_err(KeyFileError::Invalid)?;
    let is_new = |entry: &&ApiKeyEntry| &*entry.id != id;
    match after.len() == known.len() + 1 && after.iter().filter(is_new).eq(&known) {
        true => Ok(text),
        false => Err(KeyFileError::Unusual),
    }
}

/// Returns the text without an entry.
pub(super) fn remove(before: &str, file: &Path, id: &str) -> Result<String, KeyFileError> {
    let known = parse(before, file).map_err(KeyFileError::Unusable)?;
    let root = parse::parse(before).root.ok_or(KeyFileError::Unusual)?;
    if is_in_braces(before, &root) {
        return Err(KeyFileError::Braces);
    }
    let entries = root.entries().unwrap_or_default();
    let at = entries.iter().position(|entry| entry.key == id);
    let at = at.ok_or_else(|| KeyFileError::Unknown(id.to_owned()))?;
    let line = |index: usize| entries.get(index).map(|entry| entry.at.line - 1);
    let lines: Vec<&str> = before.split_inclusive('\n').collect();
    let first = line(at).ok_or(KeyFileError::Unusual)?;
    let end = lines.iter().position(|line| line.trim_end() == "...");
    let next = line(at + 1).unwrap_or(end.unwrap_or(lines.len()));
    // Comments before the next key belong to that one.
    let own = lines.get(first..next).ok_or(KeyFileError::Unusual)?;
    let is_tail = |line: &&&str| line.trim().is_empty() || line.starts_with('#');
    let last = next - own.iter().rev().take_while(is_tail).count();
    let kept = lines.iter().enumerate();
    let kept = kept.filter(|(index, _)| !(first..last).contains(index));
    let mut text: String = kept.map(|(_, line)| *line).collect();
    if known.len() == 1 {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("{}\n");
    }
    let after = parse(&text, file).map_err(KeyFileError::Invalid)?;
    let others = known.iter().filter(|entry| &*entry.id != id);
    match after.iter().eq(others) {
        true => Ok(text),
        false => Err(KeyFileError::Unusual),
    }
}

fn parse(text: &str, file: &Path) -> Result<Vec<ApiKeyEntry>, ConfigErrors> {
    parse_api_keys(text, file)
}

fn is_in_braces(text: &str, root: &Node) -> bool {
    let line = text.lines().nth(root.at.line.saturating_sub(1));
    let first = line.and_then(|line| line.chars().nth(root.at.column.saturating_sub(1)));
    matches!(root.value, Value::Map(_)) && first == Some('{')
}

/// Returns the text without `{}`, which a file without keys holds.
fn without_empty_braces(text: &str) -> Result<String, KeyFileError> {
    let Some(root) = parse::parse(text).root else {
        return Ok(text.to_owned());
    };
    if !is_in_braces(text, &root) {
        return Ok(text.to_owned());
    }
    let is_empty = root.entries().is_some_and(<[_]>::is_empty);
    let is_braces = |line: &str| line.trim() == "{}";
    if !is_empty || !text.lines().any(is_braces) {
        return Err(KeyFileError::Braces);
    }
    let lines = text.split_inclusive('\n');
    Ok(lines.filter(|line| !is_braces(line)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> &'static Path {
        Path::new("callers.yaml")
    }

    fn lines(subject: &str) -> Vec<String> {
        let hash = "0a".repeat(32);
        vec![
            format!("subject: {subject}"),
            format!("hash: sha256:{hash}"),
        ]
    }

    fn entry(id: &str, subject: &str) -> String {
        let lines = lines(subject);
        format!("\"{id}\":\n  {}\n  {}\n", lines[0], lines[1])
    }

    #[test]
    fn an_entry_is_added_at_the_end_and_nothing_else_changes() {
        let (one, two) = (entry("1", "a"), entry("ci-2", "b"));
        let cases = [
            (None, format!("{NEW}{two}")),
            (Some(String::new()), two.clone()),
            (Some("{}\n".to_owned()), two.clone()),
            (Some("# mine\n{}\n".to_owned()), format!("# mine\n{two}")),
            (Some(one.clone()), format!("{one}{two}")),
            (
                Some(format!("# mine\n{}# end", one)),
                format!("# mine\n{one}# end\n{two}"),
            ),
            (
                Some(format!("---\n{one}...\n")),
                format!("---\n{one}{two}...\n"),
            ),
        ];
        for (before, after) in cases {
            let added = add(before.as_deref(), file(), "ci-2", &lines("b"));
            assert_eq!(added.unwrap(), after, "{before:?}");
        }
    }

    #[test]
    fn an_entry_is_removed_with_its_lines_and_no_others() {
        let (one, two) = (entry("1", "a"), entry("ci-2", "b"));
        let text = format!("# mine\n{one}\n# of two\n{two}# end\n");
        let removed = remove(&text, file(), "1").unwrap();
        assert_eq!(removed, format!("# mine\n\n# of two\n{two}# end\n"));
        let removed = remove(&text, file(), "ci-2").unwrap();
        assert_eq!(removed, format!("# mine\n{one}\n# of two\n# end\n"));
        let last = remove(&removed, file(), "1").unwrap();
        assert!(parse(&last, file()).unwrap().is_empty(), "{last}");
        let again = add(Some(&last), file(), "ci-2", &lines("b")).unwrap();
        assert_eq!(parse(&again, file()).unwrap().len(), 1, "{again}");
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        let one = entry("1", "a");
        let add = |text: &str, id: &str| add(Some(text), file(), id, &lines("b")).unwrap_err();
        assert!(matches!(add(&one, "1"), KeyFileError::Taken(_)));
        assert!(matches!(add(&one, "a_b"), KeyFileError::Invalid(_)));
        assert!(matches!(add("x: 1\n", "a"), KeyFileError::Unusable(_)));
        let braces = format!(
            "{{ x: {{ subject: a, hash: 'sha256:{}' }} }}\n",
            "0a".repeat(32)
        );
        assert!(matches!(add(&braces, "a"), KeyFileError::Braces));
        let remove = |text: &str, id: &str| remove(text, file(), id).unwrap_err();
        assert!(matches!(remove(&braces, "x"), KeyFileError::Braces));
        assert!(matches!(remove(&one, "2"), KeyFileError::Unknown(_)));
    }
}
