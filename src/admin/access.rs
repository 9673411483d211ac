//! Access to the admin listener: by its token, by the role of a caller, or by the permissions of a
//! Unix socket.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::admin::operators::Operators;
use crate::admin::response::json_response;
use crate::admin::sender::AdminSender;
use crate::admin::token::AdminToken;
use crate::authentication::CurrentAuthenticator;
use crate::config::{Admin, AdminAddress, AdminReading, Listen};
use crate::protocol::origin::{OriginCheck, OriginError};
use crate::secret::Secret;

/// The answer to a request that changes something and has not the right token.
const TOKEN_NEEDED: &str = "this needs `Authorization: Bearer TOKEN`: `weir admin-token` prints the token, and weir's own \
     commands find it in the config or the state folder";
/// The answer to such a request where no token can be right.
const NO_TOKEN: &str = "weir has no admin token, so nothing can be changed here: set `state.dir`, and weir makes one, \
     which `weir admin-token` prints; or set `admin.token`, or `admin.address: unix:PATH`";

/// Decides which requests the admin listener answers.
///
/// With `admin.token` or `admin.auth` every request needs the token or a role, but for reading if
/// `admin.reading` is `open`: then only records do. Without them, on loopback, what changes something needs the token that weir made: every process of this
/// machine can connect, those of upstreams among them. Over a Unix socket the permissions of the
/// socket have decided already.
pub struct AdminAccess {
    token: Arc<AdminToken>,
    /// Which requests need the token.
    needs: TokenNeed,
    /// Whether only this machine reaches the listener, by names that `origins` knows.
    is_loopback: bool,
    origins: OriginCheck,
    /// Those that need no token.
    operators: Option<Operators>,
}

/// The verdict on the token of a request.
enum TokenVerdict {
    /// It is answered.
    Allowed,
    /// It is refused, whoever sent it.
    Refused(Response),
    /// It is refused, unless its sender has a role.
    Missing(Response),
}

/// Which requests need the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenNeed {
    All,
    Writing,
    None,
}

impl AdminAccess {
    /// Makes the rule for a listener. `token` is the one in force, which may be another one later, and
    /// `callers` says how the callers of the other listener are authenticated.
    #[must_use]
    pub fn new(
        admin: &Admin,
        token: &Arc<AdminToken>,
        listen: &Listen,
        callers: &Arc<CurrentAuthenticator>,
    ) -> Self {
        let is_written = admin.token.is_some() || admin.auth.is_some();
        let is_unix = matches!(admin.address, AdminAddress::Unix { .. });
        let needs = match admin.reading {
            AdminReading::Token if is_written => TokenNeed::All,
            AdminReading::Open | AdminReading::Token if is_unix && !is_written => TokenNeed::None,
            AdminReading::Open | AdminReading::Token => TokenNeed::Writing,
        };
        Self {
            token: Arc::clone(token),
            needs,
            is_loopback: !is_unix && admin.address.is_local(),
            // No page reaches a Unix socket by a name of its own, so that any name will do there.
            origins: OriginCheck::new(
                !is_unix,
                if is_unix { &[] } else { &listen.allowed_hosts },
                &[],
            ),
            operators: admin
                .auth
                .clone()
                .map(|roles| Operators::new(roles, Arc::clone(callers))),
        }
    }

    /// Lets a request in, and returns its sender.
    ///
    /// # Errors
    /// It is not allowed: the answer to it.
    pub(super) async fn admit(&self, request: &Parts) -> Result<AdminSender, Box<Response>> {
        match (self.check_token(request), &self.operators) {
            (TokenVerdict::Allowed, _) => Ok(AdminSender::default()),
            (TokenVerdict::Missing(_), Some(operators)) => {
                operators.admit(request, self.check_origin(request)).await
            }
            (TokenVerdict::Refused(answer) | TokenVerdict::Missing(answer), _) => {
                Err(Box::new(answer))
            }
        }
    }

    /// Checks the `Host` of a request for the page: as for other requests, and on loopback even where
    /// all of them need the token, because a browser sends what it has.
    ///
    /// # Errors
    /// The host is not allowed, or there is no single one.
    pub fn check_host(&self, request: &Parts) -> Result<(), OriginError> {
        match self.origins.check(request) {
            Err(OriginError::Host) if self.needs == TokenNeed::All && !self.is_loopback => Ok(()),
            // The page has a rule of its own for `Origin`: itself.
            Ok(()) | Err(OriginError::Origin) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the token in force; `None` if there is none.
    #[must_use]
    pub fn token(&self) -> Option<Secret> {
        self.token.now()
    }

    /// Returns whether a request has the token in `Authorization`.
    #[must_use]
    pub fn has_token(&self, headers: &HeaderMap) -> bool {
        let token = self.token.now();
        token.is_some_and(|token| has_token(headers, &token))
    }

    /// Returns whether a text is the token.
    #[must_use]
    pub fn is_token(&self, text: &str) -> bool {
        let token = self.token.now();
        token.is_some_and(|token| is_same(text, &token))
    }

    /// Returns whether requests that change nothing, and tell nobody's calls, are open to all that
    /// reach the listener.
    #[must_use]
    pub fn reads_openly(&self) -> bool {
        self.needs != TokenNeed::All
    }

    /// Returns whether the permissions of a Unix socket have let in whoever asks.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.needs == TokenNeed::None
    }

    /// Returns the sender of a request, if it is a caller with a role for its method.
    pub async fn sender_with_role(&self, request: &Parts) -> Option<AdminSender> {
        let operators = self.operators.as_ref()?;
        operators.admit(request, Ok(())).await.ok()
    }

    fn check_origin(&self, request: &Parts) -> Result<(), OriginError> {
        match self.origins.check(request) {
            Err(OriginError::Authority) => Err(OriginError::Authority),
            // No web page has a reason to call the admin listener.
            _ if request.headers.contains_key(header::ORIGIN) => Err(OriginError::Origin),
            checked => checked,
        }
    }

    fn check_token(&self, request: &Parts) -> TokenVerdict {
        let checked = match self.check_origin(request) {
            Err(OriginError::Authority) => {
                let answer = refuse(StatusCode::BAD_REQUEST, &OriginError::Authority);
                return TokenVerdict::Refused(answer);
            }
            checked => checked,
        };
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let needed = match self.needs {
            TokenNeed::All => true,
            TokenNeed::Writing => !reads || is_private(request),
            TokenNeed::None => false,
        };
        let token = self.token.now();
        let token = token.as_ref();
        if needed && token.is_some_and(|token| has_token(&request.headers, token)) {
            return TokenVerdict::Allowed;
        }
        if self.needs != TokenNeed::All
            && let Err(error) = checked
        {
            return TokenVerdict::Refused(refuse(StatusCode::FORBIDDEN, &error));
        }
        match (needed, token) {
            (false, _) => TokenVerdict::Allowed,
            (true, Some(_)) => TokenVerdict::Missing(challenge()),
            (true, None) => TokenVerdict::Missing(refuse(StatusCode::FORBIDDEN, &NO_TOKEN)),
        }
    }
}

/// Returns whether reading needs the token too, where reading is open: the page tells who called
/// what, and every process of the machine can connect, those of upstreams among them.
fn is_private(request: &Parts) -> bool {
    matches!(request.uri.path(), "/records" | "/callers")
}

fn challenge() -> Response {
    let challenge = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    let answer = refuse(StatusCode::UNAUTHORIZED, &TOKEN_NEEDED);
    ([challenge], answer).into_response()
}

fn refuse(status: StatusCode, error: &dyn std::fmt::Display) -> Response {
    json_response(status, &json!({ "error": error.to_string() }))
}

fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let sent = sent
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map_or("", |(_, token)| token);
    is_same(sent, token)
}

fn is_same(text: &str, token: &Secret) -> bool {
    // Digests are compared, so that the time taken says nothing about the token.
    let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest(text).as_ref() == digest(token.expose()).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::secrets::SecretCell;

    /// Returns the status of the refusal; `None` if the request is let in.
    fn refused(
        access: &AdminAccess,
        method: Method,
        headers: &[(header::HeaderName, &str)],
    ) -> Option<u16> {
        let (mut request, ()) = http::Request::new(()).into_parts();
        request.method = method;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers.insert(name.clone(), value);
        }
        match access.check_token(&request) {
            TokenVerdict::Allowed => None,
            TokenVerdict::Refused(answer) | TokenVerdict::Missing(answer) => {
                Some(answer.status().as_u16())
            }
        }
    }

    fn access(token: Option<&str>, needs: TokenNeed) -> AdminAccess {
        AdminAccess {
            token: Arc::new(AdminToken::new(token.map(SecretCell::fixed))),
            needs,
            is_loopback: true,
            origins: OriginCheck::new(true, &[], &[]),
            operators: None,
        }
    }

    const PAGE: (header::HeaderName, &str) = (header::ORIGIN, "https://dashboard.example");
    const FOREIGN: (header::HeaderName, &str) = (header::HOST, "weir.example");
    const LOCAL: (header::HeaderName, &str) = (header::HOST, "localhost");
    const RIGHT: (header::HeaderName, &str) = (header::AUTHORIZATION, "Bearer sesame");
    const WRONG: (header::HeaderName, &str) = (header::AUTHORIZATION, "Bearer open");

    #[test]
    fn with_a_written_token_only_the_token_counts() {
        let all = access(Some("sesame"), TokenNeed::All);
        for method in [Method::GET, Method::POST] {
            let refused = |headers: &[_]| refused(&all, method.clone(), headers);
            assert_eq!(refused(&[FOREIGN, RIGHT, PAGE]), None);
            assert_eq!(refused(&[FOREIGN, WRONG]), Some(401));
            assert_eq!(refused(&[FOREIGN, PAGE]), Some(401));
            assert_eq!(refused(&[RIGHT]), Some(400), "no Host");
        }
    }

    #[test]
    fn without_a_written_token_reading_is_open_to_programs_and_writing_to_those_with_the_token() {
        let made = access(Some("sesame"), TokenNeed::Writing);
        let none = access(None, TokenNeed::Writing);
        for access in [&made, &none] {
            assert_eq!(refused(access, Method::GET, &[LOCAL]), None);
            assert_eq!(refused(access, Method::GET, &[FOREIGN]), Some(403));
            assert_eq!(refused(access, Method::GET, &[LOCAL, PAGE]), Some(403));
            assert_eq!(refused(access, Method::POST, &[LOCAL, PAGE]), Some(403));
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let refused = |access, headers: &[_]| refused(access, method.clone(), headers);
            assert_eq!(refused(&made, &[LOCAL, RIGHT]), None);
            assert_eq!(refused(&made, &[LOCAL, WRONG]), Some(401));
            assert_eq!(refused(&made, &[LOCAL]), Some(401));
            assert_eq!(refused(&none, &[LOCAL, RIGHT]), Some(403));
        }
    }

    #[test]
    fn where_permissions_have_decided_no_token_is_needed() {
        let socket = access(Some("sesame"), TokenNeed::None);
        assert_eq!(refused(&socket, Method::POST, &[LOCAL]), None);
        assert_eq!(refused(&socket, Method::POST, &[LOCAL, PAGE]), Some(403));
    }
}
