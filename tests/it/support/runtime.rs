//! Amazon Bedrock AgentCore Runtime around weir, as far as a container notices it: it checks its health with pings,
//! gives the ids of sessions, passes on few headers, adds its own, and ends a machine that is idle.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::agentcore::{ARN, MCP_SESSION, RUNTIME_SESSION};
use super::client::pool;
use super::weir::{Process, admin_settings};
use super::{BOUND, free_port};

pub const USER: &str = "x-amzn-bedrock-agentcore-runtime-user-id";
const PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-";
pub const CUSTOM: &str = "x-amzn-bedrock-agentcore-runtime-custom-";
/// The headers that reach a container without an allowlist.
const PASSED: [&str; 9] = [
    "accept",
    "content-type",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "traceparent",
    "tracestate",
    "baggage",
    "user-agent",
];

/// The settings that the runtime was created with, and its image.
pub struct Settings {
    /// `requestHeaderAllowlist`.
    pub allowed: Vec<&'static str>,
    /// More of `listen`, in flow style.
    pub listen: String,
    /// The rest of the config.
    pub config: String,
    pub files: Vec<(&'static str, String)>,
    pub env: Vec<(&'static str, String)>,
    /// Whether the container gets another session id with each request.
    pub restless: bool,
    /// The pause between pings.
    pub ping: Duration,
    /// The time that a machine lives without a request.
    pub idle: Duration,
}

impl Settings {
    /// With these upstreams (YAML, indented by two).
    pub fn over(upstreams: &str) -> Self {
        Self {
            allowed: Vec::new(),
            listen: "auth: none".to_owned(),
            config: format!("upstreams:\n{upstreams}"),
            files: Vec::new(),
            env: Vec::new(),
            restless: false,
            ping: Duration::from_millis(100),
            idle: Duration::from_secs(900),
        }
    }
}

/// A runtime; it and its machines end when it is dropped.
pub struct Runtime {
    address: String,
    inner: Arc<Inner>,
    _stop: DropGuard,
}

struct Inner {
    settings: Settings,
    http: reqwest::Client,
    machines: Mutex<HashMap<String, Arc<Machine>>>,
    counts: Counts,
    /// Things that were not as the platform expects them.
    surprises: Mutex<Vec<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Counts {
    started: AtomicUsize,
    ended: AtomicUsize,
    pings: AtomicUsize,
    requests: AtomicUsize,
}

/// A microVM with a container: a session's own.
pub struct Machine {
    process: Process,
    listen: u16,
    admin: u16,
    _home: tempfile::TempDir,
    healthy: watch::Sender<bool>,
    used: Mutex<Instant>,
}

impl Runtime {
    pub async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            settings,
            http: pool(),
            machines: Mutex::default(),
            counts: Counts::default(),
            surprises: Mutex::default(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        let app = Router::new()
            .fallback(invoke)
            .with_state(Arc::clone(&inner));
        let served = async move { axum::serve(listener, app).await };
        inner
            .tasks
            .spawn(stop.clone().run_until_cancelled_owned(served));
        Self {
            address,
            inner,
            _stop: stop.drop_guard(),
        }
    }

    /// Where clients call: `/runtimes/ARN/invocations?qualifier=DEFAULT`.
    pub fn url(&self) -> String {
        format!("{}{}", self.address, target())
    }

    pub fn machines(&self) -> Vec<Arc<Machine>> {
        let machines = self.inner.machines.lock().unwrap();
        machines.values().cloned().collect()
    }

    pub fn started(&self) -> usize {
        self.inner.counts.started.load(Ordering::Relaxed)
    }

    pub fn ended(&self) -> usize {
        self.inner.counts.ended.load(Ordering::Relaxed)
    }

    pub fn pings(&self) -> usize {
        self.inner.counts.pings.load(Ordering::Relaxed)
    }

    /// Fails if a container did something that the platform does not expect.
    pub fn assert_content(&self) {
        let surprises = self.inner.surprises.lock().unwrap();
        assert!(surprises.is_empty(), "{surprises:#?}");
    }

    /// Waits until so many machines have ended.
    pub async fn wait_ended(&self, machines: usize) {
        let begun = Instant::now();
        while self.ended() < machines {
            assert!(begun.elapsed() < BOUND, "{} machines ended", self.ended());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for so many pings more.
    pub async fn wait_pings(&self, more: usize) {
        let (begun, until) = (Instant::now(), self.pings() + more);
        while self.pings() < until {
            assert!(begun.elapsed() < 4 * BOUND, "{} pings", self.pings());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Machine {
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The gauges and counters of its weir; of those with labels the sum. The platform has no way to them.
    pub async fn gauges(&self) -> BTreeMap<String, f64> {
        let text = self.admin("/metrics").await;
        let mut gauges = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            *gauges.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
        }
        gauges
    }

    /// An answer of its weir to operators.
    pub async fn admin(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        pool().get(url).send().await.unwrap().text().await.unwrap()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.listen)
    }
}

fn target() -> String {
    let arn = ARN.replace(':', "%3A").replace('/', "%2F");
    format!("/runtimes/{arn}/invocations?qualifier=DEFAULT")
}

/// `InvokeAgentRuntime`
async fn invoke(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::POST || uri.path_and_query().unwrap().as_str() != target() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let number = inner.counts.requests.fetch_add(1, Ordering::Relaxed);
    let named = [MCP_SESSION, RUNTIME_SESSION];
    let named = named.iter().find_map(|name| headers.get(*name));
    let id = named.map_or_else(
        || format!("given-by-the-platform-{number:0>20}"),
        |id| id.to_str().unwrap().to_owned(),
    );
    let machine = inner.machine(&id);
    let mut healthy = machine.healthy.subscribe();
    let wait = tokio::time::timeout(BOUND, healthy.wait_for(|healthy| *healthy));
    let is_healthy = wait.await.is_ok();
    if !is_healthy {
        let id = serde_json::from_slice::<Value>(&body).unwrap_or_default()["id"].clone();
        let message = "Runtime health check failed or timed out";
        let error = json!({ "code": -32010, "message": message });
        return json!({ "jsonrpc": "2.0", "id": id, "error": error })
            .to_string()
            .into_response();
    }
    *machine.used.lock().unwrap() = Instant::now();
    let mut passed = inner.passed(&headers, number);
    let inside = match inner.settings.restless {
        true => format!("inside-{number}"),
        false => format!("inside-{id}"),
    };
    passed.insert(MCP_SESSION, inside.parse().unwrap());
    passed.insert(RUNTIME_SESSION, id.parse().unwrap());
    let sent = inner.http.post(machine.url()).headers(passed).body(body);
    let answer = match sent.send().await {
        Ok(answer) => answer,
        Err(error) => {
            inner.surprise(format!("no answer: {error}"));
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    if answer.headers().contains_key(MCP_SESSION) {
        inner.surprise("a session id of the container's own".to_owned());
    }
    let (status, mut kept) = (answer.status(), HeaderMap::new());
    for name in [header::CONTENT_TYPE, header::WWW_AUTHENTICATE] {
        if let Some(value) = answer.headers().get(&name) {
            kept.insert(name, value.clone());
        }
    }
    // The platform always gives it, and finds the machine by it.
    kept.insert(MCP_SESSION, id.parse().unwrap());
    let chunks = futures::stream::unfold((answer, machine), async |(mut answer, machine)| {
        let chunk = answer.chunk().await.transpose()?;
        *machine.used.lock().unwrap() = Instant::now();
        Some((chunk, (answer, machine)))
    });
    (status, kept, Body::from_stream(chunks)).into_response()
}

impl Inner {
    fn surprise(&self, what: String) {
        self.surprises.lock().unwrap().push(what);
    }

    /// The headers that a container gets: few of the client's, and the platform's.
    fn passed(&self, headers: &HeaderMap, number: usize) -> HeaderMap {
        let mut passed = HeaderMap::new();
        for (name, value) in headers {
            let text = name.as_str();
            let allowed = self.settings.allowed.iter();
            if PASSED.contains(&text)
                || text.starts_with("mcp-param-")
                || text.starts_with(CUSTOM)
                || text == USER
                || allowed.clone().any(|one| one.eq_ignore_ascii_case(text))
            {
                passed.append(name, value.clone());
            }
        }
        let mut add = |name: &str, value: &str| {
            let name: http::HeaderName = name.parse().unwrap();
            passed.insert(name, value.parse().unwrap());
        };
        add(&format!("{PREFIX}request-id"), &format!("request-{number}"));
        add("oauth2callbackurl", "https://example.com/callback");
        // The platform knows the user by the header, or by the token that it has checked; each
        // request has another token.
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let subject = text("authorization").map_or(text(USER), subject_of);
        if let Some(user) = subject {
            add(
                "workloadaccesstoken",
                &format!("planted-wat.{user}.{number}"),
            );
        }
        passed
    }

    /// The machine of a session, which is started if there is none.
    fn machine(self: &Arc<Self>, id: &str) -> Arc<Machine> {
        let mut machines = self.machines.lock().unwrap();
        if let Some(machine) = machines.get(id) {
            return Arc::clone(machine);
        }
        let machine = Arc::new(self.boot());
        machines.insert(id.to_owned(), Arc::clone(&machine));
        drop(machines);
        let kept = Arc::clone(self).keep(id.to_owned(), Arc::clone(&machine));
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(kept));
        machine
    }

    fn boot(&self) -> Machine {
        let (listen, admin) = (free_port(), free_port());
        let home = tempfile::tempdir().unwrap();
        let Settings {
            listen: members,
            config,
            files,
            env,
            ..
        } = &self.settings;
        let yaml = format!(
            "version: 1\nlisten: {{ address: \"0.0.0.0:{listen}\", sessions: platform, {members} }}\n{}\n{config}",
            admin_settings(admin)
        );
        std::fs::write(home.path().join("weir.yaml"), yaml).unwrap();
        for (name, text) in files {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        self.counts.started.fetch_add(1, Ordering::Relaxed);
        let file = home.path().join("weir.yaml");
        let args = ["serve", "-c", file.to_str().unwrap()];
        Machine {
            process: Process::start_with(args, |command| {
                command.envs(env.iter().map(|(name, value)| (*name, value.as_str())));
            }),
            listen,
            admin,
            _home: home,
            healthy: watch::Sender::new(false),
            used: Mutex::new(Instant::now()),
        }
    }

    /// Pings a machine until it has been idle for too long.
    async fn keep(self: Arc<Self>, id: String, machine: Arc<Machine>) {
        let mut pings = 0_u64;
        loop {
            pings += 1;
            let found = self.ping(&machine, pings).await;
            if !machine.process.runs() {
                self.surprise(format!("it ended:\n{}", machine.process.stderr()));
                return;
            }
            let is_up = *machine.healthy.borrow();
            match found {
                Ok(()) => {
                    self.counts.pings.fetch_add(1, Ordering::Relaxed);
                    machine.healthy.send_replace(true);
                }
                // Nobody listens yet.
                Err(None) if !is_up => {}
                Err(reason) => self.surprise(format!("ping {pings} failed: {reason:?}")),
            }
            let pause = if is_up {
                self.settings.ping
            } else {
                Duration::from_millis(5)
            };
            tokio::time::sleep(pause).await;
            if machine.used.lock().unwrap().elapsed() > self.settings.idle {
                self.machines.lock().unwrap().remove(&id);
                self.counts.ended.fetch_add(1, Ordering::Relaxed);
                // The process is killed with its machine.
                return;
            }
        }
    }

    /// Sends the health check. `None` if nobody listens.
    async fn ping(&self, machine: &Machine, id: u64) -> Result<(), Option<String>> {
        let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping","params":null}}"#);
        let sent = self.http.post(machine.url());
        let sent = sent.header("content-type", "application/json");
        let sent = sent.header("accept", "application/json").body(ping);
        let answer = sent
            .send()
            .await
            .map_err(|error| match error.is_connect() {
                true => None,
                false => Some(error.to_string()),
            })?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        match status == StatusCode::OK
            && text == format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        {
            true => Ok(()),
            false => Err(Some(format!("{status} {text}"))),
        }
    }
}

/// `sub` of a bearer token.
fn subject_of(authorization: &str) -> Option<&str> {
    authorization.strip_prefix("Bearer ").map(|_| "of-a-token")
}
