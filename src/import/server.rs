//! One server of another program's file → one upstream in YAML. What each format calls its parts, its reader knows.

mod address;
mod args;
mod blocks;
mod parts;

pub(super) use parts::{OAuthClientKeys, SigningKeys};

use std::path::Path;

use blocks::KeyBlocks;

use super::report::{Note, NoteKind, ServerReport};
use super::variables::{Variables, refers, rewrite, single};
use super::{sort, variables, yaml};
use crate::config::{ProblemKind, SecretRefError, is_refused_header, is_standard_variable, parse};
use crate::document::node::{MapEntry, Node, Position, Value};

/// The lines of one upstream, as they grow.
pub(super) struct UpstreamWriter<'v> {
    name: String,
    /// The prefix of its variables.
    stem: String,
    variables: &'v mut Variables,
    blocks: KeyBlocks,
    comments: Vec<String>,
    /// Keys that do not come along.
    left: Vec<String>,
    /// Globs of `tools.allow` and `tools.deny`.
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
    disabled: bool,
    /// Whether it logs in as a person does, so that weir has to keep something.
    keeps: bool,
    /// The position of what is being read.
    at: Position,
    report: ServerReport,
}

/// One upstream, written.
pub(super) struct UpstreamYaml {
    pub(super) yaml: String,
    pub(super) report: ServerReport,
    /// Whether it needs a state folder.
    pub(super) keeps: bool,
}

impl<'v> UpstreamWriter<'v> {
    /// Nothing yet. `at` is where it begins in its file.
    pub(super) fn new(name: &str, at: Position, variables: &'v mut Variables) -> Self {
        Self {
            name: name.to_owned(),
            stem: yaml::variable(name),
            variables,
            blocks: KeyBlocks::default(),
            comments: Vec::new(),
            left: Vec::new(),
            allow: None,
            deny: None,
            disabled: false,
            keeps: false,
            at,
            report: ServerReport {
                name: name.to_owned(),
                at,
                carried: Vec::new(),
                notes: Vec::new(),
            },
        }
    }

    /// The upstream, indented. If weir would refuse it, it is disabled and says why.
    pub(super) fn write(mut self) -> UpstreamYaml {
        if !self.left.is_empty() {
            let keys = self.left.join(", ");
            self.comments.push(format!("not taken over: {keys}"));
        }
        let head = "state: { dir: state }\nupstreams:\n";
        if !self.disabled
            && let Err(errors) = parse(
                &format!("{head}{}", self.render()),
                Path::new(""),
                &stand_in,
            )
        {
            self.at = self.report.at;
            // Files need not be where the import is made.
            let is_file = |kind: &ProblemKind| {
                matches!(
                    kind,
                    ProblemKind::Secret(SecretRefError::File(_)) | ProblemKind::Pem(_)
                )
            };
            for problem in errors.iter().filter(|problem| !is_file(problem.kind())) {
                self.disable(&format!("{}: {}", problem.key(), problem.kind()));
            }
        }
        UpstreamYaml {
            yaml: self.render(),
            report: self.report,
            keeps: self.keeps,
        }
    }

    fn render(&self) -> String {
        let mut text = format!("  {}:\n", yaml::scalar(&self.name));
        for comment in &self.comments {
            text.push_str(&format!("    # {}\n", yaml::comment(comment)));
        }
        for line in self.blocks.lines() {
            text.push_str(&format!("    {line}\n"));
        }
        let lists = [("allow", &self.allow), ("deny", &self.deny)];
        let lists = lists.iter().filter_map(|(key, globs)| {
            let globs = globs.as_ref()?.iter().map(|glob| yaml::quoted(glob));
            let globs: Vec<_> = globs.collect();
            Some(format!("{key}: [{}]", globs.join(", ")))
        });
        let lists: Vec<_> = lists.collect();
        if !lists.is_empty() {
            text.push_str(&format!("    tools: {{ {} }}\n", lists.join(", ")));
        }
        if self.disabled {
            text.push_str("    disabled: true\n");
        } else if self.blocks.is_empty() && lists.is_empty() {
            text.push_str("    {}\n");
        }
        text
    }

    /// Sets the position of the notes that follow.
    pub(super) fn reading(&mut self, at: Position) {
        self.at = at;
    }

    fn note(&mut self, kind: NoteKind, text: String) {
        let at = self.at;
        self.report.notes.push(Note { at, kind, text });
    }

    /// Says that a key came along.
    pub(super) fn carried(&mut self, key: &str) {
        self.report.carried.push(key.to_owned());
    }

    /// Says that something came along in other words.
    pub(super) fn changed(&mut self, what: &str) {
        self.note(NoteKind::Changed, what.to_owned());
    }

    /// Says that a key did not come along, and why.
    pub(super) fn left_out(&mut self, key: &str, why: &str) {
        self.left.push(key.to_owned());
        self.note(NoteKind::LeftOut, format!("`{key}`: {why}"));
    }

    /// It would not work as it is.
    pub(super) fn disable(&mut self, why: &str) {
        self.disabled = true;
        self.comments.push(why.to_owned());
        self.note(NoteKind::Disabled, why.to_owned());
    }

    /// It is switched off in its file.
    pub(super) fn switch_off(&mut self) {
        self.disabled = true;
        self.carried("disabled");
    }

    /// A key of the upstream with a value as YAML, which `what` of the file came along as.
    pub(super) fn set(&mut self, key: &str, value: String, what: &str) {
        match self.blocks.set(key, value) {
            true => self.carried(what),
            false => self.twice(what),
        }
    }

    fn twice(&mut self, what: &str) {
        self.left_out(what, "the file says it twice");
    }

    pub(super) fn place(&self, key: &str) -> String {
        format!("upstreams.{}.{key}", self.name)
    }

    /// Text in quotes, with its references rewritten and listed.
    pub(super) fn quoted(&mut self, text: &str, key: &str) -> String {
        let text = self.rewritten(text, &self.place(key));
        yaml::quoted(&text)
    }

    /// A scalar with its references rewritten and listed.
    fn rewritten(&mut self, text: &str, place: &str) -> String {
        rewrite(text, |name| self.variables.refer(name, place))
    }

    /// The variable that stands for a secret from now on.
    fn hide(&mut self, wanted: &str, secret: &str, place: &str) -> String {
        let wanted = yaml::variable(wanted);
        let other = if wanted.starts_with(&self.stem) {
            format!("{wanted}_2")
        } else {
            format!("{}_{wanted}", self.stem)
        };
        let name = self.variables.replace(&wanted, &other, secret, place);
        let prefix = format!("upstreams.{}.", self.name);
        let part = place.strip_prefix(&prefix).unwrap_or(place);
        self.changed(&format!(
            "the secret in `{part}` is the variable {name} now"
        ));
        if refers(secret) {
            let whole = "is set to the whole text, with what its references stand for";
            self.changed(&format!("{name} {whole}"));
        }
        name
    }

    /// `command` or `cwd`.
    pub(super) fn text(&mut self, key: &str, node: &Node) {
        let Some(text) = node.scalar() else {
            return self.disable(&format!("`{key}` is not text"));
        };
        let place = self.place(key);
        if sort::is_telling_command(&variables::literal(&text)) {
            let name = self.hide(&format!("{}_{key}", self.stem), &text, &place);
            return self.set(key, format!("\"${{{name}}}\""), key);
        }
        let text = self.rewritten(&text, &place);
        self.set(key, yaml::scalar(&text), key);
    }

    pub(super) fn env(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else {
            return self.disable("`env` is not a mapping");
        };
        let mut carried = false;
        for MapEntry { key, node, at } in entries {
            self.at = *at;
            let Some(text) = node.scalar() else {
                self.left_out(&format!("env.{key}"), "it is not text");
                continue;
            };
            let place = self.place(&format!("env.{key}"));
            let value = self.value(key, key, &text, &place);
            match self.blocks.add("env", &yaml::scalar(key), value, false) {
                true => carried = true,
                false => self.twice(&format!("env.{key}")),
            }
        }
        if carried {
            self.carried("env");
        }
    }

    /// A value of `env` or `headers`: a reference, a hidden secret, or what it is.
    fn value(&mut self, key: &str, wanted: &str, text: &str, place: &str) -> String {
        if sort::is_secret(key, text) {
            return format!("{{ env: {} }}", self.hide(wanted, text, place));
        }
        let text = self.rewritten(text, place);
        match single(&text) {
            Some(name) => format!("{{ env: {name} }}"),
            None => yaml::quoted(&text),
        }
    }

    pub(super) fn headers(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else {
            return self.disable("`headers` is not a mapping");
        };
        let mut lines = Vec::new();
        for MapEntry { key, node, at } in entries {
            self.at = *at;
            match node.scalar() {
                Some(text) => lines.extend(self.header(key, &text)),
                None => self.left_out(&format!("headers.{key}"), "it is not text"),
            }
        }
        let mut carried = false;
        for (key, value) in lines {
            match self.blocks.add("headers", &key, value, true) {
                true => carried = true,
                false => self.twice(&format!("headers.{key}")),
            }
        }
        if carried {
            self.carried("headers");
        }
    }

    /// One header; none where `auth` says it, or weir itself.
    fn header(&mut self, key: &str, text: &str) -> Option<(String, String)> {
        if is_refused_header(key) {
            let what = format!("header left out, weir sets it itself: {key}");
            self.changed(&what);
            self.comments.push(what);
            return None;
        }
        let place = self.place(&format!("headers.{key}"));
        let bearer = key
            .eq_ignore_ascii_case("authorization")
            .then(|| text.strip_prefix("Bearer "));
        let bearer = bearer.flatten().filter(|token| !token.is_empty());
        if bearer.is_some() && self.blocks.has("auth") {
            self.twice(&format!("headers.{key}"));
            return None;
        }
        if let Some(token) = bearer
            && let Some(token) = self.secret("TOKEN", token, &place)
        {
            self.bearer(&token);
            return None;
        }
        let wanted = format!("{}_{key}", self.stem);
        let value = self.value(key, &wanted, text, &place);
        Some((yaml::scalar(key), value))
    }

    /// `auth: bearer`, with a token as YAML.
    pub(super) fn bearer(&mut self, token: &str) {
        let value = format!("{{ type: bearer, token: {token} }}");
        self.set("auth", value, "auth");
    }

    /// A secret as a reference, if it is one variable or one secret.
    pub(super) fn secret(&mut self, part: &str, text: &str, place: &str) -> Option<String> {
        let name = self.variable(part, text, place)?;
        Some(format!("{{ env: {name} }}"))
    }

    /// The variable that is a secret, or stands for it from now on.
    fn variable(&mut self, part: &str, text: &str, place: &str) -> Option<String> {
        Some(if text.contains("${") {
            let text = rewrite(text, |_| {});
            let name = single(&text)?.to_owned();
            self.variables.refer(&name, place);
            name
        } else {
            self.hide(&format!("{}_{part}", self.stem), text, place)
        })
    }
}

/// Values for a trial run, likely to fit where a variable of such a name stands.
fn stand_in(name: &str) -> Option<String> {
    if is_standard_variable(name) {
        return None;
    }
    let name = name.to_uppercase();
    let value = if name.contains("PORT") {
        "1"
    } else if name.contains("URL") || name.contains("ENDPOINT") {
        "https://localhost"
    } else {
        "localhost"
    };
    Some(value.to_owned())
}
