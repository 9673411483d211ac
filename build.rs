//! Facts about the build for `weir --version` and `weir_build_info`: the commit, the date, the profile,
//! the target and the compiler. No program but rustc is run, and no clock is read: the same source gives
//! the same binary. What is not known is `unknown`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const UNKNOWN: &str = "unknown";

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_default());
    let profile = profile(&variable("OUT_DIR").unwrap_or_default());
    let mut out = Vec::new();
    writeln!(out, "cargo::rerun-if-changed=build.rs")?;
    for name in ["WEIR_COMMIT", "SOURCE_DATE_EPOCH"] {
        writeln!(out, "cargo::rerun-if-env-changed={name}")?;
    }
    let mut commit = variable("WEIR_COMMIT").and_then(|text| label(&text));
    // A debug build does not ask: every commit would compile weir anew.
    if commit.is_none() && profile != "debug" {
        let mut read = Vec::new();
        commit = packaged_commit(&root).or_else(|| checked_out_commit(&root, &mut read));
        for path in read {
            writeln!(out, "cargo::rerun-if-changed={}", path.display())?;
        }
    }
    let facts = [
        ("COMMIT", commit),
        (
            "DATE",
            variable("SOURCE_DATE_EPOCH").and_then(|text| date(&text)),
        ),
        ("PROFILE", label(&profile)),
        ("TARGET", variable("TARGET").and_then(|text| label(&text))),
        ("RUSTC", rustc()),
    ];
    for (name, value) in facts {
        let value = value.as_deref().unwrap_or(UNKNOWN);
        writeln!(out, "cargo::rustc-env=WEIR_BUILD_{name}={value}")?;
    }
    io::stdout().write_all(&out)
}

#[allow(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts by the environment; no weir reads it here"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Returns a word that needs no quotes in any output, or `None`.
pub(crate) fn label(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// Returns the name of the profile's folder, which is before `build` in the path of this script's output:
/// `debug`, `release` or `dist`. Cargo's `PROFILE` knows the first two only.
pub(crate) fn profile(out: &str) -> String {
    let parts: Vec<_> = Path::new(out).iter().collect();
    let build = parts.iter().rposition(|part| *part == "build");
    let folder = build.and_then(|at| parts.get(at.checked_sub(1)?));
    folder.map_or_else(
        || UNKNOWN.to_owned(),
        |folder| folder.to_string_lossy().into_owned(),
    )
}

/// Returns the version of the compiler, such as `1.95.0`.
fn rustc() -> Option<String> {
    let told = Command::new(variable("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    label(told.split_whitespace().nth(1)?)
}

/// Returns the commit that a crate was packed from, which `cargo package` writes beside its Cargo.toml.
pub(crate) fn packaged_commit(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    let hash = commit(rest.split('"').nth(1)?)?;
    let is_changed = text.contains("\"dirty\": true") || text.contains("\"dirty\":true");
    Some(if is_changed {
        format!("{hash}-changed")
    } else {
        hash
    })
}

/// Returns the commit that is checked out, by the files of Git (gitrepository-layout). `read` gets the
/// files that it depends on. Changes that are not committed are not seen.
pub(crate) fn checked_out_commit(root: &Path, read: &mut Vec<PathBuf>) -> Option<String> {
    let mut folder = root.join(".git");
    // A worktree has a file that names the folder.
    if let Ok(text) = fs::read_to_string(&folder) {
        folder = root.join(text.strip_prefix("gitdir:")?.trim());
    }
    let head = folder.join("HEAD");
    let text = fs::read_to_string(&head).ok()?;
    read.push(head);
    // Every commit writes a line, also one to a branch that HEAD only names.
    read.extend(Some(folder.join("logs/HEAD")).filter(|path| path.exists()));
    let Some(name) = text.trim().strip_prefix("ref: ") else {
        return commit(&text);
    };
    let common = fs::read_to_string(folder.join("commondir"));
    let common = common.map_or_else(|_| folder.clone(), |path| folder.join(path.trim()));
    let branch = common.join(name);
    if let Ok(text) = fs::read_to_string(&branch) {
        read.push(branch);
        return commit(&text);
    }
    let packed = common.join("packed-refs");
    let text = fs::read_to_string(&packed).ok()?;
    read.push(packed);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(_, of)| *of == name)
        .and_then(|(hash, _)| commit(hash))
}

/// Returns a hash of SHA-1 or SHA-256, or `None`.
fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hash =
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}

/// Returns the day in UTC of a number of seconds since 1970 (reproducible-builds.org,
/// `SOURCE_DATE_EPOCH`), such as `2026-11-30`.
pub(crate) fn date(seconds: &str) -> Option<String> {
    let mut days = seconds.trim().parse::<u64>().ok()? / 86_400;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while year < 10_000 && days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in (1..).zip(lengths) {
        if days < length {
            return Some(format!("{year}-{month:02}-{:02}", days + 1));
        }
        days -= length;
    }
    None
}
