//! Inserts an upstream into the text of a config, and leaves every other byte as it is.
//!
//! The place is known from the positions of the parsed text. What comes out is parsed again and
//! compared with what went in: only the new upstream may differ.

use serde_json::Value as Json;

use crate::document::node::{Node, Position, Value};
use crate::document::parse;

/// Why an upstream is not inserted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The text is not a config that can be read.
    #[error("the config cannot be read, see `weir check`")]
    Unreadable,
    /// The name is taken.
    #[error("there is an upstream of this name already, in line {0}")]
    Taken(usize),
    /// Upstreams in `{ … }`, or a file in JSON.
    #[error(
        "its upstreams are written in braces, as in JSON, which weir does not edit: add the upstream by hand"
    )]
    Braces,
    /// The text has a form that the rules of this module do not foresee.
    #[error("the file has an unusual form, which weir does not edit: add the upstream by hand")]
    Unusual,
}

/// Returns the text with an upstream at the end of its upstreams. `block` is the upstream's value in
/// YAML, a line each, not indented.
///
/// # Errors
/// The name is taken, or the text has a form that weir does not edit.
pub fn insert(text: &str, name: &str, block: &[String]) -> Result<String, InsertError> {
    let before = read(text)?;
    for key in ["upstreams", "mcpServers"] {
        let upstreams = before.get(key).map(|entry| &entry.node);
        if let Some(taken) = upstreams.and_then(|node| node.get(name)) {
            return Err(InsertError::Taken(taken.at.line));
        }
    }
    let after = Insertion::find(text, &before)?.apply(text, name, block);
    match is_only_addition(
        &before,
        &read(&after).map_err(|_| InsertError::Unusual)?,
        name,
    ) {
        true => Ok(after),
        false => Err(InsertError::Unusual),
    }
}

fn read(text: &str) -> Result<Node, InsertError> {
    let parsed = parse::parse(text);
    match (parsed.errors.is_empty(), parsed.root) {
        (true, Some(root)) => Ok(root),
        (true, None) | (false, _) => Err(InsertError::Unreadable),
    }
}

/// Where an upstream goes.
struct Insertion {
    /// Before this line, counted from 0.
    line: usize,
    /// The lines that follow replace the one before `line` up to this text.
    cut: Option<&'static str>,
    /// A key that has to be written too.
    needs_key: bool,
    indent: usize,
}

impl Insertion {
    /// Returns the place after the last of the upstreams, which ends before the line `end`.
    fn after_entries(lines: &[&str], end: usize, indent: usize) -> Self {
        Self {
            line: without_tail(lines, end, indent),
            cut: None,
            needs_key: false,
            indent,
        }
    }

    fn find(text: &str, root: &Node) -> Result<Self, InsertError> {
        let lines: Vec<&str> = text.lines().collect();
        if text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .starts_with(['{', '['])
        {
            return Err(InsertError::Braces);
        }
        let key = ["upstreams", "mcpServers"];
        let entry = key.into_iter().find_map(|key| root.get(key));
        let Some(entry) = entry else {
            return match &root.value {
                Value::Null | Value::Map(_) => Ok(Self {
                    line: document_end(&lines),
                    cut: None,
                    needs_key: true,
                    indent: 2,
                }),
                Value::Bool(_)
                | Value::Number(_)
                | Value::Text(_)
                | Value::List(_)
                | Value::Removed => Err(InsertError::Unusual),
            };
        };
        let indent = entry.at.column - 1;
        match &entry.node.value {
            Value::Null => Ok(Self {
                line: entry.at.line,
                cut: None,
                needs_key: false,
                indent: indent + 2,
            }),
            Value::Map(entries) if is_brace(&lines, entry.node.at) => match entries.is_empty() {
                true => Ok(Self {
                    line: entry.at.line,
                    cut: Some("{}"),
                    needs_key: false,
                    indent: indent + 2,
                }),
                false => Err(InsertError::Braces),
            },
            Value::Map(entries) => {
                let first = entries.first().ok_or(InsertError::Unusual)?;
                let roots = root.entries().unwrap_or_default().iter();
                let next = roots
                    .map(|other| other.at.line)
                    .filter(|line| *line > entry.at.line);
                let end = next.min().map_or(document_end(&lines), |line| line - 1);
                Ok(Self::after_entries(&lines, end, first.at.column - 1))
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Removed => Err(InsertError::Unusual),
        }
    }

    fn apply(&self, text: &str, name: &str, block: &[String]) -> String {
        let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut new = String::new();
        if self.needs_key {
            new.push_str("upstreams:");
            new.push_str(ending);
        }
        let indent = " ".repeat(self.indent);
        new.push_str(&format!("{indent}{}:{ending}", super::yaml::scalar(name)));
        for line in block {
            new.push_str(&format!("{indent}  {line}{ending}"));
        }
        let mut out = String::with_capacity(text.len() + new.len());
        let mut lines = text.split_inclusive('\n');
        for (index, line) in lines.by_ref().take(self.line).enumerate() {
            match self.cut.filter(|_| index + 1 == self.line) {
                Some(cut) => out.push_str(&line.replacen(&format!(" {cut}"), "", 1)),
                None => out.push_str(line),
            }
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(ending);
        }
        out.push_str(&new);
        out.extend(lines);
        out
    }
}

/// Returns the number of lines before the end of the document.
fn document_end(lines: &[&str]) -> usize {
    let end = lines.iter().position(|line| line.trim_end() == "...");
    end.unwrap_or(lines.len())
}

/// Returns the number of lines up to `end`, without empty lines and comments at the end that do not
/// belong to something indented as far as this.
fn without_tail(lines: &[&str], end: usize, indent: usize) -> usize {
    let kept = lines.get(..end).unwrap_or(lines);
    let is_tail = |line: &&&str| {
        let text = line.trim_start();
        let column = line.len() - text.len();
        text.is_empty() || (text.starts_with('#') && column < indent)
    };
    end - kept.iter().rev().take_while(is_tail).count()
}

fn is_brace(lines: &[&str], at: Position) -> bool {
    let line = lines.get(at.line.saturating_sub(1));
    line.and_then(|line| line.chars().nth(at.column.saturating_sub(1))) == Some('{')
}

/// Returns whether nothing differs but an upstream that is new.
fn is_only_addition(before: &Node, after: &Node, name: &str) -> bool {
    let json = |node: &Node| serde_json::from_str::<Json>(&node.to_json()).unwrap_or_default();
    let (mut before, mut after) = (json(before), json(after));
    if before.is_null() {
        before = Json::Object(serde_json::Map::new());
    }
    let mut removed = 0;
    for key in ["upstreams", "mcpServers"] {
        let had = before.get(key).cloned();
        let Some(upstreams) = after.get_mut(key).and_then(Json::as_object_mut) else {
            continue;
        };
        removed += usize::from(upstreams.shift_remove(name).is_some());
        let is_empty = upstreams.is_empty();
        match (had, is_empty) {
            (None, true) => {
                after.as_object_mut().map(|all| all.shift_remove(key));
            }
            (Some(Json::Null), true) => {
                after
                    .as_object_mut()
                    .map(|all| all.insert(key.to_owned(), Json::Null));
            }
            _ => {}
        }
    }
    removed == 1 && before == after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> Result<String, InsertError> {
        insert(text, "new", &["url: https://new.example/mcp".to_owned()])
    }

    #[test]
    fn an_upstream_is_added_at_the_end_and_nothing_else_changes() {
        let new = "  new:\n    url: https://new.example/mcp\n";
        let cases = [
            ("", format!("upstreams:\n{new}")),
            ("version: 1", format!("version: 1\nupstreams:\n{new}")),
            (
                "# only\n# comments\n",
                format!("# only\n# comments\nupstreams:\n{new}"),
            ),
            (
                "upstreams: {}  # none\nversion: 1\n",
                format!("upstreams:  # none\n{new}version: 1\n"),
            ),
            (
                "upstreams:\n  #a: { url: x }\nversion: 1\n",
                format!("upstreams:\n{new}  #a: {{ url: x }}\nversion: 1\n"),
            ),
            (
                "upstreams:\n  a: { command: a } # why\n  # b is next\n\n# the rest\nversion: 1\n",
                format!(
                    "upstreams:\n  a: {{ command: a }} # why\n  # b is next\n{new}\n# the rest\nversion: 1\n"
                ),
            ),
            (
                "mcpServers:\n  a: { command: a }",
                format!("mcpServers:\n  a: {{ command: a }}\n{new}"),
            ),
            (
                "upstreams:\n  a:\n    command: |\n      x\n      # y\n",
                format!("upstreams:\n  a:\n    command: |\n      x\n      # y\n{new}"),
            ),
            (
                "---\nversion: 1\n...\n",
                format!("---\nversion: 1\nupstreams:\n{new}...\n"),
            ),
        ];
        for (before, after) in cases {
            assert_eq!(added(before).as_deref(), Ok(&*after), "{before}");
        }
        let wide = added("upstreams:\r\n    a: { command: a }\r\n").unwrap();
        assert_eq!(
            wide,
            "upstreams:\r\n    a: { command: a }\r\n    new:\r\n      url: https://new.example/mcp\r\n"
        );
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        let cases = [
            ("upstreams:\n  new: { command: a }\n", InsertError::Taken(2)),
            (
                "mcpServers: { new: { command: a } }\n",
                InsertError::Taken(1),
            ),
            ("upstreams: { a: { command: a } }\n", InsertError::Braces),
            ("{ \"mcpServers\": {} }\n", InsertError::Braces),
            ("upstreams:\n\ta: { command: a }\n", InsertError::Unreadable),
            ("upstreams: null\n", InsertError::Unusual),
            ("upstreams: {\n}\n", InsertError::Unreadable),
        ];
        for (text, error) in cases {
            assert_eq!(added(text), Err(error), "{text}");
        }
    }
}
