//! `audit`: the record file.

use std::time::Duration;

use super::check::Check;
use crate::config::rules::Rule;
use crate::config::{AuditFailure, AuditRotation, AuditSettings, AuditedData, FlushPolicy};
use crate::config::{raw, units};
use crate::document::path::KeyPath;
use crate::pem::{self, PemError};
use crate::secret::Secret;

/// The smallest and the usual size at which another file begins.
const LEAST_BYTES: usize = 64 << 10;
const USUAL_BYTES: usize = 64 << 20;
/// The least bytes of a secret for keyed hashes.
const LEAST_KEY: usize = 32;
/// The longest time until lines are on the disk.
const USUAL_FLUSH: Duration = Duration::from_secs(1);

pub(super) fn check_audit(check: &mut Check<'_>, raw: raw::Audit, at: &KeyPath) -> AuditSettings {
    for (key, path) in [
        ("file", Some(&raw.file)),
        ("checkpoints", raw.checkpoints.as_ref()),
    ] {
        if let Some(path) = path {
            check.refuse_variable(&at.key(key), path);
            if path.is_empty() {
                check.report(&at.key(key), Rule::Empty);
            }
        }
    }
    let file = check.resolve(&raw.file);
    let checkpoints = raw.checkpoints.map(|path| check.resolve(&path));
    if !raw.file.is_empty() && checkpoints.as_ref() == Some(&file) {
        check.report(&at.key("checkpoints"), Rule::AuditCheckpoints);
    }
    AuditSettings {
        file,
        arguments: audited(raw.arguments, AuditedData::Hash),
        results: audited(raw.results, AuditedData::None),
        on_failure: match raw.on_failure {
            None | Some(raw::AuditFailure::Refuse) => AuditFailure::Refuse,
            Some(raw::AuditFailure::Drop) => AuditFailure::Drop,
        },
        sign: raw
            .sign
            .and_then(|raw| check_signing_key(check, &raw, &at.key("sign"))),
        hash_key: raw
            .hash_key
            .and_then(|raw| check_hash_key(check, &raw, &at.key("hash_key"))),
        fsync: check_fsync(check, raw.fsync, &at.key("fsync")),
        rotate: check_rotation(check, raw.rotate.unwrap_or_default(), &at.key("rotate")),
        checkpoints,
    }
}

fn audited(raw: Option<raw::AuditedData>, usual: AuditedData) -> AuditedData {
    match raw {
        None => usual,
        Some(raw::AuditedData::None) => AuditedData::None,
        Some(raw::AuditedData::Hash) => AuditedData::Hash,
        Some(raw::AuditedData::Redacted) => AuditedData::Redacted,
    }
}

/// Checks that the key is one of Ed25519.
fn check_signing_key(check: &mut Check<'_>, raw: &raw::SecretRef, at: &KeyPath) -> Option<Secret> {
    let key = check.own_secret(raw);
    let key = check.ok(at, key)?;
    match pem::ed25519(key.expose()) {
        Ok(_) => {}
        Err(PemError::Key) => check.report(at, Rule::AuditKey),
        Err(error) => check.report(at, error),
    }
    Some(key)
}

fn check_hash_key(check: &mut Check<'_>, raw: &raw::SecretRef, at: &KeyPath) -> Option<Secret> {
    let key = check.own_secret(raw);
    let key = check.ok(at, key)?;
    let bytes = key.expose().len();
    if bytes < LEAST_KEY {
        check.report(at, Rule::AuditHashKey(bytes));
    }
    Some(key)
}

fn check_fsync(check: &mut Check<'_>, raw: Option<String>, at: &KeyPath) -> FlushPolicy {
    match raw.as_deref().map(str::trim) {
        None => FlushPolicy::Every(USUAL_FLUSH),
        Some("always") => FlushPolicy::Always,
        Some("never") => FlushPolicy::Never,
        Some(text) => {
            let time = units::duration(text).map_err(|_| Rule::AuditFsync);
            FlushPolicy::Every(check.or(at, time, USUAL_FLUSH))
        }
    }
}

fn check_rotation(check: &mut Check<'_>, raw: raw::AuditRotation, at: &KeyPath) -> AuditRotation {
    let bytes = raw
        .bytes
        .map_or(Ok(USUAL_BYTES), |size| units::size(&size.0));
    let bytes = check.or(&at.key("bytes"), bytes, USUAL_BYTES);
    if bytes < LEAST_BYTES {
        check.report(&at.key("bytes"), Rule::AuditBytes);
    }
    let every = raw.every.map(|text| units::duration(&text.0));
    let every = every.and_then(|time| check.ok(&at.key("every"), time));
    if every.is_some_and(|every| every < Duration::from_secs(60)) {
        check.report(&at.key("every"), Rule::AuditEvery);
    }
    if raw.keep == Some(0) {
        let (least, most) = (1, u64::from(u32::MAX));
        check.report(&at.key("keep"), Rule::Range { least, most });
    }
    let keep = raw
        .keep
        .map(|keep| usize::try_from(keep).unwrap_or(usize::MAX));
    AuditRotation {
        bytes: bytes as u64,
        every,
        keep,
    }
}
