//! `tls:` of an upstream.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::check::Check;
use super::values::{expand, expand_optional};
use crate::config::rules::Rule;
use crate::config::{
    ClientIdentity, MAX_CERTIFICATES, SecretRefError, TlsSettings, TlsVersion, raw,
};
use crate::document::path::KeyPath;
use crate::files;
use crate::pem;
use crate::secret::Secret;

pub(super) fn check_settings(
    check: &mut Check<'_>,
    raw: &raw::TlsSettings,
    at: &KeyPath,
) -> TlsSettings {
    let ca = raw.ca.as_ref().map(|text| {
        let place = at.key("ca");
        let (path, held) = check_file(check, text, &place);
        if let Some(Err(error)) = held.map(|held| pem::roots(held.expose())) {
            check.report(&place, error);
        }
        path
    });
    let identity = check_identity(check, raw, at);
    let place = at.key("server_name");
    let server_name = expand_optional(check, raw.server_name.as_ref(), &place);
    if let Some(name) = &server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        check.report(&place, Rule::ServerName);
    }
    TlsSettings {
        ca,
        identity,
        server_name,
        min_version: check_version(raw.min_version),
    }
}

/// Returns the minimum TLS version of a setting.
pub(super) fn check_version(written: Option<raw::TlsVersion>) -> TlsVersion {
    match written {
        Some(raw::TlsVersion::V1_3) => TlsVersion::V1_3,
        Some(raw::TlsVersion::V1_2) | None => TlsVersion::V1_2,
    }
}

fn needs(check: &mut Check<'_>, key: &'static str, other: &'static str, at: &KeyPath) {
    if !check.source.is_excused(at, other) {
        check.report(&at.key(key), Rule::Needs { key, other });
    }
}

fn check_identity(
    check: &mut Check<'_>,
    raw: &raw::TlsSettings,
    at: &KeyPath,
) -> Option<ClientIdentity> {
    let cert = raw
        .cert
        .as_ref()
        .map(|text| check_file(check, text, &at.key("cert")));
    let key = raw.key.as_ref().and_then(|raw| {
        let key = check.secret(raw);
        check.ok(&at.key("key"), key)
    });
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => {
            if raw.key.is_none() {
                needs(check, "cert", "key", at);
            }
            return None;
        }
        (None, Some(_)) => {
            needs(check, "key", "cert", at);
            return None;
        }
        (None, None) => return None,
    };
    let (cert, held) = cert;
    if let Some(held) = held {
        check_pair(check, &held, key.first(), at);
    }
    Some(ClientIdentity { cert, key })
}

/// Checks that certificates can be read, and that the key fits the first if it is known already.
pub(super) fn check_pair(check: &mut Check<'_>, cert: &Secret, key: Option<&Secret>, at: &KeyPath) {
    match (pem::certificates(cert.expose()), key) {
        (Err(error), _) => check.report(&at.key("cert"), error),
        (Ok(_), Some(key)) => {
            if let Err(error) = pem::identity(cert.expose(), key.expose()) {
                check.report(&at.key("key"), error);
            }
        }
        (Ok(_), None) => {}
    }
}

/// A file of certificates, and what it holds if it can be read.
pub(super) fn check_file(
    check: &mut Check<'_>,
    text: &str,
    at: &KeyPath,
) -> (PathBuf, Option<Secret>) {
    let text = expand(check, text, at);
    let path = check.resolve(&text);
    let held = files::read(&path, MAX_CERTIFICATES).map_err(SecretRefError::File);
    let held = check.ok(at, held);
    (path, held)
}
