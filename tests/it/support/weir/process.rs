//! The `weir` program as a process of its own.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::support::{BOUND, bounded};

/// A running `weir`; killed when dropped. What it writes is kept.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    stdout: Captured,
    stderr: Captured,
    readers: TaskTracker,
}

/// The text that a pipe has brought so far.
#[derive(Clone)]
struct Captured {
    text: Arc<Mutex<String>>,
    grown: watch::Sender<()>,
}

impl Captured {
    fn read(pipe: impl AsyncRead + Unpin + Send + 'static, readers: &TaskTracker) -> Self {
        let captured = Self {
            text: Arc::default(),
            grown: watch::Sender::new(()),
        };
        let (into, mut pipe) = (captured.clone(), pipe);
        readers.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..read]);
                into.text.lock().unwrap().push_str(&text);
                into.grown.send_replace(());
            }
        });
        captured
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    async fn wait_for(&self, part: &str) {
        let mut grown = self.grown.subscribe();
        let wait = async {
            while !self.text().contains(part) {
                let _ = grown.changed().await;
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            panic!("`{part}` was not written:\n{}", self.text());
        }
    }
}

impl Process {
    pub fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::start_with(args, |_| {})
    }

    /// Starts it with a changed command: environment, folder.
    pub fn start_with<S: AsRef<OsStr>>(
        args: impl IntoIterator<Item = S>,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        Self::run(env!("CARGO_BIN_EXE_weir"), args, change)
    }

    /// Starts a program that becomes weir.
    pub fn start_program<S: AsRef<OsStr>>(
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::run(program, args, |_| {})
    }

    fn run<S: AsRef<OsStr>>(
        program: &str,
        args: impl IntoIterator<Item = S>,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        change(&mut command);
        let mut child = command.spawn().expect("weir starts");
        let readers = TaskTracker::new();
        Self {
            pid: child.id().expect("it runs"),
            stdout: Captured::read(child.stdout.take().unwrap(), &readers),
            stderr: Captured::read(child.stderr.take().unwrap(), &readers),
            child: Mutex::new(child),
            readers,
        }
    }

    pub fn runs(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Counts the files and sockets that it has open.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        open.count()
    }

    /// The most memory it has had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().trim_end_matches("kB").trim();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// The processor time that it has used, to a hundredth of a second (`proc(5)`, `stat`).
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        // After the name, which may have spaces: the 14th and the 15th field are the times.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        let ticks: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stderr has this in it.
    pub async fn wait_stderr(&self, part: &str) {
        self.stderr.wait_for(part).await;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the end, and for the last of its output.
    pub async fn wait_exit(self) -> (ExitStatus, String, String) {
        let mut child = self.child.into_inner().unwrap();
        let status = bounded("weir to end", child.wait()).await.unwrap();
        self.readers.close();
        bounded("the end of its output", self.readers.wait()).await;
        (status, self.stdout.text(), self.stderr.text())
    }

    /// Interrupts it and waits for the end.
    pub async fn stop(self) {
        self.signal(Signal::INT);
        self.wait_exit().await;
    }
}
