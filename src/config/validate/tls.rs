//! `tls:` of an upstream.

use rustls::pki_types::ServerName;

use super::Check;
use super::http::secret_ref;
use super::upstream::{expanded, optional};
use crate::config::path::Path;
use crate::config::rules::Rule;
use crate::config::{ClientIdentity, TlsSettings, TlsVersion, raw, secrets};

pub(super) fn settings(check: &mut Check<'_>, raw: &raw::Tls, at: &Path) -> TlsSettings {
    let ca = raw.ca.as_ref().map(|text| file(check, text, &at.key("ca")));
    let cert = raw
        .cert
        .as_ref()
        .map(|text| file(check, text, &at.key("cert")));
    let key = raw
        .key
        .as_ref()
        .map(|raw| secret_ref(check, raw, &at.key("key")));
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some(ClientIdentity { cert, key }),
        (Some(_), None) => {
            needs(check, "cert", "key", at);
            None
        }
        (None, Some(_)) => {
            needs(check, "key", "cert", at);
            None
        }
        (None, None) => None,
    };
    let place = at.key("server_name");
    let server_name = optional(check, raw.server_name.as_ref(), &place);
    if let Some(name) = &server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        check.report(&place, Rule::ServerName);
    }
    TlsSettings {
        ca,
        identity,
        server_name,
        min_version: match raw.min_version {
            Some(raw::TlsVersion::V1_3) => TlsVersion::V1_3,
            Some(raw::TlsVersion::V1_2) | None => TlsVersion::V1_2,
        },
    }
}

fn needs(check: &mut Check<'_>, key: &'static str, other: &'static str, at: &Path) {
    if !check.source.is_excused(at, other) {
        check.report(&at.key(key), Rule::Needs { key, other });
    }
}

fn file(check: &mut Check<'_>, text: &str, at: &Path) -> std::path::PathBuf {
    let text = expanded(check, text, at);
    let path = check.resolve(&text);
    if let Err(error) = secrets::from_file(&path) {
        check.report(at, error);
    }
    path
}
