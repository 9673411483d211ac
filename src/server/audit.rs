//! The record file of a weir: its keys, its metrics and its beginning.

use std::path::Path;
use std::sync::Arc;

use crate::audit::{AuditKeys, AuditLog, AuditSigner};
use crate::config::AuditSettings;
use crate::live::Snapshot;
use crate::metrics::{Metrics, names};
use crate::seal::KeyRing;
use crate::server::error::ServeError;
use crate::server::state_dir::{check_key, read_or_create};

/// The files of keys that weir makes for itself.
const SIGNING_KEY: &str = "audit.pem";
const HASH_KEY: &str = "audit.key";

/// Starts to write records, if there is a file for them and this is the weir that serves.
///
/// # Errors
/// The file or a key cannot be used.
pub(super) fn start(serves: bool, first: &Snapshot) -> Result<Option<Arc<AuditLog>>, ServeError> {
    let Some(settings) = first.config.audit.as_ref().filter(|_| serves) else {
        observe(None, &first.metrics);
        return Ok(None);
    };
    let config = &first.config;
    let keys = AuditKeys {
        hash: hash_key(settings, config.state_dir.as_deref())?,
        signer: signer(settings, config.state_dir.as_deref())?,
    };
    let instance = config.instance.as_ref();
    let instance = instance.map(|name| name.as_str()).unwrap_or_default();
    let key = keys.signer.public_key();
    let log = AuditLog::start(settings, keys, instance, first.metrics.tracer())?;
    tracing::info!(file = %settings.file.display(), %key, "every request leaves a record");
    if settings.sign.is_none() && config.state_dir.is_none() {
        tracing::warn!(
            "checkpoints are signed with a key of this run only: write `audit.sign` or `state.dir`"
        );
    }
    observe(Some(&log), &first.metrics);
    Ok(Some(log))
}

/// Returns the key that signs checkpoints: that of the config, or of the state folder (made there
/// once), or one for this run.
fn signer(settings: &AuditSettings, state: Option<&Path>) -> Result<AuditSigner, ServeError> {
    let text = match (&settings.sign, state) {
        (Some(key), _) => key.expose().to_owned(),
        (None, Some(dir)) => {
            let fits = |text: &str| match AuditSigner::from_pem(text) {
                Ok(_) => Ok(()),
                Err(_) => {
                    Err("not a key of Ed25519 in PEM: remove the file, and weir makes another")
                }
            };
            read_or_create(&dir.join(SIGNING_KEY), fits, AuditSigner::new_pem)?
        }
        (None, None) => AuditSigner::new_pem()?,
    };
    AuditSigner::from_pem(&text).map_err(ServeError::AuditKey)
}

fn hash_key(settings: &AuditSettings, state: Option<&Path>) -> Result<Vec<u8>, ServeError> {
    let text = match (&settings.hash_key, state) {
        (Some(key), _) => key.expose().to_owned(),
        (None, Some(dir)) => read_or_create(&dir.join(HASH_KEY), check_key, KeyRing::new_text)?,
        (None, None) => KeyRing::new_text()?,
    };
    Ok(text.into_bytes())
}

fn observe(log: Option<&Arc<AuditLog>>, metrics: &Metrics) {
    let value = |of: fn(&AuditLog) -> u64| {
        let log = log.map(Arc::clone);
        move || log.as_deref().map_or(0, of)
    };
    metrics.observe(&names::AUDIT_RECORDS, value(|log| log.status().written));
    metrics.observe(&names::AUDIT_MISSING, value(|log| log.status().missing));
    metrics.observe(
        &names::AUDIT_WAITING,
        value(|log| log.status().waiting as u64),
    );
    metrics.observe(
        &names::AUDIT_FAILING,
        value(|log| u64::from(log.is_failing())),
    );
}
