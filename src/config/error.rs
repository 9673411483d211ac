//! Config errors: all that is wrong with a config, at once.

use std::fmt;
use std::path::{Path, PathBuf};

use super::policy::PolicyFileError;
use super::replicas::ReplicaRule;
use super::rules::{HeaderSettingError, Rule, UrlError};
use super::secrets::{ExpandError, SecretRefError};
use super::units::UnitError;
use crate::document::node::{Position, SyntaxError};
use crate::files::io_reason;
use crate::name::NameError;
use crate::pem::PemError;

/// Everything that is wrong with a config, in the order of files and lines. `Display` prints one error a line:
/// ``file:line:column: key.path: message (did you mean `x`?)``.
#[derive(Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Sorts by file as they were read, then by position.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.order, problem.at));
        Self { problems }
    }

    /// Returns the errors one by one. There is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.problems.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One error and where it is.
#[derive(Debug)]
pub struct Problem {
    /// The path of the file, as it was given.
    pub(super) file: PathBuf,
    /// Which file of the config it is: 0 is the main one.
    pub(super) order: usize,
    /// Where in the file, unless the whole file is meant.
    pub(super) at: Option<Position>,
    /// The key path, empty at the root.
    pub(super) path: String,
    pub(super) kind: ProblemKind,
}

impl Problem {
    /// The path of the file, as it was given.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns line and column, unless the problem is about the whole file.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.at
    }

    /// Returns the key path, such as `upstreams.github.args[2]`; empty at the root.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.path
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn kind(&self) -> &ProblemKind {
        &self.kind
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(at) = self.at {
            write!(f, "{at}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.kind)?;
        match self.kind.suggestion() {
            Some(suggestion) => write!(f, " (did you mean `{suggestion}`?)"),
            None => Ok(()),
        }
    }
}

/// A kind of problem. Messages never contain a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ProblemKind {
    /// The file cannot be read.
    #[error("cannot be read: {}", io_reason(source))]
    Unreadable {
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML, or beyond a bound.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// More errors than anybody reads.
    #[error("too many errors; the rest of this file is not checked")]
    TooMany,
    /// A key that is not in the model.
    #[error("unknown key{}", alternatives(expected, *suggestion))]
    UnknownKey {
        /// The keys that are.
        expected: &'static [&'static str],
        /// The one that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A word that is not in the list.
    #[error("expected {}, found `{found}`", any_of(expected))]
    UnknownWord {
        /// The word.
        found: String,
        /// The list.
        expected: &'static [&'static str],
        /// The one that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// `key:value`
    #[error("a blank is missing after `{key}:`")]
    NoBlank {
        /// The key.
        key: &'static str,
    },
    /// A key that begins or ends with a character that only looks like a blank.
    #[error("it begins or ends with a no-break space or the like: replace that by a blank")]
    OddBlank,
    /// A setting in which variables are not replaced, and that is wrong because of one.
    #[error("variables are not replaced in this setting: {advice}")]
    Variable {
        /// The advice.
        advice: &'static str,
    },
    /// A key that must be there.
    #[error("`{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that is expected.
        expected: String,
        /// The type that was found.
        found: String,
    },
    /// Not exactly one of several keys.
    #[error("expected exactly one key: {}", any_of(expected))]
    NotOneKey {
        /// The keys.
        expected: &'static [&'static str],
    },
    /// A secret written as text.
    #[error(
        "a secret is not written as plain text: write `{{ env: NAME }}`, `{{ file: PATH }}`, or `{{ value: TEXT }}` if everybody may read it here"
    )]
    BareSecret,
    /// The message of the deserializer of a value.
    #[error("{0}")]
    Form(String),
    /// A duration or a size.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A secret that cannot be resolved.
    #[error(transparent)]
    Secret(#[from] SecretRefError),
    /// A certificate or a key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A `${VAR}` that cannot be replaced.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A glob.
    #[error("not a glob: {}", .0.kind())]
    Glob(globset::Error),
    /// A regular expression.
    #[error("not a regular expression: {}", last_line(.0))]
    Regex(regex::Error),
    /// A cron expression.
    #[error(
        "not a cron expression of six fields (second, minute, hour, day of month, month, day of week): {reason}"
    )]
    Cron {
        /// The message of the scheduler's parser.
        reason: String,
    },
    /// A cron expression of five fields, or of another number that is not six.
    #[error(
        "looks like a cron expression with {}, and needs 6 (second, minute, hour, day of month, month, day of week){}",
        fields(*found),
        if *found == 5 { ": put the second in front, such as `0`" } else { "" }
    )]
    CronFields {
        /// How many there are.
        found: usize,
    },
    /// A URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A header.
    #[error(transparent)]
    Header(#[from] HeaderSettingError),
    /// A policy, in the words of Cedar.
    #[error("{0}")]
    Policy(String),
    /// A file of policies.
    #[error(transparent)]
    PolicyFile(#[from] PolicyFileError),
    /// A rule of `replicas`.
    #[error(transparent)]
    Replicas(#[from] ReplicaRule),
    /// A rule between values.
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl ProblemKind {
    /// Returns whether it is about a setting in which no variables are replaced.
    pub(super) fn is_of_plain_text(&self) -> bool {
        match self {
            Self::Unit(_) | Self::Name(_) | Self::Cron { .. } | Self::CronFields { .. } => true,
            Self::Rule(rule) => matches!(
                rule,
                Rule::Address
                    | Rule::Path
                    | Rule::Host
                    | Rule::Origin
                    | Rule::Instance
                    | Rule::ToolName
            ),
            Self::Unreadable { .. }
            | Self::Syntax(_)
            | Self::TooMany
            | Self::UnknownKey { .. }
            | Self::UnknownWord { .. }
            | Self::NoBlank { .. }
            | Self::OddBlank
            | Self::Variable { .. }
            | Self::MissingKey { .. }
            | Self::WrongType { .. }
            | Self::NotOneKey { .. }
            | Self::BareSecret
            | Self::Form(_)
            | Self::Secret(_)
            | Self::Pem(_)
            | Self::Expand(_)
            | Self::Glob(_)
            | Self::Regex(_)
            | Self::Url(_)
            | Self::Header(_)
            | Self::Policy(_)
            | Self::PolicyFile(_)
            | Self::Replicas(_) => false,
        }
    }

    /// Returns the word that was probably meant.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        match self {
            Self::UnknownKey { suggestion, .. } | Self::UnknownWord { suggestion, .. } => {
                *suggestion
            }
            Self::Unreadable { .. }
            | Self::Syntax(_)
            | Self::TooMany
            | Self::NoBlank { .. }
            | Self::OddBlank
            | Self::Variable { .. }
            | Self::MissingKey { .. }
            | Self::WrongType { .. }
            | Self::NotOneKey { .. }
            | Self::BareSecret
            | Self::Form(_)
            | Self::Unit(_)
            | Self::Name(_)
            | Self::Secret(_)
            | Self::Pem(_)
            | Self::Expand(_)
            | Self::Glob(_)
            | Self::Regex(_)
            | Self::Cron { .. }
            | Self::CronFields { .. }
            | Self::Url(_)
            | Self::Header(_)
            | Self::Policy(_)
            | Self::PolicyFile(_)
            | Self::Replicas(_)
            | Self::Rule(_) => None,
        }
    }
}

fn fields(found: usize) -> String {
    let plural = if found == 1 { "" } else { "s" };
    format!("{found} field{plural}")
}

/// The keys there are, where there is no better advice.
fn alternatives(expected: &[&str], suggestion: Option<&str>) -> String {
    match (expected, suggestion) {
        (_, Some(_)) => String::new(),
        ([], None) => "; no other key belongs here".to_owned(),
        (expected, None) => format!("; the keys here are {}", expected.join(", ")),
    }
}

/// `a, b or c`
fn any_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// The regex crate draws a picture; its last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
