//! A real MCP server on a port of its own, scripted by the test, at run time too.
//!
//! ```ignore
//! let jira = Upstream::named("jira").tools(["search", "get"]).legacy("2025-06-18").start().await;
//! jira.add_tool("close");
//! jira.notify_list_changed(Kind::Tools);
//! ```
//! A call is answered with the text `jira.search {"q":"x"}`: who answered, and the arguments as they came.

mod answer;
mod builder;
mod legacy;
mod log;
mod modern;
mod script;
mod serve;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use builder::Builder;
pub use log::{Cancelled, Log, Recorded, Seen};
pub use script::{Fault, Kind, On, Paging, Sdk, Shape, Times};
use script::{Outcome, Rule, Script};

/// A server, and the handle to script it. Clones are the same server; the last one to go stops it.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
    _stop: Arc<StopOnDrop>,
}

struct StopOnDrop(Arc<Inner>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.run().stop.cancel();
    }
}

/// The parts that the server's tasks and the handle share.
pub struct Inner {
    address: SocketAddr,
    script: Mutex<Script>,
    run: Mutex<Run>,
    sessions: Mutex<HashMap<String, legacy::Session>>,
    running: Mutex<HashMap<(String, String), CancellationToken>>,
    changes: broadcast::Sender<Kind>,
    log: Log,
    next: AtomicU64,
}

/// The tasks between a start and a stop.
#[derive(Clone, Default)]
struct Run {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Inner {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap()
    }

    /// Starts a task that ends when the server stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let run = self.run().clone();
        run.tasks.spawn(run.stop.run_until_cancelled_owned(task));
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Upstream {
    /// Begins a server. Without an era it is dual.
    pub fn named(name: &str) -> Builder {
        Builder::new(name)
    }

    pub fn name(&self) -> String {
        self.inner.script().name.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.inner.address)
    }

    /// The record of what arrived.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Every request with this JSON-RPC method so far.
    pub fn requests(&self, method: &str) -> Vec<Recorded> {
        self.log().seen().of(method).cloned().collect()
    }

    /// Counts the requests with this JSON-RPC method so far.
    pub fn count(&self, method: &str) -> usize {
        self.log().seen().count(method)
    }

    /// The newest request with this JSON-RPC method.
    pub fn last(&self, method: &str) -> Recorded {
        let found = self.requests(method).pop();
        found.unwrap_or_else(|| panic!("{method} never arrived: {:#?}", self.log().seen()))
    }

    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        self.log().wait_for(what, condition).await;
    }

    /// Waits until so many calls of a tool are running.
    pub async fn wait_running(&self, tool: &str, exactly: usize) {
        let what = format!("{exactly} running calls of {tool}");
        self.wait_for(&what, |seen| {
            seen.running.get(tool).copied().unwrap_or_default() == exactly
        })
        .await;
    }

    /// Waits until a running call is given up, whichever way.
    pub async fn wait_cancelled(&self, expected: Cancelled) {
        let what = format!("{expected:?}");
        self.wait_for(&what, |seen| seen.cancelled.contains(&expected))
            .await;
    }

    /// Waits until somebody holds a GET stream or a listen stream open.
    pub async fn wait_listening(&self) {
        self.wait_for("an open change stream", |seen| seen.listeners > 0)
            .await;
    }

    pub fn add_tool(&self, name: &str) {
        self.inner.script().add(Kind::Tools, &script::tool(name));
    }

    /// Adds a definition of any kind, as raw JSON.
    pub fn add_raw(&self, kind: Kind, raw: &str) {
        self.inner.script().add(kind, raw);
    }

    /// From the next handshake on it tells models this.
    pub fn set_instructions(&self, text: &str) {
        self.inner.script().instructions = Some(text.to_owned());
    }

    /// Forgets all definitions of a kind.
    pub fn clear(&self, kind: Kind) {
        self.inner.script().items.insert(kind, Vec::new());
    }

    pub fn remove_tool(&self, name: &str) {
        self.inner.script().remove(Kind::Tools, name);
    }

    /// Takes away a definition of any kind.
    pub fn remove(&self, kind: Kind, name: &str) {
        self.inner.script().remove(kind, name);
    }

    pub fn set_tools<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut script = self.inner.script();
        script.items.insert(Kind::Tools, Vec::new());
        for name in names {
            script.add(Kind::Tools, &script::tool(name));
        }
    }

    /// From now on, raw text of `result` for a tool.
    pub fn set_answer(&self, tool: &str, result: &str) {
        let outcome = Outcome::Result(result.to_owned());
        self.inner.script().edit(Kind::Tools, tool).outcome = outcome;
    }

    /// Sets so many cookies in each answer, each with another name.
    pub fn set_more_cookies(&self, number: usize) {
        self.inner.script().more_cookies = number;
    }

    pub fn set_paging(&self, paging: Paging) {
        self.inner.script().paging = paging;
    }

    /// Tells every open GET stream and every listen stream that asked.
    pub fn notify_list_changed(&self, kind: Kind) {
        let _ = self.inner.changes.send(kind);
    }

    /// `tools/list` answers as if nothing was there, so often.
    pub fn list_empty(&self, times: Times) {
        self.inner.script().empty = times;
    }

    /// All four lists fail with this status, so often (per list request).
    pub fn fail_lists(&self, times: Times, status: u16) {
        self.fault(On::Lists, times, Fault::Status(status));
    }

    pub fn fault(&self, on: On, times: Times, fault: Fault) {
        self.inner.script().rules.push(Rule { on, times, fault });
    }

    /// From now on, redirects its own URL with this status to another path.
    pub fn set_moved(&self, status: u16) {
        self.inner.script().moved = Some(status);
    }

    /// Answers nothing without this token from now on.
    pub fn bearer(&self, token: &str) {
        let door = ("authorization".to_owned(), format!("Bearer {token}"));
        self.inner.script().doors = vec![door];
    }

    /// Everything works again. What already stalls stays stalled.
    pub fn heal(&self) {
        let mut script = self.inner.script();
        script.rules.clear();
        script.empty = Times::Next(0);
    }

    /// Lets one waiting call of a gated tool finish.
    pub fn release(&self, tool: &str) {
        let gate = self.inner.script().edit(Kind::Tools, tool).gate.clone();
        gate.expect("the tool has a gate").add_permits(1);
    }

    /// Closes the port and every connection.
    pub async fn stop(&self) {
        let run = self.inner.run().clone();
        run.stop.cancel();
        run.tasks.close();
        run.tasks.wait().await;
    }

    /// Comes back on the same port, knowing no session.
    pub async fn restart(&self) {
        self.stop().await;
        self.inner.sessions.lock().unwrap().clear();
        *self.inner.run() = Run::default();
        let listener = TcpListener::bind(self.inner.address).await.unwrap();
        serve::accept(&self.inner, listener);
    }

    /// Every session id becomes unknown, and its GET stream ends.
    pub fn forget_sessions(&self) {
        self.inner.sessions.lock().unwrap().clear();
    }

    pub fn sessions(&self) -> usize {
        self.inner.sessions.lock().unwrap().len()
    }
}
