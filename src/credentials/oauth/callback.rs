//! The redirect of a browser back to weir: a loopback listener (RFC 8252 §7.3), and how redirects
//! are checked.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The path of the redirect URI.
const CALLBACK_PATH: &str = "/callback";
/// The most connections at once; browsers open some in advance.
const MAX_CONNECTIONS: usize = 16;
/// The longest that the header of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait until the browser has received the last page.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// The most redirects that wait to be handled.
const QUEUE: usize = 4;

/// A bound listener that serves nothing yet.
#[derive(Debug)]
pub(super) struct CallbackListener {
    listener: TcpListener,
    address: SocketAddr,
}

/// A redirect that arrived.
#[derive(Debug)]
pub(super) struct IncomingRedirect {
    /// Its query.
    pub(super) query: String,
    /// Takes the page for the browser; `None` for a redirect that was pasted.
    pub(super) page: Option<oneshot::Sender<ResultPage>>,
}

/// The page that the browser shows.
#[derive(Clone, Debug)]
pub(super) struct ResultPage {
    /// Whether the login succeeded.
    pub(super) good: bool,
    /// Plain text.
    pub(super) text: String,
}

impl CallbackListener {
    /// Listens on a port of 127.0.0.1; 0 takes any free one.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the redirect URI.
    pub(super) fn redirect(&self) -> String {
        format!("http://{}{CALLBACK_PATH}", self.address)
    }

    /// Sends redirects to `work` until it ends, then waits until the browser has received the last
    /// page.
    pub(super) async fn serve<T>(
        self,
        work: impl AsyncFnOnce(mpsc::Receiver<IncomingRedirect>) -> T,
    ) -> T {
        let (redirects, received) = mpsc::channel(QUEUE);
        let closing = CancellationToken::new();
        let serving = accept(self.listener, redirects, closing.clone());
        tokio::pin!(serving);
        let working = work(received);
        tokio::pin!(working);
        let output = tokio::select! {
            output = &mut working => output,
            // Does not happen: it serves until `closing` is cancelled.
            () = &mut serving => working.await,
        };
        closing.cancel();
        let _ = tokio::time::timeout(LAST_PAGE, serving).await;
        output
    }
}

/// Accepts connections until `closing` is cancelled, then serves the open ones to their end.
async fn accept(
    listener: TcpListener,
    redirects: mpsc::Sender<IncomingRedirect>,
    closing: CancellationToken,
) {
    let mut connections = FuturesUnordered::new();
    while !closing.is_cancelled() {
        tokio::select! {
            () = closing.cancelled() => {}
            Some(()) = connections.next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    connections.push(serve_connection(stream, redirects.clone(), closing.clone()));
                }
            }
        }
    }
    while connections.next().await.is_some() {}
}

/// Serves the one request of a connection.
async fn serve_connection(
    stream: TcpStream,
    redirects: mpsc::Sender<IncomingRedirect>,
    closing: CancellationToken,
) {
    let service = service_fn(|request| respond(request, &redirects));
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

async fn respond(
    request: Request<Incoming>,
    redirects: &mpsc::Sender<IncomingRedirect>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != CALLBACK_PATH {
        return Ok(page(
            StatusCode::NOT_FOUND,
            "There is nothing here.".to_owned(),
        ));
    }
    if request.method() != Method::GET {
        let text = "The browser has to come here with GET.".to_owned();
        return Ok(page(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let (sender, shown) = oneshot::channel();
    let redirect = IncomingRedirect {
        query: request.uri().query().unwrap_or_default().to_owned(),
        page: Some(sender),
    };
    let is_sent = redirects.send(redirect).await.is_ok();
    let shown = if is_sent { shown.await.ok() } else { None };
    let shown = shown.unwrap_or_else(|| ResultPage {
        good: false,
        text: "Weir no longer waits for this login.".to_owned(),
    });
    let status = match shown.good {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    Ok(page(status, shown.text))
}

/// Builds a page that loads and runs nothing and is not cached. The text is weir's own.
fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>weir</title>\
         <body style=\"font:1.1rem system-ui;margin:4rem auto;max-width:40rem\"><p>{escaped}</p></body></html>\n"
    );
    let mut response = Response::new(Full::new(html.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The values that an authorization response has to match.
#[derive(Debug)]
pub(super) struct ExpectedRedirect {
    /// `state` of the authorization request (RFC 6749 §4.1.1).
    pub(super) state: String,
    /// The issuer, as its metadata writes it.
    pub(super) issuer: String,
    /// Whether the server's metadata promises `iss` in every response (RFC 9207 §3).
    pub(super) must_name_issuer: bool,
}

/// An authorization response (RFC 6749 §4.1.2), checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuthorizationResponse {
    /// It belongs to another login.
    OtherLogin,
    /// It has a `code`.
    Code(String),
    /// It has an `error`: a code of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6, or `None`
    /// for any other.
    Error(Option<&'static str>),
    /// It is from another authorization server, or does not name its server (RFC 9207 §2.4).
    WrongIssuer,
    /// It has neither `code` nor `error`.
    Empty,
}

/// The error codes that may be shown.
const ERROR_CODES: [&str; 11] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "interaction_required",
    "login_required",
    "consent_required",
    "invalid_target",
];

impl ExpectedRedirect {
    /// Checks the query of a redirect.
    pub(super) fn check(&self, query: &str) -> AuthorizationResponse {
        let one = |name: &str| {
            let mut found = url::form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            // A parameter that occurs twice is invalid (RFC 6749 §3.1).
            let first = found.next();
            first.filter(|_| found.next().is_none())
        };
        if one("state").as_ref() != Some(&self.state) {
            return AuthorizationResponse::OtherLogin;
        }
        let named = url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "iss");
        if (named || self.must_name_issuer) && one("iss").as_ref() != Some(&self.issuer) {
            return AuthorizationResponse::WrongIssuer;
        }
        if let Some(error) = one("error") {
            return AuthorizationResponse::Error(
                ERROR_CODES.into_iter().find(|code| *code == error),
            );
        }
        one("code").map_or(AuthorizationResponse::Empty, AuthorizationResponse::Code)
    }
}

/// Parses a redirect that a person copied from a browser on another machine. Returns its query.
pub(super) fn parse_pasted(line: &str) -> Option<String> {
    let url = Url::parse(line.trim()).ok()?;
    let here = url.scheme() == "http" && url.path() == CALLBACK_PATH;
    here.then(|| url.query().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, must_name_issuer: bool) -> AuthorizationResponse {
        let expected = ExpectedRedirect {
            state: "s-1".into(),
            issuer: "https://auth.example.com".into(),
            must_name_issuer,
        };
        expected.check(query)
    }

    const ISS: &str = "iss=https%3A%2F%2Fauth.example.com";

    #[test]
    fn a_code_counts_only_with_the_state_of_this_login() {
        let code = || AuthorizationResponse::Code("c".into());
        assert_eq!(check("code=c&state=s-1", false), code());
        assert_eq!(
            check("code=c&state=s-2", false),
            AuthorizationResponse::OtherLogin
        );
        assert_eq!(check("code=c", false), AuthorizationResponse::OtherLogin);
        assert_eq!(
            check("code=c&state=s-1&state=s-1", false),
            AuthorizationResponse::OtherLogin
        );
        assert_eq!(
            check("code=c&code=d&state=s-1", false),
            AuthorizationResponse::Empty
        );
        assert_eq!(
            check("error=access_denied&state=s-2", false),
            AuthorizationResponse::OtherLogin
        );
    }

    #[test]
    fn an_issuer_is_checked_if_it_is_named_or_promised() {
        let code = AuthorizationResponse::Code("c".into());
        assert_eq!(check(&format!("code=c&state=s-1&{ISS}"), true), code);
        assert_eq!(check(&format!("code=c&state=s-1&{ISS}"), false), code);
        assert_eq!(
            check("code=c&state=s-1", true),
            AuthorizationResponse::WrongIssuer
        );
        for iss in ["https://evil.example.com", "https://auth.example.com/", ""] {
            let query = format!("code=c&state=s-1&iss={iss}");
            assert_eq!(
                check(&query, false),
                AuthorizationResponse::WrongIssuer,
                "{iss}"
            );
        }
        let twice = format!("code=c&state=s-1&{ISS}&{ISS}");
        assert_eq!(check(&twice, false), AuthorizationResponse::WrongIssuer);
        let denied = "error=access_denied&state=s-1";
        assert_eq!(check(denied, true), AuthorizationResponse::WrongIssuer);
    }

    #[test]
    fn an_error_is_shown_only_if_it_is_a_known_code() {
        let denied = check("error=access_denied&error_description=x&state=s-1", false);
        assert_eq!(denied, AuthorizationResponse::Error(Some("access_denied")));
        let odd = check("error=%1b%5b31msecret&state=s-1", false);
        assert_eq!(odd, AuthorizationResponse::Error(None));
        assert_eq!(check("state=s-1", false), AuthorizationResponse::Empty);
    }

    #[test]
    fn the_address_of_the_browser_can_be_pasted() {
        let query = parse_pasted(" http://127.0.0.1:4711/callback?code=c&state=s\n");
        assert_eq!(query.as_deref(), Some("code=c&state=s"));
        assert_eq!(parse_pasted("http://127.0.0.1:4711/other?code=c"), None);
        assert_eq!(parse_pasted("code=c"), None);
    }
}
