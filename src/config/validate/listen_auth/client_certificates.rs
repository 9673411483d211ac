//! `listen.auth.client_certificates`

use std::path::PathBuf;

use crate::config::validate::check::Check;
use crate::config::validate::values::expand_required;
use crate::config::{ClientCertificates, MAX_CERTIFICATES, MAX_REVOCATIONS, SecretRefError, raw};
use crate::document::path::KeyPath;
use crate::files;
use crate::pem::{self, PemError};

/// Validates the authorities of client certificates.
pub(super) fn check_client_certificates(
    check: &mut Check<'_>,
    raw: &raw::ClientCertificates,
    at: &KeyPath,
) -> ClientCertificates {
    let ca = check_pem(check, &raw.ca, MAX_CERTIFICATES, &at.key("ca"), |text| {
        pem::roots(text).map(drop)
    });
    let crl = raw.crl.as_ref().map(|crl| {
        check_pem(check, crl, MAX_REVOCATIONS, &at.key("crl"), |text| {
            pem::revocations(text).map(drop)
        })
    });
    ClientCertificates {
        ca,
        crl,
        is_required: raw.required.unwrap_or_default(),
    }
}

fn check_pem(
    check: &mut Check<'_>,
    text: &str,
    limit: u64,
    at: &KeyPath,
    read: impl Fn(&str) -> Result<(), PemError>,
) -> PathBuf {
    let path = expand_required(check, text, at);
    let path = check.resolve(&path);
    let held = files::read(&path, limit).map_err(SecretRefError::File);
    if let Some(Err(error)) = check.ok(at, held).map(|held| read(held.expose())) {
        check.report(at, error);
    }
    path
}
