//! The peer at the other end of a link: era, version, capabilities, session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::{Mutex, MutexGuard};
use ring::digest;
use url::Url;

use crate::hex;
use crate::json::Object;
use crate::protocol::era::Era;
use crate::protocol::headers::{self, SESSION};
use crate::protocol::meta;
use crate::upstream::caller_login::CallerLogin;
use crate::upstream::cookies::Cookies;
use crate::upstream::instructions::GivenInstructions;
use crate::upstream::outbox::Outbox;
use crate::upstream::stdio::Child;

/// One upstream, as it described itself in the handshake.
#[derive(Debug)]
pub struct Peer {
    /// The era that it speaks.
    era: Era,
    /// The protocol version agreed on, as the specification writes it.
    pub version: String,
    /// All protocol versions that it says it speaks. At least the one agreed on.
    pub versions: Vec<String>,
    /// The capabilities that decide what weir asks of it.
    pub capabilities: Capabilities,
    /// The name and version that it reports of itself: for people, and for chains of weirs.
    pub server: String,
    /// `capabilities.extensions`: a JSON object as text, empty if it has none.
    pub extensions: Box<str>,
    /// The instructions that it gives to models.
    pub instructions: GivenInstructions,
    /// The connection to it.
    pub connection: Connection,
    /// The messages to it that belong to no call.
    pub outbox: Outbox,
    /// Whether it answers the callers of one principal only, who share it.
    pub is_of_principal: bool,
    /// The part that ends with the peer: a session that nobody else ends.
    pub(super) kept: Option<Box<dyn std::fmt::Debug + Send + Sync>>,
    /// The id of the open `subscriptions/listen` request of a modern child. 0 is none.
    listen_id: AtomicU64,
}

/// The connection to a peer.
#[derive(Debug)]
pub enum Connection {
    /// Streamable HTTP.
    Http(HttpSession),
    /// A child process.
    Child(Arc<Child>),
}

/// The headers that every request to an HTTP peer carries.
#[derive(Clone, Debug)]
pub struct HttpSession {
    /// Media types, version and session id.
    pub headers: HeaderMap,
    /// The legacy session id, if the peer keeps sessions.
    pub id: Option<HeaderValue>,
    /// Leads every request to the same instance of the server, where a platform runs several.
    pub affinity: Option<Arc<Affinity>>,
    /// The cookies that the server has set in this session.
    pub cookies: Arc<Cookies>,
    /// The login of the caller that the session belongs to; `None` for weir's own login.
    pub login: Option<Arc<CallerLogin>>,
}

/// The identity that a request is sent with.
#[derive(Clone, Copy, Debug)]
pub struct SenderIdentity<'r> {
    /// The cookies of its session.
    pub cookies: &'r Cookies,
    /// The login of a caller; `None` for weir's own.
    pub login: Option<&'r CallerLogin>,
}

impl HttpSession {
    /// Returns the identity that requests of this session are sent with.
    #[must_use]
    pub fn sender(&self) -> SenderIdentity<'_> {
        SenderIdentity {
            cookies: &self.cookies,
            login: self.login.as_deref(),
        }
    }
}

/// The ids that lead the requests of a session to the same instance of a server on AgentCore
/// Runtime. Any other instance may have to be started first (AgentCore developer guide, "Use
/// isolated sessions for agents").
#[derive(Debug)]
pub struct Affinity {
    runtime: HeaderValue,
    /// The last `Mcp-Session-Id` that came. The platform gives one in either era.
    last: Mutex<Option<HeaderValue>>,
}

/// The header that names the session of the platform: 33 to 256 characters (model of
/// `InvokeAgentRuntime`).
const RUNTIME_SESSION: HeaderName =
    HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");

impl Affinity {
    /// Returns the affinity of a new session. The same `key` and URL give the same session of the
    /// platform, so that a session that is opened again finds its instance, even after a restart.
    #[must_use]
    pub fn new(url: &Url, key: &[u8; 16]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"weir runtime session 1\n");
        hash.update(key);
        hash.update(url.as_str().as_bytes());
        let mut text = "weir-".to_owned();
        hex::push(&mut text, hash.finish().as_ref());
        Self {
            runtime: HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")),
            last: Mutex::default(),
        }
    }

    /// Adds the session ids to a request.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(RUNTIME_SESSION, self.runtime.clone());
        if let Some(id) = &*self.last() {
            headers.insert(SESSION, id.clone());
        }
    }

    /// Remembers the session id of an answer.
    pub fn update_from(&self, headers: &HeaderMap) {
        if let Some(id) = headers.get(SESSION) {
            let mut last = self.last();
            if last.as_ref() != Some(id) {
                *last = Some(headers::detach(id));
            }
        }
    }

    /// Forgets the session id. Returns whether there was one.
    pub fn forget(&self) -> bool {
        self.last().take().is_some()
    }

    /// Returns whether an answer gave a session id.
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
    /// Reads a `ServerCapabilities` object. Malformed members count as not offered.
    #[must_use]
    pub fn read(capabilities: Option<&str>) -> Self {
        let Some(Ok(capabilities)) = capabilities.map(Object::parse) else {
            return Self::default();
        };
        let has = |key, what| {
            let inner = capabilities.get(key).map(Object::parse);
            matches!(inner, Some(Ok(inner)) if inner.get(what) == Some("true"))
        };
        let list_changed = |key| has(key, "listChanged");
        Self {
            tools: capabilities.has_value("tools"),
            prompts: capabilities.has_value("prompts"),
            resources: capabilities.has_value("resources"),
            completions: capabilities.has_value("completions"),
            logging: capabilities.has_value("logging"),
            subscribe: has("resources", "subscribe"),
            tasks: capabilities.has_value("tasks"),
            list_changed: list_changed("tools")
                || list_changed("prompts")
                || list_changed("resources"),
        }
    }
}

impl Peer {
    /// Builds a peer from what it said in the handshake.
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
            instructions: GivenInstructions::default(),
            connection,
            outbox: Outbox::default(),
            is_of_principal: false,
            kept: None,
            listen_id: AtomicU64::new(0),
        }
    }

    /// Makes the same peer over another connection.
    #[must_use]
    pub fn with_connection(&self, connection: Connection) -> Self {
        let peer = Self::new(
            self.era,
            self.version.clone(),
            self.capabilities,
            self.server.clone(),
            self.extensions.clone(),
            connection,
        );
        Self {
            versions: self.versions.clone(),
            ..peer
        }
    }

    /// Returns the login of the caller that its session belongs to; `None` for weir's own login.
    #[must_use]
    pub fn login(&self) -> Option<&Arc<CallerLogin>> {
        match &self.connection {
            Connection::Http(session) => session.login.as_ref(),
            Connection::Child(_) => None,
        }
    }

    /// Returns the era that it speaks.
    #[must_use]
    pub fn era(&self) -> Era {
        self.era
    }

    /// Returns whether it has the tasks extension (SEP-2663), which is of the modern era.
    #[must_use]
    pub fn has_tasks_extension(&self) -> bool {
        Object::parse(&self.extensions).is_ok_and(|all| all.contains(meta::TASKS))
    }

    /// Returns whether it keeps state for each session: it gave this one an id.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        matches!(&self.connection, Connection::Http(session) if session.id.is_some())
    }

    /// Returns whether it is a child process, so that messages to it have no headers.
    #[must_use]
    pub fn is_on_stdio(&self) -> bool {
        matches!(self.connection, Connection::Child(_))
    }

    /// Returns whether it says that it is a weir.
    #[must_use]
    pub fn is_weir(&self) -> bool {
        self.server == "weir" || self.server.starts_with("weir ")
    }

    /// Sets the id of the open `subscriptions/listen` request.
    pub fn set_listen_id(&self, id: u64) {
        self.listen_id.store(id, Ordering::Relaxed);
    }

    /// Returns the id of the open `subscriptions/listen` request, if there is one.
    #[must_use]
    pub fn listen_id(&self) -> Option<u64> {
        Some(self.listen_id.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// Returns whether messages can still reach it, as far as weir knows, and it takes them.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let is_connected = match &self.connection {
            Connection::Http(_) => true,
            Connection::Child(child) => !child.is_closed(),
        };
        is_connected && !self.outbox.has_overflowed()
    }
}
