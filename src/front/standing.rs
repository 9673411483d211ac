//! Whether the credential behind a stream still holds. A request is authenticated once; a stream may
//! outlive the credential.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::authentication::{Authenticator, CurrentAuthenticator};
use crate::caller::{Caller, PeerCertificate};

/// The sender of a request that is let in.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) caller: Caller,
    /// The authenticator that let it in; `None` where nobody has to prove anything.
    pub(super) authenticator: Option<Arc<Authenticator>>,
    /// The client certificate, if the caller logged in with one.
    pub(super) certificate: Option<Arc<PeerCertificate>>,
    /// Whether another replica let it in, and forwarded the request.
    pub(super) is_forwarded: bool,
}

impl Admission {
    /// Lets anybody in.
    pub(super) fn open() -> Self {
        Self {
            caller: Caller::anonymous(),
            authenticator: None,
            certificate: None,
            is_forwarded: false,
        }
    }
}

/// The credential that a stream was opened with. The stream ends with it: when it expires, and when
/// something is to be sent after it was revoked, or after a reload changed how callers are
/// authenticated.
pub(super) struct Standing {
    pub(super) caller: Caller,
    /// The one that let the caller in; `None` where nobody had to.
    pub(super) authenticator: Option<Arc<Authenticator>>,
    /// The client certificate, if the caller logged in with one.
    pub(super) certificate: Option<Arc<PeerCertificate>>,
    pub(super) current: Arc<CurrentAuthenticator>,
}

impl Standing {
    /// Returns whether the stream may go on.
    pub(super) fn holds(&self) -> bool {
        if self.left().is_some_and(|left| left.is_zero()) {
            return false;
        }
        match (&*self.current.load(), &self.authenticator) {
            (None, None) => true,
            (Some(now), Some(then)) => {
                let certificate = self.certificate.as_deref();
                Arc::ptr_eq(now, then) && now.still_accepts(&self.caller, certificate)
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Returns how long the stream may be silent: as long as it wants, or until the credential ends.
    pub(super) fn silence(&self, wanted: Duration) -> Duration {
        self.left().map_or(wanted, |left| left.min(wanted))
    }

    /// Returns how long the credential is still valid; `None` is for ever.
    fn left(&self) -> Option<Duration> {
        let end = self.caller.identity().expires?;
        Some(end.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Identity, Principal};

    fn standing(expires: Option<SystemTime>) -> Standing {
        let identity = Identity::new(Principal::OAuthUser, "s");
        Standing {
            caller: Caller::new(Identity {
                expires,
                ..identity
            }),
            authenticator: None,
            certificate: None,
            current: Arc::default(),
        }
    }

    #[test]
    fn a_stream_stands_until_its_credential_ends() {
        let keep_alive = Duration::from_secs(15);
        let for_ever = standing(None);
        assert!(for_ever.holds());
        assert_eq!(for_ever.silence(keep_alive), keep_alive);
        let now = SystemTime::now();
        let over = standing(Some(now - Duration::from_secs(1)));
        assert!(!over.holds());
        assert_eq!(over.silence(keep_alive), Duration::ZERO);
        let soon = standing(Some(now + Duration::from_secs(5)));
        assert!(soon.holds());
        assert!(soon.silence(keep_alive) <= Duration::from_secs(5));
    }
}
