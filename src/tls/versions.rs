//! The versions of TLS that a setting allows.

use rustls::SupportedProtocolVersion;

use crate::config::TlsVersion;

/// Returns the versions from a minimum on.
pub(super) fn versions(min_version: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ONLY_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match min_version {
        TlsVersion::V1_2 => rustls::DEFAULT_VERSIONS,
        TlsVersion::V1_3 => &ONLY_1_3,
    }
}
