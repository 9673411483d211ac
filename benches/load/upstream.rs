//! Role `upstream`: a very fast MCP server, many of them in one process, on one thread.
//!
//! One endpoint speaks the legacy revisions (initialize, sessions, GET stream) and 2026-07-28
//! (server/discover, `_meta`, headers, subscriptions/listen). It is strict where a sloppy proxy could
//! earn itself a better figure: a legacy request needs a session that was minted here, a modern one needs
//! its `_meta` and headers that say the same as the body.
//!
//! Control, on the same ports: `POST /admin/toggle` adds or removes [`tools::PAIR`] and tells every open
//! stream; `POST /admin/token` gives a token to every caller; `GET /admin/stats` says what was asked so far.

mod answer;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot};

use answer::{Message, Refusal};

use crate::body::{Body, accept, read_all};
use crate::tools::{self, ToolSet};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Which eras an upstream speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum UpstreamEras {
    Both,
    Legacy,
    Modern,
}

#[derive(Args, Debug)]
pub(crate) struct UpstreamArgs {
    /// The number of tools of each server, one server per number
    #[arg(long, value_delimiter = ',')]
    servers: Vec<usize>,
    /// Tools per page of tools/list, 0 for one page
    #[arg(long, default_value_t = 0)]
    page_size: usize,
    /// Answer as text/event-stream
    #[arg(long)]
    sse: bool,
    #[arg(long, value_enum, default_value = "both")]
    speaks: UpstreamEras,
}

/// The requests that a server received; the parent reads it to see what a proxy costs its upstreams.
#[derive(Default)]
struct Counts {
    calls: Cell<u64>,
    lists: Cell<u64>,
    opens: Cell<u64>,
    others: Cell<u64>,
    tokens: Cell<u64>,
    /// Connections that were accepted.
    sockets: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

struct Server {
    sse: bool,
    speaks: UpstreamEras,
    tools: RefCell<ToolSet>,
    changed: broadcast::Sender<()>,
    /// Sessions minted by any server of the process: a bare router sends one upstream's id to another.
    sessions: Rc<Cell<u64>>,
    /// The number of callers that were asked, and the calls that wait until they answer: by the number
    /// of the question.
    asks: Cell<u64>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<bool>>>,
    counts: Counts,
}

/// Serves until the process ends. `ready` gets the ports once all of them listen.
pub(crate) async fn run(args: UpstreamArgs, ready: impl FnOnce(&[u16])) -> std::io::Result<()> {
    let sessions = Rc::new(Cell::new(0));
    let mut ports = Vec::new();
    for count in args.servers {
        let server = Rc::new(Server {
            sse: args.sse,
            speaks: args.speaks,
            tools: RefCell::new(ToolSet::new(count, args.page_size)),
            changed: broadcast::channel(64).0,
            sessions: sessions.clone(),
            asks: Cell::default(),
            waiting: RefCell::default(),
            counts: Counts::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        tokio::task::spawn_local(serve(listener, server));
    }
    ready(&ports);
    std::future::pending().await
}

async fn serve(listener: TcpListener, server: Rc<Server>) {
    loop {
        let stream = TokioIo::new(accept(&listener).await);
        let server = server.clone();
        count(&server.counts.sockets);
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(handle(server, request).await) }
        });
        tokio::task::spawn_local(
            hyper::server::conn::http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(stream, service),
        );
    }
}

/// Answers as an interceptor that changes nothing.
fn hook(input: &[u8]) -> Response<Body> {
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        mcp: Mcp<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Mcp<'a> {
        #[serde(borrow)]
        gateway_request: GatewayRequest<'a>,
    }
    #[derive(Deserialize)]
    struct GatewayRequest<'a> {
        #[serde(borrow)]
        body: &'a RawValue,
    }
    let Ok(input) = serde_json::from_slice::<Input<'_>>(input) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let body = input.mcp.gateway_request.body;
    let output = format!(
        r#"{{"interceptorOutputVersion":"1.0","mcp":{{"transformedGatewayRequest":{{"body":{body}}}}}}}"#
    );
    Response::new(Body::whole(output))
}

async fn handle(server: Rc<Server>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/admin/") {
        return admin(&server, &head);
    }
    match head.uri.path() {
        // A receiver of spans, which takes all of them.
        "/v1/traces" => {
            let _ = read_all(body).await;
            return Response::new(Body::empty());
        }
        "/hook" => return hook(&read_all(body).await.unwrap_or_default()),
        _ => {}
    }
    if head.method == Method::GET && server.speaks != UpstreamEras::Modern {
        let event = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        return match answer::check_session(&server, &head.headers) {
            Err(refusal) => refuse("null", &refusal),
            Ok(()) => notifications(&server, None, event.to_owned()),
        };
    }
    if head.method == Method::DELETE && server.speaks != UpstreamEras::Modern {
        return Response::new(Body::empty());
    }
    if head.method != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    match read_all(body).await {
        Ok(body) => answer_message(&server, &head, &body).await,
        Err(_) => status(StatusCode::BAD_REQUEST),
    }
}

async fn answer_message(server: &Rc<Server>, head: &Parts, body: &[u8]) -> Response<Body> {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else {
        return refuse(
            "null",
            &Refusal(StatusCode::BAD_REQUEST, -32700, "parse error"),
        );
    };
    let (Some(method), Some(id)) = (message.method, message.id.map(RawValue::get)) else {
        take_answer(server, &message);
        return status(StatusCode::ACCEPTED);
    };
    let modern = answer::is_modern(&head.headers);
    let checked = if modern {
        answer::check_modern(server, &head.headers, method, &message.params)
    } else {
        answer::check_legacy(server, &head.headers, method)
    };
    if let Err(refusal) = checked {
        return refuse(id, &refusal);
    }
    if modern && method == "subscriptions/listen" {
        return listen(server, id);
    }
    let pause = |millis| tokio::time::sleep(Duration::from_millis(millis));
    match message.params.name {
        Some(tools::SLOW_ECHO) => pause(tools::SLOW_MILLIS).await,
        Some(tools::HANG) => pause(tools::HANG_MILLIS).await,
        _ => {}
    }
    let token = message.params.progress_token();
    match answer::answer(server, id, method, &message.params, modern) {
        Ok(text) if message.params.name == Some(tools::ECHO_IN_STEPS) => in_steps(token, &text),
        Ok(text) if message.params.name == Some(tools::ASK) && !modern => ask(server, &text),
        Ok(text) => deliver(server, text, method == "initialize"),
        Err(refusal) => refuse(id, &refusal),
    }
}

fn deliver(server: &Server, text: String, opens_session: bool) -> Response<Body> {
    let mut response = if server.sse {
        // Chunked, as servers that stream send it: the sender is dropped, so the stream ends.
        let (events, body) = mpsc::channel(1);
        let _ = events.try_send(event(&text));
        typed(Body::Events(body), "text/event-stream")
    } else {
        typed(Body::whole(text), "application/json")
    };
    if opens_session {
        let number = server.sessions.get() + 1;
        server.sessions.set(number);
        if let Ok(value) = HeaderValue::from_str(&format!("load-{number:016x}")) {
            response.headers_mut().insert(SESSION, value);
        }
    }
    response
}

/// Progress, if it was asked for, and after a while the response.
fn in_steps(token: Option<&str>, response: &str) -> Response<Body> {
    let (events, body) = mpsc::channel(2);
    if let Some(token) = token {
        let _ = events.try_send(event(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
        )));
    }
    let last = event(response);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(Duration::from_millis(tools::SLOW_MILLIS)).await;
        let _ = events.send(last).await;
    });
    typed(Body::Events(body), "text/event-stream")
}

/// Asks the caller of a legacy session for a form; the response comes once that is accepted.
fn ask(server: &Rc<Server>, response: &str) -> Response<Body> {
    count(&server.asks);
    let number = server.asks.get();
    let (answer, answered) = oneshot::channel();
    server.waiting.borrow_mut().insert(number, answer);
    let (events, body) = mpsc::channel(2);
    let _ = events.try_send(event(&format!(
        r#"{{"jsonrpc":"2.0","id":"ask-{number}","method":"elicitation/create","params":{}}}"#,
        answer::FORM
    )));
    let (server, last) = (Rc::clone(server), event(response));
    tokio::task::spawn_local(async move {
        let is_accepted = tokio::select! {
            answered = answered => answered == Ok(true),
            () = events.closed() => false,
        };
        server.waiting.borrow_mut().remove(&number);
        // A stream that ends without a response is a failure that its caller counts.
        if is_accepted {
            let _ = events.send(last).await;
        }
    });
    typed(Body::Events(body), "text/event-stream")
}

/// Takes the answer to a question, if the message is one.
fn take_answer(server: &Server, message: &Message<'_>) {
    if let Some((number, is_accepted)) = message.answer()
        && let Some(answer) = server.waiting.borrow_mut().remove(&number)
    {
        let _ = answer.send(is_accepted);
    }
}

fn event(text: &str) -> Bytes {
    format!("event: message\ndata: {text}\n\n").into()
}

/// A stream that opens with `first` and then carries `change` for every toggle.
fn notifications(server: &Server, first: Option<String>, change: String) -> Response<Body> {
    let (events, body) = mpsc::channel(16);
    let mut changed = server.changed.subscribe();
    let opening = first.map_or(Bytes::from_static(b": open\n\n"), |first| event(&first));
    let change = event(&change);
    tokio::task::spawn_local(async move {
        let mut next = opening;
        while events.send(next).await.is_ok() {
            let received = tokio::select! {
                received = changed.recv() => received,
                () = events.closed() => break,
            };
            if let Err(broadcast::error::RecvError::Closed) = received {
                break;
            }
            next = change.clone();
        }
    });
    typed(Body::Events(body), "text/event-stream")
}

fn listen(server: &Server, id: &str) -> Response<Body> {
    let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    let message = |method: &str, more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{{meta}{more}}}}}"#
        )
    };
    notifications(
        server,
        Some(message(
            "subscriptions/acknowledged",
            r#","notifications":{"toolsListChanged":true}"#,
        )),
        message("tools/list_changed", ""),
    )
}

fn admin(server: &Server, head: &Parts) -> Response<Body> {
    let text = match (&head.method, head.uri.path()) {
        (&Method::POST, "/admin/toggle") => {
            let pair = server.tools.borrow_mut().toggle();
            let streams = server.changed.send(()).unwrap_or(0);
            format!(r#"{{"pair":{pair},"streams":{streams}}}"#)
        }
        (&Method::POST, "/admin/token") => {
            count(&server.counts.tokens);
            r#"{"access_token":"not-a-secret","token_type":"Bearer","expires_in":3600}"#.to_owned()
        }
        (&Method::GET, "/admin/stats") => {
            let Counts {
                calls,
                lists,
                opens,
                others,
                tokens,
                sockets,
            } = &server.counts;
            format!(
                r#"{{"calls":{},"lists":{},"opens":{},"others":{},"tokens":{},"sockets":{}}}"#,
                calls.get(),
                lists.get(),
                opens.get(),
                others.get(),
                tokens.get(),
                sockets.get()
            )
        }
        _ => return status(StatusCode::NOT_FOUND),
    };
    typed(Body::whole(text), "application/json")
}

fn typed(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn refuse(id: &str, Refusal(status, code, message): &Refusal) -> Response<Body> {
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#);
    let mut response = typed(Body::whole(text), "application/json");
    *response.status_mut() = *status;
    response
}
