//! `audit:` — the record file.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretRef;
use super::forms::{Duration, Size};

/// The record file: a line for each request, in a chain of hashes in which a changed, missing or
/// moved line is found.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Audit {
    /// The file: lines of JSON. Its folder is created if it does not exist. Each weir needs a file of
    /// its own.
    pub(in crate::config) file: String,
    /// The form in which arguments are recorded, as they are sent to the upstream. Default: `hash`.
    pub(in crate::config) arguments: Option<AuditedData>,
    /// The same for results, as callers get them. Default: `none`.
    pub(in crate::config) results: Option<AuditedData>,
    /// The fate of calls while records cannot be written, because the disk is full for example.
    /// Default: `refuse`.
    pub(in crate::config) on_failure: Option<AuditFailure>,
    /// The private key that signs checkpoints: Ed25519 in PEM, as `openssl genpkey -algorithm
    /// ed25519` makes it. Default: made once and kept in the state folder, or made at every start if
    /// there is none.
    pub(in crate::config) sign: Option<SecretRef>,
    /// The secret of the keyed hashes of arguments and results: at least 32 bytes of text. With the
    /// same secret, equal data has equal hashes. Default: made once and kept in the state folder, or
    /// made at every start if there is none.
    pub(in crate::config) hash_key: Option<SecretRef>,
    /// When lines have to be on the disk: `always`, so that each write waits for it, `never`, which
    /// leaves it to the operating system, or the longest time. It matters only when the machine loses
    /// power. Default: `1s`.
    #[schemars(regex(pattern = r"^(always|never|([0-9]+(ms|s|m|h|d))+)$"))]
    pub(in crate::config) fsync: Option<String>,
    /// When another file begins.
    pub(in crate::config) rotate: Option<AuditRotation>,
    /// A file to which checkpoints are written too, on another volume for example: by it
    /// `weir audit verify` finds out that the end of the record file is missing.
    pub(in crate::config) checkpoints: Option<String>,
}

/// `none`, `hash` or `redacted`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AuditedData {
    /// Not at all.
    None,
    /// A keyed hash, by which equal data is found and guesses are checked only with the key.
    Hash,
    /// The data itself, after the rules of `guard.redact`: at most 8 KiB, a hash of what is longer.
    /// Classes that a rule hides or restores are masked. Whatever no rule is about can be read in
    /// the file.
    Redacted,
}

/// `refuse` or `drop`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AuditFailure {
    /// They are refused: no call runs without its record.
    Refuse,
    /// They run. Records for which there is no room are left out and counted, and a line says so.
    Drop,
}

/// When another file begins. The full file gets a name with the time and the number of its first
/// line.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuditRotation {
    /// When the file has this size. Default: 64MiB.
    pub(in crate::config) bytes: Option<Size>,
    /// When its first line is this old. Without this key only the size matters.
    pub(in crate::config) every: Option<Duration>,
    /// How many full files are kept; the oldest are removed. Without this key all are kept.
    #[schemars(range(min = 1))]
    pub(in crate::config) keep: Option<u64>,
}
