//! The admission of a request, before its body is read: `Host` and `Origin`, then the caller's
//! credential. What is refused carries a challenge (RFC 6750 §3, RFC 9728 §5.1).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use serde_json::json;

use crate::audit::{AuditEvent, AuditLog};
use crate::authentication::{Authenticator, Refusal, RefusalKind};
use crate::caller::{Caller, CallerConnection, Principal};
use crate::config::ResourceMetadata;
use crate::front::standing::{Admission, Standing};
use crate::front::state::Front;
use crate::front::{answer, resource_metadata};
use crate::protocol::error::Fault;
use crate::protocol::trace::Trace;

/// After how many seconds a credential that could not be checked may be sent again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A request that is not admitted.
#[derive(Debug)]
pub(super) struct NotAdmitted {
    pub(super) fault: Fault,
    /// `WWW-Authenticate`
    challenge: Option<HeaderValue>,
}

impl From<Fault> for NotAdmitted {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            challenge: None,
        }
    }
}

impl NotAdmitted {
    /// Makes the answer to a refused credential.
    fn new(
        front: &Front,
        request: &Parts,
        authenticator: &Authenticator,
        refusal: &Refusal,
    ) -> Self {
        let settings = authenticator.settings();
        let url = resource_metadata::url_for(front, settings, request);
        let challenge = challenge(&refusal.kind, url.as_deref(), &settings.metadata);
        Self {
            fault: fault_of(&refusal.kind),
            challenge: challenge.and_then(|text| HeaderValue::try_from(text).ok()),
        }
    }

    /// Makes the response.
    pub(super) fn respond(self) -> Response {
        let mut response = answer::refuse(None, &self.fault);
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.fault == Fault::ContentCoding {
            let coding = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, coding);
        } else if self.fault == Fault::CredentialUnchecked {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl Front {
    /// Returns the sender of a request, and the authenticator that let it in.
    ///
    /// # Errors
    /// The request must not be answered.
    pub(super) async fn authenticate(
        &self,
        request: &Parts,
        connection: &CallerConnection,
    ) -> Result<Admission, NotAdmitted> {
        let authenticator = match &*self.authentication.load() {
            None => return Ok(Admission::open()),
            Some(authenticator) => Arc::clone(authenticator),
        };
        let verdict = match authenticator.try_now(request, connection) {
            Some(verdict) => verdict,
            None => authenticator.authenticate(request, connection).await,
        };
        match verdict {
            Ok(caller) => {
                let certificate = connection.certificate.as_ref();
                let certificate = certificate.filter(|_| caller.principal() == Principal::Workload);
                Ok(Admission {
                    certificate: certificate.cloned(),
                    caller: caller.with_marks(&self.marks),
                    authenticator: Some(authenticator),
                    is_forwarded: false,
                })
            }
            Err(refusal) => {
                log(&refusal, connection);
                self.metrics.count_refusal(refusal.kind.as_str());
                if let Some(audit) = self.live.audit() {
                    record(audit, &refusal, request, connection);
                }
                let refused = NotAdmitted::new(self, request, &authenticator, &refusal);
                Err(refused)
            }
        }
    }

    /// Lets the caller of a forwarded request in, whom another replica has authenticated.
    pub(super) fn admit_forwarded(&self, caller: Caller) -> Admission {
        Admission {
            caller: caller.with_marks(&self.marks),
            authenticator: self.authentication.load_full(),
            certificate: None,
            is_forwarded: true,
        }
    }

    /// Returns what tells a stream for a caller whether it may go on.
    pub(super) fn standing(&self, admission: &Admission) -> Standing {
        Standing {
            caller: admission.caller.clone(),
            authenticator: admission.authenticator.clone(),
            certificate: admission.certificate.clone(),
            current: Arc::clone(&self.authentication),
        }
    }
}

/// Tells operators of a refused credential. A request without one is how clients find out that they
/// need one.
fn log(refusal: &Refusal, connection: &CallerConnection) {
    let (address, reason) = (
        connection.address.map(tracing::field::display),
        &*refusal.reason,
    );
    if refusal.kind == RefusalKind::MissingCredential {
        tracing::debug!(address, reason, "caller not authenticated");
    } else {
        tracing::warn!(address, reason, "caller not authenticated");
    }
}

/// Records a refused credential, within bounds: anybody can send as many as they like.
fn record(audit: &AuditLog, refusal: &Refusal, request: &Parts, connection: &CallerConnection) {
    if refusal.kind == RefusalKind::MissingCredential {
        return;
    }
    let trace = Trace::of(&request.headers);
    let details = json!({
        "reason": &*refusal.reason,
        "address": connection.address.map(|address| address.to_string()),
    });
    audit.write_bounded_event(AuditEvent {
        request_id: Some(trace.request_id()),
        ..AuditEvent::new(AuditEvent::REFUSED_CREDENTIAL, details)
    });
}

/// Authenticates requests that go through the router. A preflight has no credential (Fetch, "CORS
/// preflight").
pub(super) async fn authenticate(
    State(front): State<Arc<Front>>,
    Extension(connection): Extension<Arc<CallerConnection>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match front.authenticate(&parts, &connection).await {
        Ok(admission) => {
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(admission);
            next.run(request).await
        }
        Err(refused) => refused.respond(),
    }
}

/// Returns the error for a refused credential.
fn fault_of(kind: &RefusalKind) -> Fault {
    match kind {
        RefusalKind::MissingCredential | RefusalKind::InvalidToken(_) => {
            Fault::Unauthenticated(kind.description())
        }
        RefusalKind::Malformed => Fault::MalformedCredential,
        RefusalKind::InsufficientScope { .. } => Fault::InsufficientScope,
        RefusalKind::Unavailable => Fault::CredentialUnchecked,
    }
}

/// Returns the challenge to the sender of a request. A client that reads `resource_metadata` finds
/// out there where to get a token, and `scope` tells it which scopes to ask for.
fn challenge(kind: &RefusalKind, url: Option<&str>, metadata: &ResourceMetadata) -> Option<String> {
    let scopes: &[Box<str>] = match kind {
        RefusalKind::MissingCredential | RefusalKind::InvalidToken(_) => &metadata.scopes,
        RefusalKind::InsufficientScope { needed } => needed,
        RefusalKind::Malformed => &[],
        RefusalKind::Unavailable => return None,
    };
    let mut text = "Bearer".to_owned();
    let mut add = |name: &str, value: &str| {
        let comma = if text.len() > "Bearer".len() { "," } else { "" };
        // Neither a URL, nor a scope (RFC 6749 §3.3), nor text of weir's has what must be escaped.
        let _ = write!(text, "{comma} {name}=\"{value}\"");
    };
    if let Some(error) = kind.error() {
        add("error", error);
        add("error_description", kind.description());
    }
    if !scopes.is_empty() {
        add("scope", &scopes.join(" "));
    }
    if let Some(url) = url {
        add("resource_metadata", url);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_what_its_kind_of_refusal_needs() {
        let metadata = ResourceMetadata {
            name: "weir".into(),
            scopes: vec!["a/b".into(), "c".into()],
            authorization_servers: Vec::new(),
            documentation: None,
        };
        let url = "https://w.example/.well-known/oauth-protected-resource/mcp";
        let of = |kind: RefusalKind, url| challenge(&kind, url, &metadata);
        let needed = Arc::from([Box::from("d"), Box::from("e")]);
        let table = [
            (
                of(RefusalKind::MissingCredential, Some(url)),
                Some(format!(r#"Bearer scope="a/b c", resource_metadata="{url}""#)),
            ),
            (
                of(RefusalKind::MissingCredential, None),
                Some(r#"Bearer scope="a/b c""#.to_owned()),
            ),
            (
                of(RefusalKind::InvalidToken("no"), Some(url)),
                Some(format!(
                    r#"Bearer error="invalid_token", error_description="no", scope="a/b c", resource_metadata="{url}""#
                )),
            ),
            (
                of(RefusalKind::InsufficientScope { needed }, Some(url)),
                Some(format!(
                    r#"Bearer error="insufficient_scope", error_description="the credential lacks a scope", scope="d e", resource_metadata="{url}""#
                )),
            ),
            (
                of(RefusalKind::Malformed, None),
                Some(
                    r#"Bearer error="invalid_request", error_description="exactly one credential is needed, in a header""#
                        .to_owned(),
                ),
            ),
            (of(RefusalKind::Unavailable, Some(url)), None),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }
}
