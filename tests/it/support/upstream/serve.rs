//! Sockets and HTTP: everything before a message is understood, and the faults.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request, response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::script::{Fault, Shape};
use super::{Inner, Recorded, answer, legacy, modern};
use crate::support::{Fields, fields, unquote};

pub const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
/// The name by which `On::Method` calls a response to a request of ours.
pub const RESPONSE: &str = "a response";
const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";

/// A JSON-RPC message as far as the server has to understand it.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Raw JSON; `None` for a notification.
    pub id: Option<String>,
    pub method: String,
    pub params: Fields,
    pub meta: Fields,
}

impl Message {
    fn read(body: &[u8]) -> Option<Self> {
        let members = fields(std::str::from_utf8(body).ok()?)?;
        let inner = |of: &Fields, key: &str| of.get(key).and_then(|raw| fields(raw.get()));
        let params = inner(&members, "params").unwrap_or_default();
        Some(Self {
            id: members.get("id").map(|id| id.get().to_owned()),
            method: members
                .get("method")
                .and_then(|method| unquote(method.get()))?,
            meta: inner(&params, "_meta").unwrap_or_default(),
            params,
        })
    }

    /// A parameter that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        self.params.get(key).and_then(|raw| unquote(raw.get()))
    }
}

/// Takes connections until the server stops.
pub fn accept(inner: &Arc<Inner>, listener: TcpListener) {
    let shared = inner.clone();
    inner.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (connection, shared) = (shared.clone(), shared.clone());
            shared.spawn(async move {
                let service = service_fn(move |request| handle(connection.clone(), request));
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn handle(inner: Arc<Inner>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX)
        .await
        .map_err(io::Error::other)?;
    let message = Message::read(&body);
    record(&inner, &parts, &body, message.as_ref());
    let moved = inner.script().moved.filter(|_| parts.uri.path() == "/mcp");
    if let Some(status) = moved {
        return Ok(redirect(status, "/moved"));
    }
    let cookie = inner.script().cookies.then(|| {
        let session = parts.headers.get("mcp-session-id");
        let session = session.map_or("none", |session| session.to_str().unwrap());
        let method = message.as_ref().map_or("", |message| &message.method);
        format!("w={method}.{session}; Path=/; HttpOnly")
            .parse()
            .unwrap()
    });
    let mut answer = answered(&inner, &parts, &body, message).await?;
    if let Some(cookie) = cookie {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    for number in 0..inner.script().more_cookies {
        let cookie = format!("c{number}={number}; Path=/{number}");
        let headers = answer.headers_mut();
        headers.append(header::SET_COOKIE, cookie.parse().unwrap());
    }
    Ok(answer)
}

async fn answered(
    inner: &Arc<Inner>,
    parts: &request::Parts,
    body: &Bytes,
    message: Option<Message>,
) -> io::Result<Response<Body>> {
    if !inner.script().opens(&parts.headers) {
        let mut refused = plain(401, "who are you?");
        refused
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, "Bearer".parse().unwrap());
        return Ok(refused);
    }
    match fault(inner, body, message.as_ref()) {
        Some(Fault::Status(status)) => return Ok(response(status, JSON, Body::empty())),
        Some(Fault::Text(status, text)) => return Ok(plain(status, &text)),
        Some(Fault::Html) => {
            let page = "<!doctype html><title>Log in</title>";
            return Ok(response(200, "text/html", page.into()));
        }
        Some(Fault::Result(result)) => {
            let id = message.and_then(|message| message.id).unwrap();
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
            return Ok(response(200, JSON, body.into()));
        }
        Some(Fault::Json(text)) => return Ok(response(200, JSON, text.into())),
        Some(Fault::Close) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::StallHeaders) => std::future::pending().await,
        Some(Fault::Error(status, error)) => {
            let id = message.and_then(|message| message.id);
            return Ok(refusal(status, id.as_deref(), &error));
        }
        Some(Fault::Later(status, when)) => {
            let mut later = plain(status, "later");
            let headers = later.headers_mut();
            headers.insert(header::RETRY_AFTER, when.parse().unwrap());
            return Ok(later);
        }
        Some(Fault::Redirect(status, to)) => return Ok(redirect(status, &to)),
        Some(Fault::Coded(coding)) => {
            let answer = route(inner, parts, body, message).await;
            return Ok(coded(answer, &coding).await);
        }
        Some(Fault::Flood(bytes, shape)) => return Ok(flood(bytes, shape)),
        Some(Fault::KeepAlives) => return Ok(keep_alives()),
        Some(
            fault @ (Fault::Bom
            | Fault::ForeignId(_)
            | Fault::StallBody
            | Fault::CloseBody
            | Fault::Batch(_)
            | Fault::Twice),
        ) => {
            let answer = route(inner, parts, body, message).await;
            return Ok(spoil(answer, &fault).await);
        }
        None => {}
    }
    Ok(route(inner, parts, body, message).await)
}

/// The fault that is scripted for a message.
fn fault(inner: &Inner, body: &Bytes, message: Option<&Message>) -> Option<Fault> {
    let method = match message {
        Some(message) => &message.method,
        None if is_response(body) => RESPONSE,
        None => "",
    };
    let tool = message.and_then(|message| message.text("name"));
    inner.script().fault(method, tool.as_deref())
}

/// Whether a body is a response to a request of ours.
fn is_response(body: &Bytes) -> bool {
    let response = std::str::from_utf8(body).ok().and_then(fields);
    response.is_some_and(|body| body.contains_key("result") || body.contains_key("error"))
}

/// The most requests that an upstream remembers.
const REMEMBERED: usize = 50_000;

fn record(inner: &Inner, parts: &request::Parts, body: &Bytes, message: Option<&Message>) {
    let recorded = Recorded {
        http: parts.method.clone(),
        headers: parts.headers.clone(),
        body: body.clone(),
        method: message.map_or(String::new(), |message| message.method.clone()),
        value: serde_json::from_slice(body).unwrap_or(Value::Null),
    };
    inner.log.note(|seen| {
        // The soak sends millions.
        if seen.requests.len() >= REMEMBERED {
            seen.requests.drain(..REMEMBERED / 2);
        }
        seen.requests.push(recorded);
    });
}

async fn route(
    inner: &Arc<Inner>,
    parts: &request::Parts,
    body: &Bytes,
    message: Option<Message>,
) -> Response<Body> {
    if !matches!(parts.uri.path(), "/mcp" | "/moved") {
        return plain(404, "no such page");
    }
    let (speaks_modern, speaks_legacy) = {
        let script = inner.script();
        (script.modern, !script.legacy.is_empty())
    };
    match parts.method {
        Method::GET if speaks_legacy => return legacy::open_stream(inner, &parts.headers),
        Method::DELETE if speaks_legacy => return legacy::delete(inner, &parts.headers),
        Method::POST => {}
        _ => return plain(405, "method not allowed"),
    }
    if !mentions(&parts.headers, header::CONTENT_TYPE, JSON) {
        return plain(415, "unsupported media type");
    }
    if !mentions(&parts.headers, header::ACCEPT, JSON)
        || !mentions(&parts.headers, header::ACCEPT, SSE)
    {
        return plain(406, "not acceptable");
    }
    let Some(message) = message else {
        // A response to a request of ours, or nothing that we know.
        return if is_response(body) {
            response_accepted()
        } else {
            refusal(400, None, r#"{"code":-32700,"message":"Parse error"}"#)
        };
    };
    let claims = message.meta.contains_key(CLAIM);
    if claims && speaks_modern {
        modern::post(inner, &parts.headers, message).await
    } else if speaks_legacy {
        legacy::post(inner, &parts.headers, message).await
    } else {
        let error = r#"{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":""}}"#;
        refusal(400, message.id.as_deref(), error)
    }
}

fn mentions(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.contains(word) || value.contains("*/*"))
}

/// Answers a request that passed its era's checks: one JSON body, or a stream that ends with it.
pub async fn respond(inner: &Arc<Inner>, exchange: answer::Exchange) -> Response<Body> {
    let (sse, dribble) = {
        let script = inner.script();
        let noisy = exchange
            .tool()
            .map(|tool| script.scripted(super::Kind::Tools, &tool))
            .is_some_and(|scripted| scripted.progress > 0 || !scripted.logs.is_empty());
        (noisy || script.shape == Shape::Sse, script.dribble)
    };
    let (out, events) = mpsc::channel(16);
    if sse {
        let shared = inner.clone();
        inner.spawn(async move {
            let answer = while_open(&shared, &exchange, &out).await;
            for piece in cut(event(&answer).into_bytes(), dribble) {
                let _ = out.send(piece).await;
            }
        });
        return event_stream(events);
    }
    let body = if exchange.modern {
        // Dropped with the connection, and the call with it.
        answer::answer(inner, &exchange, &out).await
    } else {
        let (answered, answer) = oneshot::channel();
        let shared = inner.clone();
        inner.spawn(async move {
            let _ = answered.send(answer::answer(&shared, &exchange, &out).await);
        });
        answer.await.unwrap_or_default()
    };
    response(200, JSON, pieces(body.into_bytes(), dribble))
}

/// Closing the stream is cancelling in the modern era, and in no other.
async fn while_open(
    inner: &Arc<Inner>,
    exchange: &answer::Exchange,
    out: &mpsc::Sender<Bytes>,
) -> String {
    tokio::select! {
        () = out.closed(), if exchange.modern => String::new(),
        answer = answer::answer(inner, exchange, out) => answer,
    }
}

/// One server-sent event.
pub fn event(message: &str) -> String {
    let lines: Vec<String> = message
        .split('\n')
        .map(|line| format!("data: {line}\n"))
        .collect();
    format!("event: message\n{}\n", lines.concat())
}

/// A stream of what is sent into the channel.
pub fn event_stream(events: mpsc::Receiver<Bytes>) -> Response<Body> {
    let events = stream::unfold(events, |mut events| async {
        let next = events.recv().await?;
        Some((Ok::<_, Infallible>(next), events))
    });
    response(200, SSE, Body::from_stream(events))
}

fn flood(bytes: usize, shape: Shape) -> Response<Body> {
    const PIECE: &[u8] = &[b'x'; 64 * 1024];
    let (kind, head, tail) = match shape {
        Shape::Json => (JSON, "", ""),
        Shape::Sse => (SSE, "data: ", "\n\n"),
    };
    let start = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#;
    let start = Bytes::from(format!("{head}{start}"));
    let end = Bytes::from(format!("\"}}]}}}}{tail}"));
    let middle = std::iter::repeat_n(Bytes::from_static(PIECE), bytes / PIECE.len());
    let pieces = std::iter::once(start).chain(middle).chain([end]);
    response(
        200,
        kind,
        Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>))),
    )
}

fn keep_alives() -> Response<Body> {
    let comments = stream::repeat(()).then(|()| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(Bytes::from_static(b": still here\n\n"))
    });
    response(200, SSE, Body::from_stream(comments))
}

fn cut(body: Vec<u8>, dribble: Option<usize>) -> Vec<Bytes> {
    let size = dribble.unwrap_or(usize::MAX);
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}

fn pieces(body: Vec<u8>, dribble: Option<usize>) -> Body {
    match dribble {
        None => body.into(),
        Some(_) => {
            let pieces = cut(body, dribble).into_iter().map(Ok::<_, Infallible>);
            Body::from_stream(stream::iter(pieces))
        }
    }
}

/// A body with a byte order mark before its message.
fn marked(body: &str) -> String {
    match body.starts_with("event:") {
        true => body.replace("data: {", "data: \u{feff}{"),
        false => format!("\u{feff}{body}"),
    }
}

/// Takes a good answer and damages it.
async fn spoil(answer: Response<Body>, fault: &Fault) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let half = body.slice(..body.len() / 2);
    // The whole length is promised, so half of it is an incomplete answer however it ends.
    parts
        .headers
        .insert(header::CONTENT_LENGTH, body.len().into());
    let body = match fault {
        Fault::StallBody => Body::from_stream(stream::unfold(Some(half), |half| async {
            match half {
                Some(half) => Some((Ok::<_, Infallible>(half), None)),
                None => std::future::pending().await,
            }
        })),
        Fault::CloseBody => Body::from_stream(stream::unfold(0, move |at| {
            let half = half.clone();
            async move {
                // hyper flushes what is ready before it meets the error only if it had to wait.
                tokio::task::yield_now().await;
                match at {
                    0 => Some((Ok(half), 1)),
                    _ => Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), 2)),
                }
            }
        })),
        Fault::ForeignId(id) => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let (start, rest) = text.split_once("\"id\":").unwrap();
            let end = rest.find(',').unwrap();
            parts.headers.remove(header::CONTENT_LENGTH);
            format!("{start}\"id\":{id}{}", &rest[end..]).into()
        }
        Fault::Bom => {
            parts.headers.remove(header::CONTENT_LENGTH);
            marked(std::str::from_utf8(&body).unwrap()).into()
        }
        Fault::Twice => {
            let kind = header::HeaderValue::from_static(SSE);
            parts.headers.insert(header::CONTENT_TYPE, kind);
            parts.headers.remove(header::CONTENT_LENGTH);
            event(std::str::from_utf8(&body).unwrap()).repeat(2).into()
        }
        Fault::Batch(shape) => return batch(parts, &body, *shape),
        Fault::KeepAlives
        | Fault::Flood(..)
        | Fault::Later(..)
        | Fault::Coded(_)
        | Fault::Redirect(..)
        | Fault::Status(_)
        | Fault::Text(..)
        | Fault::Html
        | Fault::Error(..)
        | Fault::Json(_)
        | Fault::Result(_)
        | Fault::Close
        | Fault::StallHeaders => panic!("{fault:?} is handled before the answer is made"),
    };
    Response::from_parts(parts, body)
}

/// The answer in an array, behind a notification.
fn batch(mut parts: response::Parts, body: &Bytes, shape: Shape) -> Response<Body> {
    let note =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}"#;
    let array = format!("[ {note}, {} ]", std::str::from_utf8(body).unwrap());
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = match shape {
        Shape::Json => array,
        Shape::Sse => {
            let kind = header::HeaderValue::from_static(SSE);
            parts.headers.insert(header::CONTENT_TYPE, kind);
            event(&array)
        }
    };
    Response::from_parts(parts, body.into())
}

/// Takes a good answer and says that it is in this content coding.
async fn coded(answer: Response<Body>, coding: &str) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    parts.headers.remove(header::CONTENT_LENGTH);
    let name = coding.parse().unwrap();
    parts.headers.insert(header::CONTENT_ENCODING, name);
    let body = match coding == "gzip" && !body.is_empty() {
        true => gzipped(&body).into(),
        false => body.into(),
    };
    Response::from_parts(parts, body)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn redirect(status: u16, to: &str) -> Response<Body> {
    let mut response = plain(status, "look there");
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, to.parse().unwrap());
    response
}

/// A JSON-RPC error at HTTP level. No id is `null`.
pub fn refusal(status: u16, id: Option<&str>, error: &str) -> Response<Body> {
    let id = id.unwrap_or("null");
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    response(status, JSON, body.into())
}

pub fn plain(status: u16, text: &str) -> Response<Body> {
    response(status, "text/plain", text.to_owned().into())
}

pub fn response_accepted() -> Response<Body> {
    let mut accepted = Response::new(Body::empty());
    *accepted.status_mut() = StatusCode::ACCEPTED;
    accepted
}

fn response(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-cache")
        .body(body)
        .unwrap()
}
