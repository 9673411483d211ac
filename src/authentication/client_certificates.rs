//! Client certificates: `listen.auth.client_certificates`.

use std::sync::Arc;
use std::time::SystemTime;

use super::Refusal;
use crate::caller::{Caller, CallerConnection, PeerCertificate};
use crate::tls::CallerTrust;

/// The tag of a token that is bound to a certificate.
const CONFIRMATION: &str = "cnf.x5t#S256";

/// Authenticates callers by the certificates of their connections.
#[derive(Debug)]
pub struct CertificateAuthenticator {
    trust: Arc<CallerTrust>,
}

impl CertificateAuthenticator {
    /// Makes it with the trust that the handshakes use.
    #[must_use]
    pub fn new(trust: Arc<CallerTrust>) -> Self {
        Self { trust }
    }

    /// Authenticates the owner of a certificate, which was verified at the handshake of its
    /// connection. It is verified again if the authorities or what they revoked has changed since.
    ///
    /// # Errors
    /// It has expired, or is not trusted any more.
    pub fn authenticate(&self, certificate: &PeerCertificate) -> Result<Caller, Refusal> {
        let caller = certificate.caller();
        let refuse = |public, what: &str| {
            let subject = caller.subject().unwrap_or_default();
            Err(Refusal::invalid_token(
                public,
                format!("the certificate of {subject} {what}"),
            ))
        };
        let expires = caller.identity().expires;
        if expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return refuse("the client certificate has expired", "has expired");
        }
        let version = self.trust.version();
        if certificate.verified() != version {
            if !self.trust.trusts(certificate.chain()) {
                let what = "is not trusted any more: its CA was removed, or revoked it";
                return refuse("the client certificate is not trusted", what);
            }
            certificate.note_verified(version);
        }
        Ok(caller.clone())
    }

    /// Returns whether a certificate that was good before still is.
    pub(super) fn still_trusts(&self, certificate: &PeerCertificate) -> bool {
        self.authenticate(certificate).is_ok()
    }
}

/// Lets the caller of a token pass if the token is bound to no certificate, or to that of its
/// connection: `cnf["x5t#S256"]` (RFC 8705 §3.1), which is a tag of the caller.
///
/// # Errors
/// The connection has no certificate, or another.
pub(super) fn check_binding(
    caller: Caller,
    connection: &CallerConnection,
) -> Result<Caller, Refusal> {
    let Some(bound) = caller.identity().tags.get(CONFIRMATION) else {
        return Ok(caller);
    };
    let presented = connection.certificate.as_ref();
    let reason = match presented.map(|certificate| certificate.thumbprint()) {
        Some(thumbprint) if *thumbprint == **bound => return Ok(caller),
        Some(_) => "the token is bound to another client certificate than that of its connection",
        None => "the token is bound to a client certificate, and its connection has none",
    };
    let public = "the token is bound to another client certificate";
    Err(Refusal::invalid_token(public, reason))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::caller::{Identity, Principal};
    use crate::files::Files;
    use crate::memory::MemoryShare;
    use crate::tls::TlsConfigs;

    fn connection(certificate: Option<PeerCertificate>) -> CallerConnection {
        CallerConnection {
            address: None,
            memory: MemoryShare::unlimited(),
            certificate: certificate.map(Arc::new),
        }
    }

    fn certificate() -> PeerCertificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let cert = CertificateDer::from(params.self_signed(&key).unwrap());
        PeerCertificate::parse(&[cert], 1).unwrap()
    }

    #[tokio::test]
    async fn a_certificate_ends_and_is_verified_again_when_its_authority_changes() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = |year| {
            let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&key).unwrap()
        };
        let (good, old) = (made(2100), made(2001));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, good.pem()).unwrap();
        let files = Arc::new(Files::default());
        let trust = TlsConfigs::new(Arc::clone(&files)).caller_trust(&path, None, false);
        let trust = trust.unwrap();
        let authenticator = CertificateAuthenticator::new(Arc::clone(&trust));
        let parse = |cert: &rcgen::Certificate, verified| {
            PeerCertificate::parse(&[cert.der().clone()], verified).unwrap()
        };
        let caller = authenticator.authenticate(&parse(&good, trust.version()));
        assert_eq!(caller.unwrap().subject(), Some("a.example"));
        let refusal = authenticator
            .authenticate(&parse(&old, trust.version()))
            .unwrap_err();
        assert!(refusal.reason.contains("has expired"), "{}", refusal.reason);
        // It was verified with another version: its authority is there still.
        let open = parse(&good, trust.version() + 1);
        assert!(authenticator.authenticate(&open).is_ok());
        assert_eq!(open.verified(), trust.version());
        std::fs::write(&path, certificate_pem()).unwrap();
        let cell = files.open(&path, 1 << 20).unwrap();
        cell.look(std::time::Duration::ZERO).await;
        let refusal = authenticator.authenticate(&open).unwrap_err();
        assert!(
            refusal.reason.contains("is not trusted any more"),
            "{}",
            refusal.reason
        );
    }

    fn certificate_pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_token_that_is_bound_is_good_with_its_certificate_only() {
        let (own, other) = (certificate(), certificate());
        let mut identity = Identity::new(Principal::OAuthUser, "ada");
        let free = Caller::new(Identity::new(Principal::OAuthUser, "ada"));
        identity
            .tags
            .insert(CONFIRMATION.into(), own.thumbprint().into());
        let bound = Caller::new(identity);
        let (own, other) = (connection(Some(own)), connection(Some(other)));
        let none = connection(None);
        assert!(check_binding(bound.clone(), &own).is_ok());
        for wrong in [&other, &none] {
            let refusal = check_binding(bound.clone(), wrong).unwrap_err();
            assert!(refusal.reason.contains("bound to"), "{}", refusal.reason);
        }
        for any in [&own, &other, &none] {
            assert!(check_binding(free.clone(), any).is_ok());
        }
    }
}
