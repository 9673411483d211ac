//! Amazon Bedrock AgentCore as far as weir sees it: a gateway or a runtime behind a strict door, scripted by the test.
//!
//! It does as documented where there is documentation; the rest can be chosen, so that weir is
//! tried with either.

mod answers;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use weir::sigv4;

use super::{BOUND, free_port};

pub const REGION: &str = "eu-west-1";
pub const GATEWAY: &str = "tools-ab12cdef34";
pub const ARN: &str = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/billing-x1";
pub const RUNTIME_SESSION: &str = "x-amzn-bedrock-agentcore-runtime-session-id";
pub const MCP_SESSION: &str = "mcp-session-id";

/// The callers that are let in.
#[derive(Clone, Debug)]
pub enum Door {
    Open,
    Bearer(String),
    Signed(Box<sigv4::Verifier>),
}

impl Door {
    /// For what `weir` signs with [`SIGNED`].
    pub fn signed() -> Self {
        Self::Signed(Box::new(sigv4::Verifier {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
            region: REGION.to_owned(),
            service: "bedrock-agentcore".to_owned(),
        }))
    }
}

/// `auth` for [`Door::signed`].
pub const SIGNED: &str = "{ type: sigv4, access_key_id: AKIDEXAMPLE, secret_access_key: { value: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY } }";

/// The refusal of a version that is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// -32022, naming those that are.
    Named,
    /// -32602 as the legacy lifecycle has it, naming those that are.
    Invalid,
    /// 400 and words.
    Plain,
}

/// The id by which requests find their machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// `Mcp-Session-Id`
    Mcp,
    /// `X-Amzn-Bedrock-AgentCore-Runtime-Session-Id`
    Runtime,
}

/// A substitute for an answer.
#[derive(Clone, Debug)]
pub enum Instead {
    /// A JSON-RPC error (raw) with this status; the id is the STRING "null", as seen live.
    Error(u16, String),
    /// The same with the id of the request.
    ErrorWithId(u16, String),
    /// A status with a body that is not JSON-RPC.
    Plain(u16, String),
    /// 200 and an empty list.
    Empty,
}

pub struct Script {
    pub door: Door,
    pub versions: Vec<String>,
    pub refuses: Refuses,
    pub tools: Vec<String>,
    /// Sizes of pages, over and over.
    pub pages: Vec<usize>,
    /// Whether sessions are required; ids are only given out where they are.
    pub sessions: bool,
    pub led: Led,
    /// The time that the first request to a machine takes.
    pub cold: Duration,
    /// Whether the container refuses a session id that it did not give (`initialize` with one).
    pub jealous: bool,
    instead: VecDeque<(String, Instead, usize)>,
    known: Vec<String>,
    machines: HashMap<String, usize>,
}

/// A request as it arrived.
#[derive(Clone)]
pub struct Arrived {
    pub http: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The JSON-RPC method.
    pub method: String,
    pub value: Value,
    /// The machine that got it; runtimes only.
    pub machine: Option<usize>,
    /// Why the door did not open.
    pub refused: Option<String>,
}

impl Arrived {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

struct Inner {
    address: SocketAddr,
    /// Path and query that are served.
    target: String,
    is_runtime: bool,
    script: Mutex<Script>,
    arrived: watch::Sender<Vec<Arrived>>,
}

/// A gateway or a runtime.
#[derive(Clone)]
pub struct Agentcore {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

impl Agentcore {
    /// A gateway without sessions that speaks everything.
    pub async fn gateway(setup: impl FnOnce(&mut Script)) -> Self {
        Self::start("/mcp".to_owned(), false, setup).await
    }

    /// A runtime whose server speaks everything.
    pub async fn runtime(setup: impl FnOnce(&mut Script)) -> Self {
        let arn = ARN.replace(':', "%3A").replace('/', "%2F");
        let target = format!("/runtimes/{arn}/invocations?qualifier=DEFAULT");
        Self::start(target, true, setup).await
    }

    /// A runtime under another path and query.
    pub async fn runtime_at(target: &str, setup: impl FnOnce(&mut Script)) -> Self {
        Self::start(target.to_owned(), true, setup).await
    }

    async fn start(target: String, is_runtime: bool, setup: impl FnOnce(&mut Script)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let mut script = Script {
            door: Door::Open,
            versions: ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]
                .map(str::to_owned)
                .to_vec(),
            refuses: Refuses::Named,
            tools: ["find_order", "refund"].map(str::to_owned).to_vec(),
            pages: vec![100],
            sessions: false,
            led: Led::Mcp,
            cold: Duration::ZERO,
            jealous: false,
            instead: VecDeque::new(),
            known: Vec::new(),
            machines: HashMap::new(),
        };
        setup(&mut script);
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            target,
            is_runtime,
            script: Mutex::new(script),
            arrived: watch::Sender::new(Vec::new()),
        });
        let stop = CancellationToken::new();
        let (shared, stopped) = (inner.clone(), stop.clone());
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = shared.clone();
                let service = service_fn(move |request| {
                    let shared = shared.clone();
                    async move { Ok::<_, Infallible>(shared.handle(request).await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let stopped = stopped.clone();
                #[allow(clippy::disallowed_methods, reason = "ends with the double")]
                tokio::spawn(stopped.run_until_cancelled_owned(served));
            }
        };
        #[allow(clippy::disallowed_methods, reason = "ends with the double")]
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        Self {
            inner,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// Where it is, without its path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// The YAML of an upstream `name` that is this gateway; `more` are further lines, without indentation.
    pub fn yaml(&self, name: &str, auth: &str, more: &str) -> String {
        let endpoint = self.endpoint();
        let place = match self.inner.is_runtime {
            true => format!("runtime: {{ arn: \"{ARN}\", endpoint: \"{endpoint}\" }}"),
            false => {
                format!("gateway: {{ id: {GATEWAY}, region: {REGION}, endpoint: \"{endpoint}\" }}")
            }
        };
        self.yaml_at(name, &place, auth, more)
    }

    /// The same with the line that says where it is.
    pub fn yaml_at(&self, name: &str, place: &str, auth: &str, more: &str) -> String {
        let lines = [place, &format!("auth: {auth}")];
        let lines = lines.into_iter().chain(more.lines());
        let lines: String = lines.map(|line| format!("    {line}\n")).collect();
        format!("  {name}:\n{lines}")
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap()
    }

    /// Answers the next requests with this method (`""`: with any) otherwise.
    pub fn instead(&self, method: &str, times: usize, instead: Instead) {
        let entry = (method.to_owned(), instead, times);
        self.script().instead.push_back(entry);
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.script().instead.clear();
    }

    /// Forgets every session and machine.
    pub fn forget(&self) {
        let mut script = self.script();
        script.known.clear();
        script.machines.clear();
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.inner.arrived.borrow().clone()
    }

    /// Those with this JSON-RPC method.
    pub fn of(&self, method: &str) -> Vec<Arrived> {
        let mut all = self.arrived();
        all.retain(|arrived| arrived.method == method);
        all
    }

    /// Waits until enough has arrived.
    pub async fn wait(&self, what: &str, enough: impl Fn(&[Arrived]) -> bool) {
        let mut arrived = self.inner.arrived.subscribe();
        let wait = arrived.wait_for(|all| enough(all));
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            let all: Vec<_> = self.arrived().into_iter().map(|one| one.method).collect();
            panic!("waited for {what}: {all:?}");
        }
    }

    /// Returns the number of machines that were started.
    pub fn machines(&self) -> usize {
        self.script().machines.len()
    }
}

impl Inner {
    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = body.unwrap_or_default();
        let target = parts.uri.path_and_query().unwrap().as_str().to_owned();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut arrived = Arrived {
            http: parts.method,
            target,
            headers: parts.headers,
            body,
            method: value["method"].as_str().unwrap_or_default().to_owned(),
            value,
            machine: None,
            refused: None,
        };
        let (answer, pause) = self.answer(&mut arrived);
        let all = &self.arrived;
        all.send_modify(|all| all.push(arrived));
        tokio::time::sleep(pause).await;
        answer
    }

    /// Whether the door stays shut, and with what words.
    fn refusal(&self, script: &Script, arrived: &Arrived) -> Option<Response<Full<Bytes>>> {
        let authorization = arrived.header("authorization").unwrap_or_default();
        let is_signed = authorization.starts_with("AWS4-");
        match &script.door {
            Door::Open => None,
            Door::Bearer(token) => {
                if authorization == format!("Bearer {token}") {
                    return None;
                }
                if is_signed {
                    return Some(answers::mismatch());
                }
                Some(answers::challenge())
            }
            Door::Signed(_) if authorization.starts_with("Bearer ") => Some(answers::mismatch()),
            Door::Signed(door) => {
                let request = sigv4::ReceivedRequest {
                    method: arrived.http.as_str(),
                    target: &arrived.target,
                    headers: &arrived.headers,
                    body: &arrived.body,
                };
                let refusal = door.verify(&request, SystemTime::now()).err()?;
                Some(answers::json(refusal.status().as_u16(), refusal.body()))
            }
        }
    }
}
