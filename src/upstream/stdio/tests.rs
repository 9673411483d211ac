//! Against real processes.

mod ends;
mod messages;

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::*;
use crate::credentials::secrets::SecretCell;
use crate::name::UpstreamId;

/// A server in a few lines: `answer(message)` is called for each message.
const SERVER: &str = r#"
import sys, json, time, os, signal, subprocess
def out(text):
    sys.stdout.write(text + "\n"); sys.stdout.flush()
def say(**message):
    out(json.dumps({"jsonrpc": "2.0", **message}))
def progress(token, n):
    say(method="notifications/progress", params={"progressToken": token, "progress": n})
def messages():
    for line in sys.stdin:
        yield json.loads(line)
"#;

const PATIENCE: Duration = Duration::from_secs(20);

fn spec(program: &str, args: &[&str]) -> ChildSpec {
    ChildSpec {
        name: UpstreamId::parse("files").unwrap(),
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        inherited: InheritedEnv::read(&crate::config::InheritEnv::default()),
        env: Vec::new(),
        cwd: None,
        reaper: None,
        hidden: None,
        user: None,
        max_message: 1 << 20,
        memory: crate::memory::MemoryShare::unlimited(),
    }
}

fn python(script: &str) -> ChildSpec {
    spec("python3", &["-c", &format!("{SERVER}{script}")])
}

/// A child and the tasks that serve it.
struct Running {
    child: Arc<Child>,
    events: mpsc::Receiver<Bytes>,
    tasks: TaskTracker,
}

fn start(spec: &ChildSpec) -> Running {
    let tasks = TaskTracker::new();
    let (child, events) = Child::start(spec, &tasks).unwrap();
    Running {
        child,
        events,
        tasks,
    }
}

impl Running {
    async fn request(&self, id: u64, method: &str) -> ChildReplies {
        self.child
            .request(id, request(id, method), MemoryShare::unlimited())
            .await
            .unwrap()
    }

    async fn result(&self, id: u64, method: &str) -> String {
        match last(&mut self.request(id, method).await).await {
            ChildReply::Response(bytes) => result(&bytes),
            other @ (ChildReply::Notification(_)
            | ChildReply::NoMemory(_)
            | ChildReply::Closed(_)) => panic!("{other:?}"),
        }
    }

    /// Stops the child; then no task and no process may be left.
    async fn stop(self) {
        let pid = self.child.pid().unwrap();
        timeout(PATIENCE, self.child.stop()).await.unwrap();
        assert!(self.child.is_closed());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
    }
}

fn request(id: u64, method: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#).into()
}

fn result(response: &[u8]) -> String {
    let text = std::str::from_utf8(response).unwrap();
    let object = crate::json::Object::parse(text).unwrap();
    object.get("result").unwrap().to_owned()
}

async fn next(replies: &mut ChildReplies) -> Option<ChildReply> {
    timeout(PATIENCE, replies.next()).await.unwrap()
}

/// The last reply, and nothing after it.
async fn last(replies: &mut ChildReplies) -> ChildReply {
    let mut last = None;
    while let Some(reply) = next(replies).await {
        last = Some(reply);
    }
    last.unwrap()
}

/// An argument no other process has.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{next:04}", 100_000_000 + std::process::id())
}

/// The processes that have the marker among their arguments.
fn having(marker: &str) -> Vec<Pid> {
    let has = |line: Vec<u8>| line.split(|b| *b == 0).any(|arg| arg == marker.as_bytes());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| std::fs::read(process.path().join("cmdline")).is_ok_and(has))
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn alive(marker: &str) -> usize {
    having(marker).len()
}

async fn until_alive(marker: &str, count: usize) {
    let reached = async {
        while alive(marker) != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn the_environment_is_clean_but_for_what_is_given() {
    let mut spec = python("say(id=next(messages())['id'], result=dict(os.environ))\n");
    spec.inherited
        .variables
        .push(("WEIR_A".into(), "inherited".into()));
    spec.env
        .push(("WEIR_A".to_owned(), SecretCell::fixed("given")));
    assert!(!format!("{spec:?}").contains("given"));
    let running = start(&spec);
    let environment = running.result(1, "x").await;
    let object = crate::json::Object::parse(&environment).unwrap();
    assert_eq!(object.get("WEIR_A"), Some("\"given\""));
    let names: HashSet<_> = object.iter().map(|(name, _)| name.to_owned()).collect();
    // Cargo sets this for tests.
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"));
    assert!(
        names.contains("PATH") && !names.contains("CARGO_MANIFEST_DIR"),
        "{names:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let tasks = TaskTracker::new();
    let error = |spec: &ChildSpec| {
        Child::start(spec, &tasks)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&spec("weir-no-such", &[])),
        "there is no program `weir-no-such` in the `PATH` of the process: install it, write its whole path, or set `PATH` in the upstream's `env`"
    );
    assert_eq!(
        error(&spec("/no/such", &[])),
        "there is no program `/no/such`"
    );
    assert_eq!(
        error(&spec("/etc/passwd", &[])),
        "`/etc/passwd` is not executable"
    );
    let mut nowhere = spec("sh", &[]);
    nowhere.cwd = Some("/no/such".into());
    assert_eq!(error(&nowhere), "there is no folder `/no/such`");
    let mut empty = spec("sh", &[]);
    empty
        .env
        .push(("PATH".to_owned(), SecretCell::fixed("/no/such")));
    let not_in_path = error(&empty);
    assert!(
        not_in_path.starts_with("there is no program `sh` in the `PATH`"),
        "{not_in_path}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-a-program");
    std::fs::write(&path, "\x7fnothing").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut odd = spec("./not-a-program", &[]);
    odd.cwd = Some(folder.path().to_owned());
    assert_eq!(error(&odd), "`./not-a-program` could not be started");
    assert!(tasks.is_empty());
}

/// The log lines of the tasks of a test, which run on its thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn install(&self) -> tracing::subscriber::DefaultGuard {
        // As long as there is only one subscriber, tracing asks that of the thread which comes by a
        // line first whether anybody wants it, and remembers a no of a test without a log for all
        // threads.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
