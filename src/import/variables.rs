//! The environment variables that an imported config needs.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::yaml;

/// Variables that nobody has to set.
const THERE_ANYWAY: &[&str] = &["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];

/// The use of a variable.
#[derive(PartialEq, Eq)]
enum VariableUse {
    /// The file refers to it by name.
    Named,
    /// It replaces this text. Never printed.
    Replaces(String),
}

/// The variables, by name, with why each is needed.
#[derive(Default)]
pub(super) struct Variables {
    meanings: HashMap<String, VariableUse>,
    reasons: IndexMap<String, Vec<String>>,
    /// Descriptions of VS Code's inputs, by variable.
    pub(super) inputs: HashMap<String, String>,
}

impl Variables {
    /// Keeps a name for what the file itself refers to.
    pub(super) fn reserve(&mut self, name: &str) {
        self.meanings.insert(name.to_owned(), VariableUse::Named);
    }

    /// Says that the file refers to a variable.
    pub(super) fn refer(&mut self, name: &str, place: &str) {
        if matches!(self.meanings.get(name), Some(VariableUse::Replaces(_))) {
            return; // put there by us, and said already
        }
        self.reserve(name);
        if THERE_ANYWAY.contains(&name) {
            return;
        }
        let reason = match self.inputs.get(name) {
            Some(description) => format!("{place}: {description}"),
            None => place.to_owned(),
        };
        self.reasons
            .entry(name.to_owned())
            .or_default()
            .push(reason);
    }

    /// A variable in place of a secret: `wanted`, or if that stands for something else, `other`, numbered if need be.
    pub(super) fn replace(
        &mut self,
        wanted: &str,
        other: &str,
        secret: &str,
        place: &str,
    ) -> String {
        let secret = VariableUse::Replaces(secret.to_owned());
        let numbered = (2..).map(|number| format!("{other}_{number}"));
        let mut names = [wanted.to_owned(), other.to_owned()]
            .into_iter()
            .chain(numbered);
        let fits = |name: &String| {
            self.meanings
                .get(name)
                .is_none_or(|meaning| *meaning == secret)
        };
        let name = names.find(fits).unwrap_or_else(|| other.to_owned());
        self.meanings.insert(name.clone(), secret);
        let reason = format!("{place}, where a secret is written in the file");
        self.reasons.entry(name.clone()).or_default().push(reason);
        name
    }

    /// Returns the names of the variables to set.
    pub(super) fn names(&self) -> Vec<String> {
        self.reasons.keys().cloned().collect()
    }

    /// The leading comment: what to set, never to what.
    pub(super) fn comment(&self) -> String {
        if self.reasons.is_empty() {
            return String::new();
        }
        let mut text = "# Set these environment variables before weir starts:\n".to_owned();
        let width = self
            .reasons
            .keys()
            .map(String::len)
            .max()
            .unwrap_or_default();
        for (name, reasons) in &self.reasons {
            let reasons = yaml::comment(&reasons.join("; "));
            text.push_str(&format!("#   {name:width$}  {reasons}\n"));
        }
        text
    }
}

/// A part of a text, in order and without gaps.
enum TextPart<'t> {
    Literal(&'t str),
    /// `${` that begins no reference.
    Open,
    /// The text in `${…}`.
    Reference(&'t str),
}

impl TextPart<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Open => "${".len(),
            Self::Reference(inside) => inside.len() + "${}".len(),
        }
    }
}

fn parts(text: &str) -> Vec<TextPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        parts.push(TextPart::Literal(before));
        let inside = after.split_once('}');
        match inside.filter(|(inside, _)| !inside.is_empty()) {
            Some((inside, after)) => {
                parts.push(TextPart::Reference(inside));
                rest = after;
            }
            None => {
                parts.push(TextPart::Open);
                rest = after;
            }
        }
    }
    parts.push(TextPart::Literal(rest));
    parts
}

/// Rewrites what editors call a variable to `${NAME}`: `${env:X}`, `${input:id}`, `${userHome}`, `${workspaceFolder}`.
/// Text that only looks like one is escaped.
pub(super) fn rewrite(text: &str, mut refer: impl FnMut(&str)) -> String {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        let inside = match part {
            TextPart::Literal(text) => {
                out.push_str(text);
                continue;
            }
            TextPart::Open => {
                out.push_str("$${");
                continue;
            }
            TextPart::Reference(inside) => inside,
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, format!(":-{default}")),
            None => (inside, String::new()),
        };
        let name = name_of(name);
        if default.is_empty() {
            refer(&name);
        }
        out.push_str(&format!("${{{name}{default}}}"));
    }
    out
}

/// The text that is written itself: without its references, but with their defaults.
pub(super) fn literal(text: &str) -> String {
    let parts = parts(text);
    let written = parts.iter().map(|part| match part {
        TextPart::Literal(text) => text,
        TextPart::Open => "${",
        TextPart::Reference(inside) => inside.split_once(":-").map_or("", |(_, default)| default),
    });
    written.collect()
}

/// Whether a text refers to a variable.
pub(super) fn refers(text: &str) -> bool {
    let parts = parts(text);
    parts
        .iter()
        .any(|part| matches!(part, TextPart::Reference(_)))
}

/// The name of what a text begins with, if that is a reference.
pub(super) fn leading(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("${")?.split_once('}')?.0;
    Some(inside.split_once(":-").map_or(inside, |(name, _)| name))
}

/// Where one of these (ASCII) stands outside of references.
fn places(text: &str, separators: &[char]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut start = 0;
    for part in parts(text) {
        if let TextPart::Literal(text) = part {
            let found = text.match_indices(separators);
            places.extend(found.map(|(at, _)| start + at));
        }
        start += part.len();
    }
    places
}

fn cut(text: &str, at: usize) -> Option<(&str, &str)> {
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The text before and behind the first of these outside of references.
pub(super) fn split_once<'t>(text: &'t str, separators: &[char]) -> Option<(&'t str, &'t str)> {
    cut(text, *places(text, separators).first()?)
}

/// The text before and behind the last of these outside of references.
pub(super) fn rsplit_once<'t>(text: &'t str, separators: &[char]) -> Option<(&'t str, &'t str)> {
    cut(text, *places(text, separators).last()?)
}

/// The pieces between these, which count only outside of references.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((piece, after)) = split_once(rest, &[separator]) {
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn name_of(inside: &str) -> String {
    let legal = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match inside.split_once(':') {
        Some(("env", name)) if legal(name) => name.to_owned(),
        Some(("env" | "input", name)) => yaml::variable(name),
        Some(_) => yaml::variable(inside),
        None if inside == "userHome" => "HOME".to_owned(),
        None if inside.contains(|c: char| c.is_ascii_lowercase())
            && inside.starts_with("workspace") =>
        {
            yaml::variable(inside)
        }
        None if legal(inside) => inside.to_owned(),
        None => yaml::variable(inside),
    }
}

/// The variable, if the text is one reference and nothing else.
pub(super) fn single(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("${")?.strip_suffix('}')?;
    let plain = !inside.contains(['$', '}', ':']);
    plain.then_some(inside)
}
