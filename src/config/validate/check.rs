//! The checks of one file: what all of them report to.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use crate::config::error::{Problem, ProblemKind};
use crate::config::secrets::Env;
use crate::config::source::SourceFile;
use crate::config::{
    AwsSecret, CustomDetector, FieldRule, SecretRef, SecretRefError, raw, secrets, stream,
};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// Advice where a variable stands in a setting in which none is replaced.
const VALUE_ADVICE: &str = "write the value itself, or have the file made by what starts weir";
/// The same for the address of the listener.
const LISTEN_ADVICE: &str =
    "write IP:PORT, or start weir with `--listen IP:PORT`, where the shell replaces them";

/// The checks of one file.
pub(super) struct Check<'c> {
    pub(super) source: &'c SourceFile,
    pub(super) env: Env<'c>,
    pub(super) problems: &'c mut Vec<Problem>,
    /// RuleOrigins whose value is not known, so that nothing more can be said of it.
    pub(super) unknown: Vec<KeyPath>,
    /// Files that hold secrets, of what was checked since they were taken last: those of `{ file: … }`,
    /// and the config itself if it has a `{ value: … }`.
    pub(super) secret_files: Vec<PathBuf>,
    /// The secrets in AWS Secrets Manager.
    pub(super) aws_secrets: Vec<Arc<AwsSecret>>,
    /// The classes of data that the main file adds.
    pub(super) detectors: Vec<CustomDetector>,
    /// The fields with a class that the main file names.
    pub(super) fields: Vec<FieldRule>,
}

impl<'c> Check<'c> {
    /// Begins the checks of a file.
    pub(super) fn new(
        source: &'c SourceFile,
        env: Env<'c>,
        problems: &'c mut Vec<Problem>,
    ) -> Self {
        Self {
            source,
            env,
            problems,
            unknown: Vec::new(),
            secret_files: Vec::new(),
            aws_secrets: Vec::new(),
            detectors: Vec::new(),
            fields: Vec::new(),
        }
    }
}

impl Check<'_> {
    /// Resolves a secret reference, and notes the file that holds it.
    pub(super) fn secret(&mut self, raw: &raw::SecretRef) -> Result<SecretRef, SecretRefError> {
        let reference = secrets::reference(raw, self.folder(), self.env)?;
        match &reference {
            SecretRef::File { path, .. } => self.secret_files.push(path.clone()),
            SecretRef::Aws(secret) => self.aws_secrets.push(Arc::clone(secret)),
            SecretRef::Fixed(_) if matches!(raw, raw::SecretRef::Value(_)) => {
                self.secret_files.push(self.source.file().to_owned());
            }
            SecretRef::Fixed(_) => {}
        }
        Ok(reference)
    }

    /// Fetches a secret of weir itself, as it is now.
    pub(super) fn own_secret(&mut self, raw: &raw::SecretRef) -> Result<Secret, SecretRefError> {
        let reference = self.own_reference(raw)?;
        reference.first().cloned().ok_or(SecretRefError::Own)
    }

    /// Resolves the reference of a secret of weir itself, which may change while weir runs.
    pub(super) fn own_reference(
        &mut self,
        raw: &raw::SecretRef,
    ) -> Result<SecretRef, SecretRefError> {
        match self.secret(raw)? {
            SecretRef::Aws(_) => Err(SecretRefError::Own),
            known @ (SecretRef::Fixed(_) | SecretRef::File { .. }) => Ok(known),
        }
    }

    pub(super) fn report(&mut self, at: &KeyPath, kind: impl Into<ProblemKind>) {
        if self.unknown.contains(at) {
            return;
        }
        let kind = self.without_variable(at, kind.into());
        let problem = self.source.problem_at(at, kind);
        self.problems.push(problem);
    }

    /// Returns advice about variables in place of an error that is due to one.
    fn without_variable(&self, at: &KeyPath, kind: ProblemKind) -> ProblemKind {
        let written = self.source.text(at).unwrap_or_default();
        if !kind.is_of_plain_text() || !refers_to_variable(written) {
            return kind;
        }
        let listen = KeyPath::default().key("listen").key("address");
        ProblemKind::Variable {
            advice: match *at == listen {
                true => LISTEN_ADVICE,
                false => VALUE_ADVICE,
            },
        }
    }

    /// Reports a variable in a setting in which it would be taken literally.
    pub(super) fn refuse_variable(&mut self, at: &KeyPath, text: &str) {
        if refers_to_variable(text) {
            let advice = VALUE_ADVICE;
            self.report(at, ProblemKind::Variable { advice });
        }
    }

    /// Returns the value; reports an error and returns the stand-in.
    pub(super) fn or<T, E: Into<ProblemKind>>(
        &mut self,
        at: &KeyPath,
        result: Result<T, E>,
        stand_in: T,
    ) -> T {
        result.unwrap_or_else(|error| {
            self.report(at, error);
            stand_in
        })
    }

    /// Returns the value, or reports the error.
    pub(super) fn ok<T, E: Into<ProblemKind>>(
        &mut self,
        at: &KeyPath,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.report(at, error)).ok()
    }

    /// Makes a path absolute. It is relative to the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let path = self.folder().join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Returns the folder that relative paths start from: that of the file, or the working folder if
    /// the config came from a descriptor.
    pub(super) fn folder(&self) -> &FilePath {
        let file = self.source.file();
        let folder = file.parent().filter(|_| !stream::names_descriptor(file));
        folder.unwrap_or(FilePath::new(""))
    }

    /// Returns `file:line` of a place.
    pub(super) fn origin(&self, at: &KeyPath) -> String {
        let line = self.source.position(at).line;
        format!("{}:{line}", self.source.file().display())
    }
}

/// Returns whether a text refers to a variable, in the spelling of a shell, of `mcp.json` files, or
/// of templates.
fn refers_to_variable(text: &str) -> bool {
    let of_shell =
        |rest: &str| rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic());
    text.split('$').skip(1).any(of_shell) || text.contains("{env:") || text.contains("{{")
}
