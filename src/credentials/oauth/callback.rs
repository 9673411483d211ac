//! The end of the way back from the browser: a loopback listener (RFC 8252 §7.3) and what it takes for an answer.

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

/// Where the browser comes back to.
const PATH: &str = "/callback";
/// Most connections at once; browsers open some in advance.
const CONNECTIONS: usize = 16;
/// How long a connection may take to say what it wants.
const HEAD: Duration = Duration::from_secs(30);
/// How long the last page may take to arrive.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// Words of the browser that may wait.
const WAITING: usize = 4;

/// The listener, before it answers.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// A redirect that came in, and who waits for what is to be shown.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The query of the redirect.
    pub(super) query: String,
    /// Takes the page; `None` for what was pasted.
    pub(super) page: Option<oneshot::Sender<Page>>,
}

/// What the browser shows.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Whether it went well.
    pub(super) good: bool,
    /// Plain words.
    pub(super) text: String,
}

impl Listener {
    /// Listens on this port of 127.0.0.1; 0 is any.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The redirect URI.
    pub(super) fn redirect(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Gives what comes in to `work` until that ends, and lets the last page arrive.
    pub(super) async fn serve<T>(self, work: impl AsyncFnOnce(mpsc::Receiver<Arrival>) -> T) -> T {
        let (words, heard) = mpsc::channel(WAITING);
        let closing = CancellationToken::new();
        let serving = accept(self.listener, words, closing.clone());
        tokio::pin!(serving);
        let working = work(heard);
        tokio::pin!(working);
        let output = tokio::select! {
            output = &mut working => output,
            // It ends only when it is told to.
            () = &mut serving => working.await,
        };
        closing.cancel();
        let _ = tokio::time::timeout(LAST_PAGE, serving).await;
        output
    }
}

/// Serves connections until `closing`, and those that are under way to their end.
async fn accept(listener: TcpListener, words: mpsc::Sender<Arrival>, closing: CancellationToken) {
    let mut connections = FuturesUnordered::new();
    while !closing.is_cancelled() {
        tokio::select! {
            () = closing.cancelled() => {}
            Some(()) = connections.next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    connections.push(connection(stream, words.clone(), closing.clone()));
                }
            }
        }
    }
    while connections.next().await.is_some() {}
}

/// One connection, one answer.
async fn connection(stream: TcpStream, words: mpsc::Sender<Arrival>, closing: CancellationToken) {
    let service = service_fn(|request| answer(request, &words));
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

async fn answer(
    request: Request<Incoming>,
    words: &mpsc::Sender<Arrival>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != PATH {
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
    let arrival = Arrival {
        query: request.uri().query().unwrap_or_default().to_owned(),
        page: Some(sender),
    };
    let told = words.send(arrival).await.is_ok();
    let shown = if told { shown.await.ok() } else { None };
    let shown = shown.unwrap_or_else(|| Page {
        good: false,
        text: "Weir does not wait for this any more.".to_owned(),
    });
    let status = match shown.good {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    Ok(page(status, shown.text))
}

/// A page without anything to load, run or keep. The text is weir's own.
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

/// What an authorization answer has to have.
#[derive(Debug)]
pub(super) struct Expected {
    /// `state`
    pub(super) state: String,
    /// The issuer, as its metadata writes it.
    pub(super) issuer: String,
    /// Whether the server says that it always sends `iss` (RFC 9207 §3).
    pub(super) must_name_issuer: bool,
}

/// What a redirect says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It does not belong to this login.
    Foreign,
    /// `code`
    Code(String),
    /// `error`: a code of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6, or `None` for any other.
    Denied(Option<&'static str>),
    /// It is from another authorization server, or does not say from which (RFC 9207 §2.4).
    WrongIssuer,
    /// Neither `code` nor `error`.
    Empty,
}

/// The error codes that may be shown.
const CODES: [&str; 11] = [
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

impl Expected {
    /// What the query of a redirect says to who waits for this.
    pub(super) fn judge(&self, query: &str) -> Answer {
        let one = |name: &str| {
            let mut found = url::form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            // A parameter that comes twice is none (RFC 6749 §3.1).
            let first = found.next();
            first.filter(|_| found.next().is_none())
        };
        if one("state").as_ref() != Some(&self.state) {
            return Answer::Foreign;
        }
        let named = url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "iss");
        if (named || self.must_name_issuer) && one("iss").as_ref() != Some(&self.issuer) {
            return Answer::WrongIssuer;
        }
        if let Some(error) = one("error") {
            return Answer::Denied(CODES.into_iter().find(|code| *code == error));
        }
        one("code").map_or(Answer::Empty, Answer::Code)
    }
}

/// The query of a redirect that a person copied out of a browser on another machine.
pub(super) fn pasted(line: &str) -> Option<String> {
    let url = Url::parse(line.trim()).ok()?;
    let here = url.scheme() == "http" && url.path() == PATH;
    here.then(|| url.query().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(query: &str, must_name_issuer: bool) -> Answer {
        let expected = Expected {
            state: "s-1".into(),
            issuer: "https://auth.example.com".into(),
            must_name_issuer,
        };
        expected.judge(query)
    }

    const ISS: &str = "iss=https%3A%2F%2Fauth.example.com";

    #[test]
    fn a_code_counts_only_with_the_state_of_this_login() {
        let code = || Answer::Code("c".into());
        assert_eq!(judge("code=c&state=s-1", false), code());
        assert_eq!(judge("code=c&state=s-2", false), Answer::Foreign);
        assert_eq!(judge("code=c", false), Answer::Foreign);
        assert_eq!(judge("code=c&state=s-1&state=s-1", false), Answer::Foreign);
        assert_eq!(judge("code=c&code=d&state=s-1", false), Answer::Empty);
        assert_eq!(
            judge("error=access_denied&state=s-2", false),
            Answer::Foreign
        );
    }

    #[test]
    fn an_issuer_is_checked_if_it_is_named_or_promised() {
        let code = Answer::Code("c".into());
        assert_eq!(judge(&format!("code=c&state=s-1&{ISS}"), true), code);
        assert_eq!(judge(&format!("code=c&state=s-1&{ISS}"), false), code);
        assert_eq!(judge("code=c&state=s-1", true), Answer::WrongIssuer);
        for iss in ["https://evil.example.com", "https://auth.example.com/", ""] {
            let query = format!("code=c&state=s-1&iss={iss}");
            assert_eq!(judge(&query, false), Answer::WrongIssuer, "{iss}");
        }
        let twice = format!("code=c&state=s-1&{ISS}&{ISS}");
        assert_eq!(judge(&twice, false), Answer::WrongIssuer);
        let denied = "error=access_denied&state=s-1";
        assert_eq!(judge(denied, true), Answer::WrongIssuer);
    }

    #[test]
    fn an_error_is_shown_only_if_it_is_a_known_code() {
        let denied = judge("error=access_denied&error_description=x&state=s-1", false);
        assert_eq!(denied, Answer::Denied(Some("access_denied")));
        let odd = judge("error=%1b%5b31msecret&state=s-1", false);
        assert_eq!(odd, Answer::Denied(None));
        assert_eq!(judge("state=s-1", false), Answer::Empty);
    }

    #[test]
    fn the_address_of_the_browser_can_be_pasted() {
        let query = pasted(" http://127.0.0.1:4711/callback?code=c&state=s\n");
        assert_eq!(query.as_deref(), Some("code=c&state=s"));
        assert_eq!(pasted("http://127.0.0.1:4711/other?code=c"), None);
        assert_eq!(pasted("code=c"), None);
    }
}
