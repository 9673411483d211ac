//! `listen.tls`: the listener's own TLS.

use std::time::SystemTime;

use super::check::Check;
use super::tls::{check_file, check_pair, check_version};
use crate::config::rules::Rule;
use crate::config::{ListenAuth, ListenTls, SecretRef, SecretRefError, raw};
use crate::document::path::KeyPath;
use crate::pem::{self, PemError};

/// Checks the certificate of the listener, and that it has not expired: no client would accept it.
pub(super) fn check_listen_tls(
    check: &mut Check<'_>,
    raw: &raw::ListenTls,
    at: &KeyPath,
) -> Option<ListenTls> {
    let (cert, held) = check_file(check, &raw.cert, &at.key("cert"));
    let key = check.secret(&raw.key).and_then(|key| match key {
        SecretRef::Aws(_) => Err(SecretRefError::Own),
        SecretRef::Fixed(_) | SecretRef::File { .. } => Ok(key),
    });
    let key = check.ok(&at.key("key"), key)?;
    if let Some(held) = held {
        check_pair(check, &held, key.first(), at);
        if pem::ends(held.expose()).is_some_and(|ends| ends <= SystemTime::now()) {
            check.report(&at.key("cert"), PemError::Expired);
        }
    }
    Some(ListenTls {
        cert,
        key,
        min_version: check_version(raw.min_version),
    })
}

/// Checks that client certificates have a handshake to be sent in.
pub(super) fn check_certificates_have_tls(
    check: &mut Check<'_>,
    auth: Option<&ListenAuth>,
    has_tls: bool,
    at: &KeyPath,
) {
    let asks = match auth {
        Some(ListenAuth::Callers(callers)) => callers.client_certificates.is_some(),
        Some(ListenAuth::None) | None => false,
    };
    if asks && !has_tls && !check.source.is_excused(at, "tls") {
        let (key, other) = ("client_certificates", "listen.tls");
        check.report(&at.key("auth").key(key), Rule::Needs { key, other });
    }
}
