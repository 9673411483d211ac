//! Secret references → secrets, and `${VAR}` in text.

use std::path::Path;

use super::raw::AwsSecret as AwsSecretForm;
use super::{AwsCredentials, AwsSecret, AwsSource, SecretRef, raw};
use crate::files::{self, FileError};
use crate::secret::Secret;

/// The largest secret file, in bytes.
pub const MAX_SECRET: u64 = 64 * 1024;

/// How the loader looks up an environment variable.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// An error of a secret reference.
#[derive(Debug, thiserror::Error)]
pub enum SecretRefError {
    /// `env` names nothing.
    #[error("environment variable `{0}` is not set")]
    Unset(String),
    /// `env` names an empty variable.
    #[error("environment variable `{0}` is empty")]
    EmptyVariable(String),
    /// `file` cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// `value` is empty.
    #[error("the secret is empty")]
    Empty,
    /// `aws_secret` with an id, key or region that is none.
    #[error("not {0}")]
    Aws(&'static str),
    /// `aws_secret` where the secret must be known at the start.
    #[error("a secret of weir itself comes from `env` or `file`, not from `aws_secret`")]
    Own,
}

/// An error of a `${VAR}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// No such variable, and no default.
    #[error(
        "environment variable `{0}` is not set; `${{{0}:-default}}` has a default, `$${{` is a plain `${{`"
    )]
    Unset(String),
    /// `${` without `}`.
    #[error("`${{` without `}}`; `$${{` is a plain `${{`")]
    Open,
    /// Not a variable's name.
    #[error("`${{…}}` holds no variable's name; `$${{` is a plain `${{`")]
    Name,
    /// VS Code's inputs are asked for by VS Code.
    #[error(
        "`${{input:{0}}}` is known to VS Code only; `weir import` turns it into a secret reference"
    )]
    Input(String),
}

/// Resolves a secret reference; a file is relative to `folder`.
pub(super) fn reference(
    raw: &raw::SecretRef,
    folder: &Path,
    env: Env<'_>,
) -> Result<SecretRef, SecretRefError> {
    match raw {
        raw::SecretRef::Value(text) if text.0.is_empty() => Err(SecretRefError::Empty),
        raw::SecretRef::Value(text) => Ok(SecretRef::Fixed(Secret::new(&text.0))),
        raw::SecretRef::Env(name) => match env(name) {
            None => Err(SecretRefError::Unset(name.clone())),
            Some(text) if text.is_empty() => Err(SecretRefError::EmptyVariable(name.clone())),
            Some(text) => Ok(SecretRef::Fixed(Secret::new(&text))),
        },
        raw::SecretRef::File(name) => {
            let path = folder.join(name);
            let first = files::read(&path, MAX_SECRET)?;
            let path = std::path::absolute(&path).unwrap_or(path);
            Ok(SecretRef::File { path, first })
        }
        raw::SecretRef::AwsSecret(named) => aws(named).map(|secret| SecretRef::Aws(secret.into())),
    }
}

fn aws(named: &AwsSecretForm) -> Result<AwsSecret, SecretRefError> {
    // Of the API's own limits: 1 to 2048 characters.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@!:-".contains(&byte);
    if named.id.is_empty() || named.id.len() > 2048 || !named.id.bytes().all(legal) {
        return Err(SecretRefError::Aws("the name or ARN of a secret"));
    }
    if named.key.as_deref() == Some("") {
        return Err(SecretRefError::Aws("a key: it is empty"));
    }
    let mut region = named.region.clone();
    if let ["arn", _, "secretsmanager", of_arn, ..] = *named.id.split(':').collect::<Vec<_>>() {
        region.get_or_insert_with(|| of_arn.to_owned());
    }
    if !region.as_deref().is_none_or(is_region) {
        return Err(SecretRefError::Aws("an AWS region, such as eu-west-1"));
    }
    Ok(AwsSecret {
        id: named.id.clone(),
        key: named.key.clone(),
        region,
        credentials: AwsCredentials {
            source: AwsSource::Chain {
                profile: named.profile.clone(),
            },
            assume_role: None,
        },
    })
}

/// Returns whether a text looks like an AWS region: `eu-west-1`, `us-gov-west-1`.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lower = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [words @ .., number] => {
            words.len() >= 2
                && words.iter().all(lower)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        [] => false,
    }
}

/// Replaces `${VAR}`, `${VAR:-default}` and Cursor's `${env:VAR}`. `$${` stays as `${`. What is put in is not
/// looked at again.
pub(super) fn expand(text: &str, env: Env<'_>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (inside, after) = after.split_once('}').ok_or(ExpandError::Open)?;
        out.push_str(before);
        out.push_str(&variable(inside, env)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, env: Env<'_>) -> Result<String, ExpandError> {
    if let Some(id) = inside.strip_prefix("input:") {
        return Err(ExpandError::Input(id.to_owned()));
    }
    let inside = inside.strip_prefix("env:").unwrap_or(inside);
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(ExpandError::Name);
    }
    match (env(name), default) {
        // As in a shell, `:-` also replaces an empty variable.
        (Some(text), default) if !text.is_empty() || default.is_none() => Ok(text),
        (_, Some(default)) => Ok(default.to_owned()),
        (_, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/me".to_owned()),
            "TRICK" => Some("${HOME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        let expand = |text| expand(text, &env).unwrap();
        assert_eq!(
            expand("a ${HOME}/x ${env:HOME} $HOME $"),
            "a /home/me/x /home/me $HOME $"
        );
        assert_eq!(expand("${TRICK}"), "${HOME}");
        assert_eq!(expand("${NO:-a:-b}${EMPTY:-c}[${EMPTY}]"), "a:-bc[]");
        assert_eq!(expand("$${HOME} $$${HOME}"), "${HOME} $${HOME}");
    }

    #[test]
    fn a_variable_that_is_not_there_never_stays_as_text() {
        let errors = ["${NO}", "x${HOME", "${}", "${a b}", "${input:key}"]
            .map(|text| expand(text, &env).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"), @r"
    environment variable `NO` is not set; `${NO:-default}` has a default, `$${` is a plain `${`
    `${` without `}`; `$${` is a plain `${`
    `${…}` holds no variable's name; `$${` is a plain `${`
    `${…}` holds no variable's name; `$${` is a plain `${`
    `${input:key}` is known to VS Code only; `weir import` turns it into a secret reference
    ");
    }

    #[test]
    fn a_secret_file_loses_one_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a", "hunter2\r\n");
        write("b", "two\n\n");
        write("c", "\n");
        let fetch = |name: &str| {
            reference(&raw::SecretRef::File(name.to_owned()), folder.path(), &env)
                .map(|secret| secret.first().unwrap().expose().to_owned())
                .map_err(|error| {
                    error
                        .to_string()
                        .replace(&*folder.path().to_string_lossy(), ".")
                })
        };
        assert_eq!(fetch("a").as_deref(), Ok("hunter2"));
        assert_eq!(fetch("b").as_deref(), Ok("two\n"));
        assert_eq!(fetch("c"), Err("file `./c` is empty".to_owned()));
        assert_eq!(
            fetch("d"),
            Err("file `./d` cannot be read: there is no such file".to_owned())
        );
    }
}
