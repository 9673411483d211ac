//! Who answered at the other end of a link: era, version, capabilities, session.

use parking_lot::{Mutex, MutexGuard};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use ring::digest;
use url::Url;

use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::headers::SESSION;
use crate::upstream::stdio::Child;

/// One upstream as it introduced itself.
#[derive(Debug)]
pub struct Peer {
    /// How it talks.
    era: Era,
    /// The protocol version agreed on, as the specification writes it.
    pub version: String,
    /// The protocol versions it says it speaks, where it says so; at least the one agreed on.
    pub versions: Vec<String>,
    /// What it offers.
    pub capabilities: Capabilities,
    /// Its own name and version, self-reported: for people, and for chains of weirs.
    pub server: String,
    /// `capabilities.extensions`, modern: a JSON object as text, empty where it has none.
    pub extensions: Box<str>,
    /// The way to it.
    pub connection: Connection,
    /// The request a modern child answers with its changes for as long as it lives; 0 is none.
    listening: AtomicU64,
}

/// The way to a peer.
#[derive(Debug)]
pub enum Connection {
    /// Streamable HTTP.
    Http(HttpSession),
    /// A child process.
    Child(Arc<Child>),
}

/// What every request to an HTTP peer carries.
#[derive(Debug)]
pub struct HttpSession {
    /// Media types, version, session, credentials.
    pub headers: HeaderMap,
    /// The legacy session id, if the peer keeps sessions.
    pub id: Option<HeaderValue>,
    /// Where a platform is in front of the peer: what leads every request to the same instance of it.
    pub affinity: Option<Arc<Affinity>>,
}

/// What leads the requests of a session to the same instance of a server on AgentCore Runtime, where each other one may
/// have to be started first (AgentCore developer guide, "Use isolated sessions for agents").
#[derive(Debug)]
pub struct Affinity {
    runtime: HeaderValue,
    /// The `Mcp-Session-Id` that came last. The platform gives one in either era.
    last: Mutex<Option<HeaderValue>>,
}

/// The session of the platform: 33 to 256 characters (model of `InvokeAgentRuntime`).
const RUNTIME_SESSION: HeaderName =
    HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");

impl Affinity {
    /// Of a session with nothing before it. The same `key` for the same URL gives the same session of the platform, so
    /// that one that is opened again finds its instance, after a restart too.
    #[must_use]
    pub fn new(url: &Url, key: &[u8; 16]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"weir runtime session 1\n");
        hash.update(key);
        hash.update(url.as_str().as_bytes());
        let mut text = "weir-".to_owned();
        for byte in hash.finish().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        Self {
            runtime: HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")),
            last: Mutex::default(),
        }
    }

    /// Puts it on a request.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(RUNTIME_SESSION, self.runtime.clone());
        if let Some(id) = &*self.last() {
            headers.insert(SESSION, id.clone());
        }
    }

    /// Takes in what an answer says.
    pub fn update_from(&self, headers: &HeaderMap) {
        if let Some(id) = headers.get(SESSION) {
            let mut last = self.last();
            if last.as_ref() != Some(id) {
                *last = Some(id.clone());
            }
        }
    }

    /// Forgets what answers said; whether there was anything.
    pub fn forget(&self) -> bool {
        self.last().take().is_some()
    }

    /// Whether an answer said anything.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.last().is_some()
    }

    fn last(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.last.lock()
    }
}

/// The capabilities that decide what weir asks of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `tools`
    pub tools: bool,
    /// `prompts`
    pub prompts: bool,
    /// `resources`
    pub resources: bool,
    /// `completions`
    pub completions: bool,
    /// `logging`
    pub logging: bool,
    /// `resources.subscribe`
    pub subscribe: bool,
    /// `tasks`: what 2025-11-25 has of them.
    pub tasks: bool,
    /// `listChanged` of any of them.
    pub list_changed: bool,
}

impl Capabilities {
    /// Reads a `ServerCapabilities` object; what is malformed is not offered.
    #[must_use]
    pub fn read(capabilities: Option<&str>) -> Self {
        let Some(Ok(capabilities)) = capabilities.map(Object::parse) else {
            return Self::default();
        };
        let says = |key, what| {
            let inner = capabilities.get(key).map(Object::parse);
            matches!(inner, Some(Ok(inner)) if inner.get(what) == Some("true"))
        };
        let changes = |key| says(key, "listChanged");
        Self {
            tools: capabilities.contains("tools"),
            prompts: capabilities.contains("prompts"),
            resources: capabilities.contains("resources"),
            completions: capabilities.contains("completions"),
            logging: capabilities.contains("logging"),
            subscribe: says("resources", "subscribe"),
            tasks: capabilities.contains("tasks"),
            list_changed: changes("tools") || changes("prompts") || changes("resources"),
        }
    }
}

impl Peer {
    /// A peer that introduced itself.
    #[must_use]
    pub fn new(
        era: Era,
        version: String,
        capabilities: Capabilities,
        server: String,
        extensions: Box<str>,
        connection: Connection,
    ) -> Self {
        Self {
            era,
            versions: vec![version.clone()],
            version,
            capabilities,
            server,
            extensions,
            connection,
            listening: AtomicU64::new(0),
        }
    }

    /// How it talks.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    /// Whether it keeps something for each session: it gave an id to this one.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        matches!(&self.connection, Connection::Http(session) if session.id.is_some())
    }

    /// Whether messages to it have no headers.
    #[must_use]
    pub fn is_on_stdio(&self) -> bool {
        matches!(self.connection, Connection::Child(_))
    }

    /// Whether it says that it is a weir.
    #[must_use]
    pub fn is_weir(&self) -> bool {
        self.server == "weir" || self.server.starts_with("weir ")
    }

    /// Notes the request that the peer answers with its changes.
    pub fn set_listen_id(&self, id: u64) {
        self.listening.store(id, Ordering::Relaxed);
    }

    /// The request that the peer answers with its changes, if there is one.
    #[must_use]
    pub fn listen_id(&self) -> Option<u64> {
        Some(self.listening.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// Whether messages can still reach it, as far as weir knows.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.connection {
            Connection::Http(_) => true,
            Connection::Child(child) => !child.is_closed(),
        }
    }
}
