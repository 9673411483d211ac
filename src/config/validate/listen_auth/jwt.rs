//! `listen.auth.jwt[]`

use crate::config::validate::check::Check;
use crate::config::validate::values::expand_required;
use crate::config::{JwtIssuer, raw};
use crate::document::path::KeyPath;

/// Validates an issuer. `public_url` is the audience of tokens where nothing else is written.
pub(super) fn check_issuer(
    check: &mut Check<'_>,
    raw: raw::JwtIssuer,
    _public_url: Option<&str>,
    at: &KeyPath,
) -> Option<JwtIssuer> {
    let issuer = expand_required(check, &raw.issuer, &at.key("issuer"));
    Some(JwtIssuer {
        issuer: issuer.into(),
    })
}
