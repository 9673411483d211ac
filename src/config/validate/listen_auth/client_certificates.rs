//! `listen.auth.client_certificates`

use crate::config::validate::check::Check;
use crate::config::validate::values::expand_required;
use crate::config::{ClientCertificates, raw};
use crate::document::path::KeyPath;

/// Validates the authorities of client certificates.
pub(super) fn check_client_certificates(
    check: &mut Check<'_>,
    raw: raw::ClientCertificates,
    at: &KeyPath,
) -> Option<ClientCertificates> {
    let ca = expand_required(check, &raw.ca, &at.key("ca"));
    Some(ClientCertificates {
        ca: check.resolve(&ca),
    })
}
