//! A receiver of OTLP over HTTP, with a decoder of its own. `tests/telemetry` has OpenTelemetry's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};
use parking_lot::Mutex;

use tokio_util::task::TaskTracker;
use weir::sigv4::{ReceivedRequest, Verifier};

use super::BOUND;

/// A span that arrived.
#[derive(Clone, Debug, Default)]
pub struct SentSpan {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// 1: internal, 2: server, 3: client.
    pub kind: u64,
    /// Attributes that are text.
    pub attributes: BTreeMap<String, String>,
    /// The spans that it links to.
    pub links: Vec<String>,
    pub has_failed: bool,
}

impl SentSpan {
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// A receiver that keeps all spans.
pub struct OtlpReceiver {
    port: u16,
    received: Arc<Received>,
    serving: tokio::task::JoinHandle<()>,
}

/// All that arrived, and what lets it in.
struct Received {
    spans: Mutex<Vec<SentSpan>>,
    /// Paths and bodies of what has no spans.
    others: Mutex<Vec<(String, Bytes)>>,
    verifier: Option<Verifier>,
}

impl OtlpReceiver {
    pub async fn start() -> Self {
        Self::behind(None).await
    }

    /// Starts one that takes only what is signed.
    pub async fn verifying(verifier: Verifier) -> Self {
        Self::behind(Some(verifier)).await
    }

    async fn behind(verifier: Option<Verifier>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Received {
            spans: Mutex::default(),
            others: Mutex::default(),
            verifier,
        });
        let app = Router::new()
            .route("/v1/{signal}", axum::routing::post(receive))
            .with_state(Arc::clone(&received));
        let serving =
            TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            port,
            received,
            serving,
        }
    }

    /// The setting that sends spans here.
    pub fn setting(&self) -> String {
        self.setting_with("")
    }

    /// The same, with more settings.
    pub fn setting_with(&self, more: &str) -> String {
        let port = self.port;
        format!("telemetry: {{ endpoint: \"http://127.0.0.1:{port}\"{more} }}")
    }

    pub fn spans(&self) -> Vec<SentSpan> {
        self.received.spans.lock().clone()
    }

    /// All that arrived, as it can be searched.
    pub fn arrived(&self) -> Vec<u8> {
        let mut all = format!("{:?}", self.spans()).into_bytes();
        for (_, body) in self.received.others.lock().iter() {
            all.extend_from_slice(body);
        }
        all
    }

    /// Waits for a request to this path with all of these texts in it.
    pub async fn wait_other(&self, path: &str, texts: &[&str]) {
        let has_all = |body: &[u8]| {
            let has = |text: &&str| memchr::memmem::find(body, text.as_bytes()).is_some();
            texts.iter().all(has)
        };
        let waiting = async {
            let is_there = || {
                let others = self.received.others.lock();
                others.iter().any(|(to, body)| to == path && has_all(body))
            };
            while !is_there() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(BOUND, waiting).await;
        found.unwrap_or_else(|_| panic!("{path} never had all of {texts:?}"));
    }

    /// Waits for so many spans of the trace that has one with this name, and returns them with the
    /// server's first.
    pub async fn wait_trace(&self, name: &str, count: usize) -> Vec<SentSpan> {
        let waiting = async {
            loop {
                let spans = self.spans();
                let trace = spans
                    .iter()
                    .find(|span| span.name == name && span.kind == 2);
                let trace = trace.map(|span| span.trace.clone());
                let mut found: Vec<_> = spans
                    .into_iter()
                    .filter(|span| Some(&span.trace) == trace.as_ref())
                    .collect();
                if found.len() >= count {
                    found.sort_by_key(|span| span.kind);
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(BOUND, waiting).await;
        found.unwrap_or_else(|_| panic!("no trace of {name}: {:#?}", self.spans()))
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State(received): State<Arc<Received>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if let Some(verifier) = &received.verifier {
        let request = ReceivedRequest {
            method: "POST",
            target: uri.path(),
            headers: &headers,
            body: &body,
        };
        if let Err(refused) = verifier.verify(&request, SystemTime::now()) {
            return refused.status();
        }
    }
    if uri.path() != "/v1/traces" {
        let mut others = received.others.lock();
        others.push((uri.path().to_owned(), body));
        return StatusCode::OK;
    }
    for of_resource in fields(&body).filter(|(field, _)| *field == 1) {
        for of_scope in fields(of_resource.1.bytes()).filter(|(field, _)| *field == 2) {
            for span in fields(of_scope.1.bytes()).filter(|(field, _)| *field == 2) {
                received.spans.lock().push(read(span.1.bytes()));
            }
        }
    }
    StatusCode::OK
}

fn read(bytes: &[u8]) -> SentSpan {
    let mut span = SentSpan::default();
    for (field, value) in fields(bytes) {
        match field {
            1 => span.trace = hex(value.bytes()),
            2 => span.id = hex(value.bytes()),
            4 => span.parent = hex(value.bytes()),
            5 => span.name = text(value.bytes()),
            6 => span.kind = value.number(),
            9 => {
                let pair: BTreeMap<_, _> = fields(value.bytes()).collect();
                let inner = fields(pair[&2].bytes()).next().unwrap();
                let said = match inner {
                    (1, said) => text(said.bytes()),
                    (_, Value::Number(number)) => number.to_string(),
                    (_, Value::Bytes(_) | Value::Other) => String::new(),
                };
                let key = text(pair[&1].bytes());
                assert!(span.attributes.insert(key.clone(), said).is_none(), "{key}");
            }
            13 => {
                let link: BTreeMap<_, _> = fields(value.bytes()).collect();
                span.links.push(hex(link[&2].bytes()));
            }
            15 => span.has_failed = fields(value.bytes()).any(|(field, _)| field == 3),
            _ => {}
        }
    }
    span
}

#[derive(Clone, Copy)]
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    Other,
}

impl<'b> Value<'b> {
    fn bytes(self) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) | Self::Other => panic!("not bytes"),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) | Self::Other => panic!("not a number"),
        }
    }
}

/// The fields of a message.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let tag = varint(&mut bytes);
        let mut take = |size: usize| {
            let (taken, rest) = bytes.split_at(size);
            bytes = rest;
            taken
        };
        let value = match tag & 7 {
            1 => {
                take(8);
                Value::Other
            }
            5 => {
                take(4);
                Value::Other
            }
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let size = varint(&mut bytes) as usize;
                let (taken, rest) = bytes.split_at(size);
                bytes = rest;
                Value::Bytes(taken)
            }
            other => panic!("wire type {other}"),
        };
        Some((tag >> 3, value))
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
