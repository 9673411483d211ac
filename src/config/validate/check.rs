//! The checks of one file: what all of them report to.

use std::path::{Path as FilePath, PathBuf};

use crate::config::error::{Problem, ProblemKind};
use crate::config::secrets::Env;
use crate::config::source::SourceFile;
use crate::config::stream;
use crate::document::path::KeyPath;

/// The checks of one file.
pub(super) struct Check<'c> {
    pub(super) source: &'c SourceFile,
    pub(super) env: Env<'c>,
    pub(super) problems: &'c mut Vec<Problem>,
    /// RuleOrigins whose value is not known, so that nothing more can be said of it.
    pub(super) unknown: Vec<KeyPath>,
}

impl Check<'_> {
    pub(super) fn report(&mut self, at: &KeyPath, kind: impl Into<ProblemKind>) {
        if self.unknown.contains(at) {
            return;
        }
        let problem = self.source.problem_at(at, kind.into());
        self.problems.push(problem);
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
