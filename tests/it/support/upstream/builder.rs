//! Describing a server before it starts.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, broadcast};

use super::script::{self, Fault, Kind, On, Outcome, Paging, Rule, Script, Sdk, Shape, Times};
use super::{Inner, Log, StopOnDrop, Upstream, serve};
use crate::support::free_port;
use crate::support::token_server::TokenServer;

/// A server being described.
pub struct Builder {
    script: Script,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            script: Script::new(name),
        }
    }

    /// Speaks this legacy version. Several calls: several versions, the first is the favourite.
    pub fn legacy(mut self, version: &str) -> Self {
        self.script.legacy.push(version.to_owned());
        self
    }

    /// Speaks 2026-07-28.
    pub fn modern(mut self) -> Self {
        self.script.modern = true;
        self
    }

    /// Speaks everything.
    pub fn dual(self) -> Self {
        self.legacy("2025-11-25")
            .legacy("2025-06-18")
            .legacy("2025-03-26")
            .modern()
    }

    /// Refuses the modern probe exactly as this SDK does, and is legacy.
    pub fn old_sdk(mut self, sdk: Sdk) -> Self {
        self.script.sdk = Some(sdk);
        self.legacy("2025-11-25").legacy("2025-06-18")
    }

    /// Says that it has tasks.
    pub fn tasks(mut self) -> Self {
        self.script.tasks = true;
        self
    }

    /// Tells models this at the handshake.
    pub fn instructions(mut self, text: &str) -> Self {
        self.script.instructions = Some(text.to_owned());
        self
    }

    pub fn json(mut self) -> Self {
        self.script.shape = Shape::Json;
        self
    }

    pub fn sse(mut self) -> Self {
        self.script.shape = Shape::Sse;
        self
    }

    /// Writes bodies in pieces of so many bytes.
    pub fn dribble(mut self, bytes: usize) -> Self {
        self.script.dribble = Some(bytes);
        self
    }

    pub fn tools<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.script.add(Kind::Tools, &script::tool(name));
        }
        self
    }

    pub fn prompts<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.script.add(Kind::Prompts, &script::prompt(name));
        }
        self
    }

    pub fn resources<'a>(mut self, uris: impl IntoIterator<Item = &'a str>) -> Self {
        for uri in uris {
            self.script.add(Kind::Resources, &script::resource(uri));
        }
        self
    }

    pub fn templates<'a>(mut self, uris: impl IntoIterator<Item = &'a str>) -> Self {
        for uri in uris {
            self.script.add(Kind::Templates, &script::template(uri));
        }
        self
    }

    /// A tool definition as raw JSON, valid or not.
    pub fn raw_tool(self, raw: &str) -> Self {
        self.raw(Kind::Tools, raw)
    }

    /// A definition of any kind as raw JSON, valid or not.
    pub fn raw(mut self, kind: Kind, raw: &str) -> Self {
        self.script.add(kind, raw);
        self
    }

    /// Raw text of `result` for a tool; the tool is added if it is not there.
    pub fn answers(self, tool: &str, result: &str) -> Self {
        self.answers_as(Kind::Tools, tool, result)
    }

    /// Raw text of `result` for a prompt (`prompts/get`), or for a resource's URI (`resources/read`).
    pub fn answers_as(mut self, kind: Kind, name: &str, result: &str) -> Self {
        self.script.edit(kind, name).outcome = Outcome::Result(result.to_owned());
        self.known(kind, name)
    }

    /// Raw text of `error` for a tool.
    pub fn errors(mut self, tool: &str, error: &str) -> Self {
        self.script.edit(Kind::Tools, tool).outcome = Outcome::Error(error.to_owned());
        self.known(Kind::Tools, tool)
    }

    /// Modern: `input_required` first, complete on the retry.
    pub fn asks_input(mut self, tool: &str) -> Self {
        self.script.edit(Kind::Tools, tool).outcome = Outcome::AskInput;
        self.known(Kind::Tools, tool)
    }

    /// So many progress notifications before the answer, if the request has a token.
    pub fn progress(mut self, tool: &str, notifications: usize) -> Self {
        self.script.edit(Kind::Tools, tool).progress = notifications;
        self.known(Kind::Tools, tool)
    }

    /// Log messages of these levels before the answer, asked for or not.
    pub fn logs<'a>(mut self, tool: &str, levels: impl IntoIterator<Item = &'a str>) -> Self {
        self.script.edit(Kind::Tools, tool).logs = levels.into_iter().map(str::to_owned).collect();
        self.known(Kind::Tools, tool)
    }

    /// So long before each progress notification.
    pub fn pause(mut self, tool: &str, pause: std::time::Duration) -> Self {
        self.script.edit(Kind::Tools, tool).pause = pause;
        self
    }

    /// The tool answers only when the test calls `release`; progress and logs come first.
    pub fn gate(mut self, tool: &str) -> Self {
        self.script.edit(Kind::Tools, tool).gate = Some(Arc::new(Semaphore::new(0)));
        self.known(Kind::Tools, tool)
    }

    fn known(mut self, kind: Kind, name: &str) -> Self {
        if !self.script.has(kind, name) {
            let raw = match kind {
                Kind::Tools => script::tool(name),
                Kind::Prompts => script::prompt(name),
                Kind::Resources => script::resource(name),
                Kind::Templates => script::template(name),
            };
            self.script.add(kind, &raw);
        }
        self
    }

    /// Pages of these sizes; what is left over comes in a last page.
    pub fn pages<const N: usize>(mut self, sizes: [usize; N]) -> Self {
        self.script.paging = Paging::Sizes(sizes.to_vec());
        self
    }

    pub fn ttl_ms(mut self, ttl_ms: u64) -> Self {
        self.script.ttl_ms = ttl_ms;
        self
    }

    /// Announces a change of its tools after every `tools/list`.
    pub fn restless(mut self) -> Self {
        self.script.restless = true;
        self
    }

    /// Has another tool besides in each answer to `tools/list`.
    pub fn mutating(mut self) -> Self {
        self.script.mutating = true;
        self
    }

    /// Writes this raw message on each GET stream, some thousands a second, with a number in place of `{n}`.
    pub fn floods(mut self, message: &str) -> Self {
        self.script.floods = Some(message.to_owned());
        self
    }

    /// Ends each stream of changes as soon as it is open.
    pub fn brief_streams(mut self) -> Self {
        self.script.brief_streams = true;
        self
    }

    /// Never says that a list changed, and says so.
    pub fn silent(mut self) -> Self {
        self.script.announces = false;
        self
    }

    pub fn fault(mut self, on: On, times: Times, fault: Fault) -> Self {
        self.script.rules.push(Rule { on, times, fault });
        self
    }

    /// Answers nothing without exactly one header of this value.
    pub fn require_header(mut self, name: &str, value: &str) -> Self {
        self.script.doors.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets in who has a live token of this server.
    pub fn tokens_of(mut self, server: &TokenServer) -> Self {
        self.script.tokens = Some(server.clone());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.require_header("authorization", &format!("Bearer {token}"))
    }

    pub fn basic(self, username: &str, password: &str) -> Self {
        let pair = format!("{username}:{password}");
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        self.require_header("authorization", &format!("Basic {pair}"))
    }

    /// Sets a cookie in each answer: `w=METHOD.SESSION`, of the request.
    pub fn sets_cookies(mut self) -> Self {
        self.script.cookies = true;
        self
    }

    /// Has no GET stream, and says so with this status.
    pub fn get_status(mut self, status: u16) -> Self {
        self.script.get_status = Some(status);
        self
    }

    /// Redirects its own URL with this status to another path.
    pub fn moved(mut self, status: u16) -> Self {
        self.script.moved = Some(status);
        self
    }

    /// Refuses `initialize` with a version that it does not speak, with this raw `error`.
    pub fn version_error(mut self, error: &str) -> Self {
        self.script.version_error = Some(error.to_owned());
        self
    }

    /// Gives the system at most so many bytes at a time.
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.script.send_buffer = Some(bytes);
        self
    }

    fn listen(&self) -> TcpListener {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            if let Some(bytes) = self.script.send_buffer {
                socket.set_send_buffer_size(bytes).unwrap();
            }
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            match socket.bind(address) {
                Ok(()) => return socket.listen(1024).unwrap(),
                // Another run of these tests on this machine has taken it meanwhile.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => panic!("{address}: {error}"),
            }
        }
    }

    /// Serves on a free port of loopback.
    pub async fn start(mut self) -> Upstream {
        if self.script.legacy.is_empty() && !self.script.modern {
            self = self.dual();
        }
        let listener = self.listen();
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            script: Mutex::new(self.script),
            run: Mutex::default(),
            sessions: Mutex::default(),
            running: Mutex::default(),
            changes: broadcast::Sender::new(64),
            log: Log::default(),
            next: AtomicU64::new(1),
        });
        serve::accept(&inner, listener);
        Upstream {
            _stop: Arc::new(StopOnDrop(inner.clone())),
            inner,
        }
    }
}
