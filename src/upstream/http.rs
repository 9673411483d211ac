//! Streamable HTTP towards an upstream (`basic/transports/streamable-http.mdx`, both eras).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use crate::auth::{Around, Credentials, Refused, SetupError, Verdict};
use crate::config;
use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::headers::{LAST_EVENT_ID, METHOD, SESSION, VERSION};
use crate::protocol::message::{self, Message, Outcome};
use crate::protocol::sse::Events;
use crate::upstream::client::{Body, Client, ClientError};
use crate::upstream::error::LinkError;
use crate::upstream::exchange::{Exchange, ReadError};
use crate::upstream::link::Outbound;
use crate::upstream::peer::{HttpSession, Peer};
use crate::upstream::status;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Most bytes of an error's body that are looked at.
const ERROR_BODY: usize = 64 * 1024;
/// How long the refusal's body may take: who is refused should not wait for more.
const REFUSAL: Duration = Duration::from_secs(2);

/// An HTTP client of one upstream: its own pool, its own credentials.
#[derive(Debug)]
pub struct HttpWire {
    client: Client,
    url: Url,
    credentials: Credentials,
    limit: usize,
    idle: Duration,
    first_byte: Option<Duration>,
}

/// Why an HTTP client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The credentials cannot be set up.
    #[error(transparent)]
    Credentials(#[from] SetupError),
    /// No client for this URL on this machine.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl HttpWire {
    /// A client for one upstream. Opens nothing.
    ///
    /// # Errors
    /// Credentials or a client that cannot be set up.
    pub fn new(
        config: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        around: &Around,
    ) -> Result<Self, WireError> {
        Ok(Self {
            client: Client::new(config, endpoint, &around.tls)?,
            url: endpoint.url.clone(),
            credentials: Credentials::new(config, endpoint, around)?,
            limit: config.limits.response_bytes,
            idle: config.timeouts.idle,
            first_byte: config.timeouts.first_byte,
        })
    }

    /// What every request of a session carries.
    #[must_use]
    pub fn session(&self, version: &str, id: Option<HeaderValue>) -> HttpSession {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::ACCEPT, EITHER);
        if let Ok(version) = HeaderValue::from_str(version) {
            headers.insert(VERSION, version);
        }
        if let Some(id) = &id {
            headers.insert(SESSION, id.clone());
        }
        HttpSession { headers, id }
    }

    /// Sends a request and reads as far as the kind of its answer; a JSON answer is read whole.
    ///
    /// # Errors
    /// Nothing usable came back until `deadline`.
    pub async fn send(
        &self,
        session: &HttpSession,
        outbound: Outbound,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Exchange, LinkError> {
        let mut headers = session.headers.clone();
        headers.extend(outbound.headers);
        let answer = async {
            let sent = self.execute(Method::POST, headers, body, deadline);
            let response = match self.first_byte {
                Some(limit) => tokio::time::timeout(limit, sent)
                    .await
                    .map_err(|_| LinkError::FirstByte(limit))??,
                None => sent.await?,
            };
            self.exchange(session, response, deadline).await
        };
        tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    /// Logs in and sends. What is refused with 401 or 403 did not run, so it may go out once more, if weir has
    /// something else to log in with.
    async fn execute(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response<Body>, LinkError> {
        let credentials = &self.credentials;
        if credentials.are_none() {
            let sent = self.client.send(method, headers, body).await;
            let response = sent.map_err(LinkError::from_transfer)?;
            return match response.status() {
                status if is_refusal(status) => Err(LinkError::Denied {
                    status,
                    reason: None,
                }),
                _ => Ok(response),
            };
        }
        let mut again = true;
        loop {
            let mut signed = headers.clone();
            let stamp = credentials
                .authorize(&method, &self.url, &mut signed, &body, deadline)
                .await?;
            let sent = self.client.send(method.clone(), signed, body.clone());
            let response = sent.await.map_err(LinkError::from_transfer)?;
            let status = response.status();
            if !is_refusal(status) {
                credentials.accepted(&stamp);
                return Ok(response);
            }
            let headers = response.headers().clone();
            let body = tokio::time::timeout(REFUSAL, self.body(response, ERROR_BODY)).await;
            let refused = Refused {
                status,
                headers: &headers,
                body: &body.ok().and_then(Result::ok).unwrap_or_default(),
            };
            match credentials.refused(&stamp, &refused, deadline).await {
                Verdict::Again if again => again = false,
                verdict => return Err(denied(status, verdict)),
            }
        }
    }

    /// What logs in, for those who ask how it is.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    async fn exchange(
        &self,
        session: &HttpSession,
        response: Response<Body>,
        deadline: Instant,
    ) -> Result<Exchange, LinkError> {
        let status = response.status();
        if status.is_success() {
            return match media_type(response.headers()) {
                Media::Json => Ok(Exchange::whole(self.body(response, self.limit).await?)),
                Media::Events => Ok(Exchange::events(self.events(response), Some(deadline))),
                Media::Other if status == StatusCode::ACCEPTED => {
                    Err(LinkError::Nonsense("202 to a request"))
                }
                Media::Other => Err(status::not_mcp(response.headers())),
            };
        }
        if status == StatusCode::NOT_FOUND && session.id.is_some() {
            return Err(LinkError::SessionLost);
        }
        let refusal = status::error(status, response.headers());
        // Modern gives JSON-RPC errors statuses of their own; legacy servers do it for some.
        let json = media_type(response.headers()) == Media::Json;
        let body = if json {
            self.body(response, ERROR_BODY).await?
        } else {
            Bytes::new()
        };
        let is_error = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| Message::parse(text).ok());
        match is_error {
            // Some servers say so with 400 and without an id, because they did not look at the message.
            Some(Message::Response(message::Response { id: None, .. }))
                if status == StatusCode::BAD_REQUEST && session.id.is_some() =>
            {
                Err(LinkError::SessionLost)
            }
            Some(Message::Response(response)) => match response.outcome {
                Outcome::Error(error) if has_code(error, "-32020") => {
                    Err(LinkError::HeaderMismatch(body))
                }
                Outcome::Error(_) => Ok(Exchange::whole(body)),
                Outcome::Result(_) => Err(refusal),
            },
            _ => Err(refusal),
        }
    }

    /// Posts a notification or a response; any 2xx will do.
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
            && let Some(method) = method_of(&body)
        {
            headers.insert(METHOD, method);
        }
        let response = tokio::time::timeout_at(
            deadline,
            self.execute(Method::POST, headers, body, deadline),
        )
        .await;
        let status = response.map_err(|_| LinkError::Timeout)??.status();
        match status {
            StatusCode::NOT_FOUND if session.id.is_some() => Err(LinkError::SessionLost),
            status if status.is_success() => Ok(()),
            status => Err(LinkError::Status(status)),
        }
    }

    /// Sends a handshake message outside any session and gives the raw answer.
    ///
    /// # Errors
    /// Nothing came back until `deadline`.
    pub async fn handshake(
        &self,
        version: &str,
        modern_method: Option<&'static str>,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Handshake, LinkError> {
        let mut headers = self.session(version, None).headers;
        match modern_method {
            Some(method) => headers.insert(METHOD, HeaderValue::from_static(method)),
            // `initialize` comes before a version is agreed on.
            None => headers.remove(VERSION),
        };
        let answer = async {
            let response = self.execute(Method::POST, headers, body, deadline).await?;
            let status = response.status();
            let session = response.headers().get(SESSION).cloned();
            let refusal = match status.is_success() {
                true => status::not_mcp(response.headers()),
                false => status::error(status, response.headers()),
            };
            let message = match media_type(response.headers()) {
                Media::Json => Some(self.body(response, self.limit).await?),
                Media::Events if status.is_success() => {
                    // The answer ends the handshake; what else is on the stream is not for us.
                    let mut exchange = Exchange::events(self.events(response), Some(deadline));
                    loop {
                        let message = exchange.next().await?;
                        let text = message
                            .as_deref()
                            .and_then(|bytes| std::str::from_utf8(bytes).ok());
                        match text.map(Message::parse) {
                            None | Some(Ok(Message::Response(_)) | Err(_)) => break message,
                            Some(Ok(Message::Request(_) | Message::Notification(_))) => {}
                        }
                    }
                }
                Media::Events | Media::Other => None,
            };
            Ok(Handshake {
                status,
                session,
                message,
                refusal,
            })
        };
        tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    /// Opens the legacy stream for what the upstream says unasked, or takes up one that ended, after the
    /// event of that id; `None` where it has no such stream.
    ///
    /// # Errors
    /// The upstream could not be asked, or the session is gone.
    pub async fn listen(
        &self,
        session: &HttpSession,
        after: Option<&str>,
    ) -> Result<Option<Exchange>, LinkError> {
        let mut headers = session.headers.clone();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::ACCEPT, EVENTS);
        if let Some(after) = after {
            let after = HeaderValue::from_bytes(after.as_bytes())
                .map_err(|_| LinkError::Nonsense("an event id that no header can carry"))?;
            headers.insert(LAST_EVENT_ID, after);
        }
        let deadline = Instant::now() + self.idle;
        let response = self
            .execute(Method::GET, headers, Bytes::new(), deadline)
            .await?;
        let status = response.status();
        if status.is_success() && media_type(response.headers()) == Media::Events {
            return Ok(Some(Exchange::events(self.quiet_events(response), None)));
        }
        match status {
            StatusCode::NOT_FOUND if session.id.is_some() => Err(LinkError::SessionLost),
            status if status.is_server_error() => Err(LinkError::Status(status)),
            _ => Ok(None),
        }
    }

    /// Ends a legacy session, as a good guest does. Failure is of no interest.
    pub async fn leave(&self, session: &HttpSession, deadline: Instant) {
        if session.id.is_some() {
            let headers = session.headers.clone();
            let left = self.execute(Method::DELETE, headers, Bytes::new(), deadline);
            let _ = tokio::time::timeout_at(deadline, left).await;
        }
    }

    async fn body(&self, response: Response<Body>, limit: usize) -> Result<Bytes, LinkError> {
        let mut incoming = response.into_body();
        let announced = incoming.announced();
        if announced.is_some_and(|length| length > limit) {
            return Err(LinkError::TooLarge { limit });
        }
        let Some(first) = incoming.chunk().await.map_err(LinkError::from_transfer)? else {
            return Ok(Bytes::new());
        };
        // Most answers are one piece, which needs no copy.
        if incoming.is_over() && first.len() <= limit {
            return Ok(first);
        }
        let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(LinkError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
            // Only from the first byte on: a tool may take its time behind a head that was sent early.
            let more = tokio::time::timeout(self.idle, incoming.chunk()).await;
            let more = more.map_err(|_| LinkError::Idle)?;
            next = more.map_err(LinkError::from_transfer)?;
        }
        Ok(body.freeze())
    }

    /// Events of an answer: `timeouts.idle` between two signs of life, keep-alive comments included.
    fn events(&self, response: Response<Body>) -> Events<ReadError> {
        let idle = self.idle;
        let chunks =
            futures::stream::unfold(response.into_body(), move |mut response| async move {
                match tokio::time::timeout(idle, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => Some((Ok(chunk), response)),
                    Ok(Ok(None)) => None,
                    Ok(Err(error)) => Some((Err(ReadError::Broken(error)), response)),
                    Err(_) => Some((Err(ReadError::Idle), response)),
                }
            });
        Events::new(chunks, self.limit)
    }

    /// Events of a stream that may stay silent for as long as nothing happens.
    fn quiet_events(&self, response: Response<Body>) -> Events<ReadError> {
        let chunks = futures::stream::unfold(response.into_body(), |mut response| async move {
            match response.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), response)),
                Ok(None) => None,
                Err(error) => Some((Err(ReadError::Broken(error)), response)),
            }
        });
        Events::new(chunks, self.limit)
    }

    /// Sends a request whose stream may stay silent: `subscriptions/listen`.
    ///
    /// # Errors
    /// The stream was not opened until `deadline`.
    pub async fn subscribe(
        &self,
        session: &HttpSession,
        method: &'static str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Option<Exchange>, LinkError> {
        let mut headers = session.headers.clone();
        headers.insert(METHOD, HeaderValue::from_static(method));
        let response = tokio::time::timeout_at(
            deadline,
            self.execute(Method::POST, headers, body, deadline),
        )
        .await;
        let response = response.map_err(|_| LinkError::Timeout)??;
        let opened =
            response.status().is_success() && media_type(response.headers()) == Media::Events;
        Ok(opened.then(|| Exchange::events(self.quiet_events(response), None)))
    }
}

/// The answer to a handshake message, as far as an era can be read from it.
#[derive(Debug)]
pub struct Handshake {
    /// The HTTP status.
    pub status: StatusCode,
    /// `MCP-Session-Id`, if the upstream gave one.
    pub session: Option<HeaderValue>,
    /// The JSON body, or the first response on the event stream.
    pub message: Option<Bytes>,
    /// What the answer says where it is no message.
    pub refusal: LinkError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Json,
    Events,
    Other,
}

fn media_type(headers: &HeaderMap) -> Media {
    let essence = status::essence(headers);
    if essence.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        Media::Events
    } else {
        Media::Other
    }
}

fn has_code(error: &str, code: &str) -> bool {
    Object::parse(error).is_ok_and(|error| error.get("code") == Some(code))
}

fn method_of(body: &[u8]) -> Option<HeaderValue> {
    let envelope = Object::parse(std::str::from_utf8(body).ok()?).ok()?;
    HeaderValue::from_str(&envelope.string("method")?).ok()
}

/// An answer to weir's credentials rather than to the message.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn denied(status: StatusCode, verdict: Verdict) -> LinkError {
    let reason = match verdict {
        Verdict::Again => None,
        Verdict::Final(reason) => reason,
    };
    LinkError::Denied { status, reason }
}
