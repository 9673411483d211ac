//! The interpreter of a script: the system says of a script without one only that there is no such
//! file, and means the interpreter.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest first line that the kernel reads (`BINPRM_BUF_SIZE`, linux/binfmts.h).
const LONGEST: usize = 256;

/// The program that a script names in its first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interpreter {
    /// A path, absolute or from the working folder.
    At(PathBuf),
    /// A name that `env` looks up in `PATH`.
    Named(PathBuf),
}

impl Interpreter {
    /// Reads the first line of a file. `None` if the file is no script, or cannot be read.
    pub(super) fn of(program: &Path) -> Option<Self> {
        let mut start = Vec::with_capacity(LONGEST);
        let file = File::open(program).ok()?;
        file.take(LONGEST as u64).read_to_end(&mut start).ok()?;
        Self::parse(&start)
    }

    fn parse(start: &[u8]) -> Option<Self> {
        let line = start
            .strip_prefix(b"#!")?
            .split(|byte| *byte == b'\n')
            .next()?;
        let line = std::str::from_utf8(line).ok()?;
        // Not the carriage return of a file with Windows line ends: it is part of the name.
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let path = Path::new(words.next()?);
        if path.file_name()? != "env" {
            return Some(Self::At(path.to_owned()));
        }
        // `env -S node --flag`, `env VAR=value node`
        let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
        let name = PathBuf::from(name);
        Some(match name.components().count() {
            1 => Self::Named(name),
            _ => Self::At(name),
        })
    }
}

/// Returns other names under which systems have an interpreter.
pub(super) fn other_names(program: &Path) -> &'static [&'static str] {
    match program.to_str() {
        Some("python") => &["python3"],
        Some("python3") => &["python"],
        Some("node") => &["nodejs"],
        Some("nodejs") => &["node"],
        Some("pip") => &["pip3"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter() {
        let at = |path: &str| Some(Interpreter::At(path.into()));
        let named = |name: &str| Some(Interpreter::Named(name.into()));
        for (start, expected) in [
            ("#!/bin/sh\nx", at("/bin/sh")),
            (
                "#! /opt/node22/bin/node --flag\n",
                at("/opt/node22/bin/node"),
            ),
            ("#!/usr/bin/env node22\n", named("node22")),
            ("#!/usr/bin/env -S node --flag", named("node")),
            ("#!/usr/bin/env A=b /opt/node\n", at("/opt/node")),
            ("#!/usr/bin/env node\r\n", named("node\r")),
            ("#!/usr/bin/env\n", None),
            ("#!\n", None),
            ("\x7fELF", None),
            ("", None),
        ] {
            assert_eq!(Interpreter::parse(start.as_bytes()), expected, "{start:?}");
        }
    }
}
