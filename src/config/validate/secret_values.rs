//! Secrets in settings.

use super::check::Check;
use crate::config::raw::TextOrSecret;
use crate::config::{SecretRef, raw, secrets};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// Resolves a secret; returns a stand-in after a report.
pub(super) fn resolve_secret(
    check: &mut Check<'_>,
    raw: &raw::SecretRef,
    at: &KeyPath,
) -> SecretRef {
    let fetched = check.secret(raw);
    check.or(at, fetched, SecretRef::Fixed(Secret::new("")))
}

/// Replaces the `${VAR}` of a text, or resolves a secret.
pub(super) fn resolve_text_or_secret(
    check: &mut Check<'_>,
    raw: &TextOrSecret,
    at: &KeyPath,
) -> Option<SecretRef> {
    match raw {
        TextOrSecret::Text(text) => {
            let text = secrets::expand(text, check.env);
            check
                .ok(at, text)
                .map(|text| SecretRef::Fixed(Secret::new(&text)))
        }
        TextOrSecret::Secret(secret) => {
            let secret = check.secret(secret);
            check.ok(at, secret)
        }
    }
}
