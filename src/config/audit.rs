//! `audit:` — the record file.

use std::path::PathBuf;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use crate::secret::Secret;

/// `audit:`
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The file.
    pub file: PathBuf,
    /// The form in which arguments are recorded.
    pub arguments: AuditedData,
    /// The form in which results are recorded.
    pub results: AuditedData,
    /// The fate of calls while records cannot be written.
    pub on_failure: AuditFailure,
    /// The private key that signs checkpoints, in PEM; `None` if one is to be made.
    pub sign: Option<Secret>,
    /// The secret of keyed hashes; `None` if one is to be made.
    pub hash_key: Option<Secret>,
    /// When lines have to be on the disk.
    pub fsync: FlushPolicy,
    /// When another file begins.
    pub rotate: AuditRotation,
    /// The file to which checkpoints are written too.
    pub checkpoints: Option<PathBuf>,
}

/// `audit.arguments`, `audit.results` — the form in which data is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedData {
    /// Not at all.
    None,
    /// A keyed hash.
    Hash,
    /// The data, after the rules about it.
    Redacted,
}

/// `audit.on_failure` — what happens to calls while records cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditFailure {
    /// They are refused.
    Refuse,
    /// They run, and records may be missing.
    Drop,
}

/// `audit.fsync` — when lines have to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// With each write.
    Always,
    /// At most this long after it.
    Every(Duration),
    /// When the operating system likes.
    Never,
}

/// `audit.rotate` — when another file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRotation {
    /// When the file has this size.
    pub bytes: u64,
    /// When its first line is this old.
    pub every: Option<Duration>,
    /// How many full files are kept; `None` is all.
    pub keep: Option<usize>,
}

impl AuditSettings {
    /// Returns a digest of all settings. A new field does not compile until it is in it: a secret has
    /// to be exposed first.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let Self {
            file,
            arguments,
            results,
            on_failure,
            sign,
            hash_key,
            fsync,
            rotate,
            checkpoints,
        } = self;
        let keys = [sign, hash_key].map(|key| key.as_ref().map(Secret::expose));
        let forms = (arguments, results, on_failure);
        Fingerprint::of(&(file, forms, keys, fsync, rotate, checkpoints))
    }
}
