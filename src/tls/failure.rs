//! Describes why a handshake failed, so that an operator can act on it. No text of the peer is
//! used: the names in its certificate are such text.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most of the hundred errors share a text"
)]

use rustls::{AlertDescription as Alert, CertificateError, Error, PeerIncompatible};

/// Describes why a handshake failed.
#[must_use]
pub fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => describe_certificate(error),
        Error::AlertReceived(alert) => describe_alert(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ) => "the server speaks no TLS version that `tls.min_version` allows".to_owned(),
        Error::NoCertificatesPresented => "the server has no certificate".to_owned(),
        Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        // The library's own text.
        other => other.to_string(),
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::UnknownIssuer => "the server's certificate is from an unknown CA",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::NotValidForNameContext { expected, .. } => {
            return format!(
                "the server's certificate is for another name than `{}`",
                expected.to_str()
            );
        }
        CertificateError::NotValidForName => "the server's certificate is for another name",
        CertificateError::Revoked => "the server's certificate was revoked",
        CertificateError::BadSignature => "the server's certificate has a wrong signature",
        CertificateError::BadEncoding => "the server's certificate cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers"
        }
        _ => "the server's certificate is not acceptable",
    };
    words.to_owned()
}

fn describe_alert(alert: Alert) -> String {
    let words = match alert {
        Alert::CertificateRequired => "the server asks for a client certificate",
        Alert::UnknownCA => "the server refused the client certificate: its CA is unknown there",
        Alert::CertificateExpired => "the server refused the client certificate: it has expired",
        Alert::CertificateRevoked => "the server refused the client certificate: it was revoked",
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::DecryptError => "the server refused the client certificate",
        Alert::AccessDenied => "the server refused the client certificate: access denied",
        Alert::HandshakeFailure => {
            "the server refused the handshake: it may ask for a client certificate"
        }
        Alert::ProtocolVersion => "the server speaks no TLS version that `tls.min_version` allows",
        Alert::UnrecognisedName => "the server has no certificate for this name",
        _ => "the server broke the handshake off",
    };
    words.to_owned()
}

/// Describes why no connection was made with a caller, for the log of the listener.
#[must_use]
pub fn describe_refusal(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => "the caller's certificate is from an unknown CA",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the caller's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the caller's certificate is not valid yet"
            }
            CertificateError::Revoked => "the caller's certificate was revoked",
            CertificateError::UnknownRevocationStatus => {
                "no list in `listen.auth.client_certificates.crl` is of the CA of the caller's certificate"
            }
            CertificateError::BadSignature => "the caller's certificate has a wrong signature",
            CertificateError::BadEncoding => "the caller's certificate cannot be read",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "the caller's certificate is not for clients"
            }
            _ => "the caller's certificate is not acceptable",
        },
        Error::NoCertificatesPresented => {
            "the caller has no certificate, and `listen.auth.client_certificates.required` is set"
        }
        Error::InvalidMessage(_) => "the caller does not speak TLS",
        Error::PeerIncompatible(_) => {
            "the caller supports nothing that weir does: `listen.tls.min_version` may be too high for it"
        }
        Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked,
        ) => "the caller does not trust the certificate of `listen.tls`",
        Error::AlertReceived(_) => "the caller broke the handshake off",
        // The library's own text.
        other => return other.to_string(),
    };
    words.to_owned()
}

/// Returns whether the server rejected the handshake after weir had finished its part of it. In TLS
/// 1.3 (RFC 8446 §4.4.2) that is how a server rejects a client certificate. A request that was sent
/// by then did not run.
#[must_use]
pub fn is_rejection(error: &Error) -> bool {
    matches!(
        error,
        Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateUnknown
                | Alert::AccessDenied
                | Alert::HandshakeFailure
                | Alert::DecryptError
        )
    )
}
