//! Streamable HTTP towards an upstream (`basic/transports/streamable-http.mdx`, both eras).

mod answer;
mod body;
mod execute;
pub mod handshake;
mod media;
mod redirect;
mod request;
mod retry;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use crate::config;
use crate::credentials::auth_mismatch::AuthKind;
use crate::credentials::{Credentials, CredentialsContext, SetupError};
use crate::json::Object;
use crate::memory::MemoryShare;
use crate::protocol::era::Era;
use crate::protocol::headers::{LAST_EVENT_ID, METHOD, SESSION, VERSION};
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::client::{HttpClient, HttpClientError};
use crate::upstream::cookies::Cookies;
use crate::upstream::error::LinkError;
use crate::upstream::exchange::Exchange;
use crate::upstream::peer::{Affinity, HttpSession, Peer};
use crate::upstream::quirks::{Platform, Quirks};
use crate::upstream::request::OutboundRequest;
use body::BodyReader;
use media::{Media, media_type};
use request::HttpRequest;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Sent as `User-Agent`.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));

/// Sent as `Accept-Encoding`: to expand an answer would cost more than to read it.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// An HTTP client of one upstream: its own pool, its own credentials.
#[derive(Debug)]
pub struct HttpWire {
    client: HttpClient,
    url: Url,
    credentials: Credentials,
    sent: AuthKind,
    quirks: Quirks,
    /// Random. The affinity of the link's own session is derived from it.
    key: [u8; 16],
    reader: BodyReader,
    /// The share that pays for what weir reads for itself.
    memory: MemoryShare,
    /// Whether the server has redirected a request to another path.
    redirects: AtomicBool,
    first_byte: Option<Duration>,
}

/// Why an HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The credentials cannot be set up.
    #[error(transparent)]
    Credentials(#[from] SetupError),
    /// There is no client for this URL on this machine.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl HttpWire {
    /// Builds a client for one upstream. Opens nothing.
    ///
    /// # Errors
    /// The credentials or the client cannot be set up.
    pub fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        quirks: Quirks,
        around: &CredentialsContext,
        memory: MemoryShare,
    ) -> Result<Self, WireError> {
        Ok(Self {
            client: HttpClient::new(config, endpoint, around)?,
            url: endpoint.url.clone(),
            credentials: Credentials::new(config, endpoint, around)?,
            sent: AuthKind::of(&config.auth),
            quirks,
            key: crate::seal::random().unwrap_or_default(),
            reader: BodyReader {
                limit: config.limits.response_bytes,
                idle: config.timeouts.idle,
            },
            memory,
            redirects: AtomicBool::new(false),
            first_byte: config.timeouts.first_byte,
        })
    }

    /// Returns what is particular to the other end.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        self.quirks
    }

    /// Returns what kind of credentials weir sends.
    #[must_use]
    pub fn sent(&self) -> AuthKind {
        self.sent
    }

    /// Returns the affinity of a session that begins now, derived from `key`, or from the link's
    /// own key. `None` where the server needs no affinity.
    #[must_use]
    pub fn new_affinity(&self, key: Option<&[u8; 16]>) -> Option<Arc<Affinity>> {
        let key = key.unwrap_or(&self.key);
        let affine = self.quirks.affinity;
        affine.then(|| Arc::new(Affinity::new(&self.url, key)))
    }

    /// Returns a session with the headers that all its requests carry, and the login of a caller that
    /// they are sent with.
    #[must_use]
    pub fn new_session(
        &self,
        version: &str,
        id: Option<HeaderValue>,
        affinity: Option<Arc<Affinity>>,
        cookies: Arc<Cookies>,
        login: Option<&Arc<CallerLogin>>,
    ) -> HttpSession {
        if id.is_none() {
            // It keeps nothing for a client, so all callers share what weir has with it.
            cookies.seal();
        }
        HttpSession {
            // A copy has no room to spare: thousands of sessions may be open.
            headers: session_headers(version, id.as_ref()).clone(),
            id,
            affinity,
            cookies,
            login: login.map(Arc::clone),
        }
    }

    /// Sends a request and reads enough to know the kind of the answer. A JSON answer is read
    /// whole.
    ///
    /// # Errors
    /// Nothing usable came back by `deadline`.
    pub async fn send(
        &self,
        session: &HttpSession,
        outbound: OutboundRequest,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Exchange, LinkError> {
        let mut headers = session.headers.clone();
        headers.extend(outbound.headers);
        let memory = outbound.memory;
        match self.quirks.platform {
            Platform::None | Platform::Gateway => {
                self.send_once(session, headers, body, deadline, memory)
                    .await
            }
            Platform::Runtime => {
                Box::pin(self.send_until_run(session, headers, body, deadline, memory)).await
            }
        }
    }

    async fn send_once(
        &self,
        session: &HttpSession,
        mut headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
        memory: MemoryShare,
    ) -> Result<Exchange, LinkError> {
        if let Some(affinity) = &session.affinity {
            affinity.add_to(&mut headers);
        }
        let answer = async {
            let request = HttpRequest::post(headers, body, session.sender(), deadline);
            let sent = self.execute_call(request);
            let response = match self.first_byte {
                Some(limit) => tokio::time::timeout(limit, sent)
                    .await
                    .map_err(|_| LinkError::FirstByte(limit))??,
                None => sent.await?,
            };
            if let Some(affinity) = &session.affinity {
                affinity.update_from(response.headers());
            }
            self.read_answer(session, response, deadline, memory).await
        };
        tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    /// Returns the credentials, for reports on their state.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Posts a notification or a response. Any 2xx is a success.
    ///
    /// # Errors
    /// It did not arrive.
    pub async fn post(
        &self,
        peer: &Peer,
        session: &HttpSession,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let mut headers = session.headers.clone();
        if peer.era() == Era::Modern
            && let Some(method) = read_method(&body)
        {
            headers.insert(METHOD, method);
        }
        let posted = async {
            if self.quirks.platform != Platform::None {
                return Box::pin(self.post_until_run(session, headers, body, deadline)).await;
            }
            let post = |headers| {
                let request = HttpRequest::post(headers, body.clone(), session.sender(), deadline);
                self.execute(request)
            };
            let response = match post(headers.clone()).await {
                // A message that nobody answers does no harm when it arrives twice.
                Err(error) if error.is_unanswered() => Box::pin(post(headers)).await?,
                response => response?,
            };
            session.check_posted(response.status())
        };
        tokio::time::timeout_at(deadline, posted)
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    /// Opens the legacy GET stream for messages that belong to no request, or resumes one that
    /// ended after the event with the id `after`. Returns `None` if the upstream has no such
    /// stream.
    ///
    /// # Errors
    /// The upstream could not be asked, or the session is gone.
    pub async fn open_get_stream(
        &self,
        session: &HttpSession,
        after: Option<&str>,
    ) -> Result<Option<Exchange>, LinkError> {
        if self.quirks.post_only {
            return Ok(None);
        }
        let mut headers = session.headers.clone();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::ACCEPT, EVENTS);
        if let Some(after) = after {
            let after = HeaderValue::from_bytes(after.as_bytes())
                .map_err(|_| LinkError::Nonsense("an event id that no header can carry"))?;
            headers.insert(LAST_EVENT_ID, after);
        }
        let deadline = Instant::now() + self.reader.idle;
        let request = HttpRequest {
            method: Method::GET,
            ..HttpRequest::post(headers, Bytes::new(), session.sender(), deadline)
        };
        let response = match self.execute(request).await {
            Err(LinkError::Redirected { .. }) => return Ok(None),
            response => response?,
        };
        let status = response.status();
        if status.is_success() && media_type(response.headers()) == Media::Events {
            let events = self.read_events(response, None, self.memory.clone());
            return Ok(Some(events.with_batches(true)));
        }
        match status {
            StatusCode::NOT_FOUND if session.id.is_some() => Err(LinkError::SessionLost),
            status if status.is_server_error() => Err(LinkError::Status(status)),
            _ => Ok(None),
        }
    }

    /// Ends a legacy session with DELETE, where the upstream has that. Ignores failures: the
    /// session would expire anyway.
    pub async fn end_session(&self, session: &HttpSession, deadline: Instant) {
        if session.id.is_some() && !self.quirks.no_delete {
            let headers = session.headers.clone();
            let request = HttpRequest {
                method: Method::DELETE,
                ..HttpRequest::post(headers, Bytes::new(), session.sender(), deadline)
            };
            let _ = tokio::time::timeout_at(deadline, self.execute(request)).await;
        }
    }

    /// Sends a request whose stream may stay silent: `subscriptions/listen`. Returns `None` if the
    /// upstream answers with anything but a stream.
    ///
    /// # Errors
    /// The stream was not opened by `deadline`.
    pub async fn open_listen_stream(
        &self,
        session: &HttpSession,
        method: &'static str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Option<Exchange>, LinkError> {
        let mut headers = session.headers.clone();
        headers.insert(METHOD, HeaderValue::from_static(method));
        if let Some(affinity) = &session.affinity {
            affinity.add_to(&mut headers);
        }
        let request = HttpRequest::post(headers, body, session.sender(), deadline);
        let response = tokio::time::timeout_at(deadline, self.execute(request)).await;
        let response = response.map_err(|_| LinkError::Timeout)??;
        let opened =
            response.status().is_success() && media_type(response.headers()) == Media::Events;
        Ok(opened.then(|| self.read_events(response, None, self.memory.clone())))
    }
}

/// Returns the headers that all requests of a session carry.
fn session_headers(version: &str, id: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, EITHER);
    headers.insert(header::ACCEPT_ENCODING, IDENTITY);
    headers.insert(header::USER_AGENT, AGENT);
    if let Ok(version) = HeaderValue::from_str(version) {
        headers.insert(VERSION, version);
    }
    if let Some(id) = id {
        headers.insert(SESSION, id.clone());
    }
    headers
}

fn read_method(body: &[u8]) -> Option<HeaderValue> {
    let envelope = Object::parse(std::str::from_utf8(body).ok()?).ok()?;
    HeaderValue::from_str(&envelope.string("method")?).ok()
}
