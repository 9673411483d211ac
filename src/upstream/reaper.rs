//! `weir reap -- PROGRAM ARGS…`: runs a stdio upstream so that nothing of it outlives weir.
//!
//! Weir cannot clean up after a SIGKILL of itself, and cannot prepare a child before its `exec`
//! without unsafe code. So each stdio upstream runs below a small process, the reaper, that can do
//! both. The reaper learns of weir's end in two ways, each enough by itself:
//!
//! - **The parent-death signal** (Linux). The kernel sends it when the *thread* that spawned the
//!   reaper exits, not the process: a runtime may retire a worker, a test may drop its runtime. So
//!   the signal is SIGUSR1, which nothing else sends, and means only "look whether the parent is
//!   still the same". The kernel keeps it armed when the reaper is handed to another thread of
//!   weir.
//! - **The hang-up of stdin.** Only weir holds the writing end. This also covers other Unixes, and
//!   a weir that died before the signal was armed.
//!
//! On Linux the reaper adopts orphans (`PR_SET_CHILD_SUBREAPER`). So it finds grandchildren even if
//! they moved to a process group or session of their own, as browsers started by a server do. Where
//! the system is emulated and has no such thing, the program runs all the same, and its log says so.

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::processes::children;
use crate::upstream::confinement;

/// The time that the program has to exit by itself after its stdin closed. Longer than
/// [`crate::upstream::stdio`] waits, so that in the ordinary case that one sends SIGTERM.
const AFTER_INPUT: Duration = Duration::from_secs(2);
/// The time that the program has after SIGTERM.
pub(crate) const AFTER_TERM: Duration = Duration::from_secs(2);
/// The time that processes it left behind have after SIGTERM.
pub(crate) const LEFTOVERS: Duration = Duration::from_millis(500);
/// The time between two rounds of SIGKILL. The children of a killed process are adopted, and are
/// for the next round.
const ROUND: Duration = Duration::from_millis(20);
/// The number of rounds of SIGKILL before the reaper gives up. A process that is stuck in the
/// kernel cannot be killed.
const ROUNDS: u32 = 50;

/// The exit status of a shell for a program that does not exist.
const NOT_FOUND: u8 = 127;
/// The exit status of a shell for a program that cannot be run.
const NOT_EXECUTABLE: u8 = 126;

/// Runs the program with this process's stdin, stdout and stderr, and returns its exit status as a
/// shell would: 128 + n when a signal ended it, 127 when there is no such program, 126 when it
/// cannot be run.
///
/// Must be called first in `main`, on the main thread.
pub fn run(job: Job) -> ExitCode {
    let program = job.program.clone();
    let status = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(run_and_reap(job)));
    ExitCode::from(status.unwrap_or_else(|error| {
        // Weir has found the program, so what is missing is what the system needs to run it.
        let hint = if error.kind() == io::ErrorKind::NotFound {
            " (the loader of a binary: was it built for another system, such as one with musl?)"
        } else {
            ""
        };
        // Weir reads stderr and logs it under the upstream's name.
        let _ = writeln!(
            io::stderr(),
            "cannot run {}: {error}{hint}",
            program.to_string_lossy()
        );
        if error.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        }
    }))
}

/// The program to run, and how.
#[derive(Clone, Debug)]
pub struct Job {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Files and folders that it may not read.
    pub hidden: Vec<PathBuf>,
    /// The numbers of the user and the group that it runs as, if not the reaper's.
    pub user: Option<(u32, u32)>,
}

impl Job {
    /// Starts the program from a thread of its own, so that what it must not read is taken from that
    /// thread and the program only. The thread ends with the start: a thread of the program's own
    /// domain could be signalled by it.
    fn start(self) -> io::Result<Child> {
        let start = move || {
            confinement::hide(&self.hidden).map_err(io::Error::other)?;
            let mut command = Command::new(&self.program);
            command.args(self.args);
            if let Some((user, group)) = self.user {
                command.uid(user).gid(group);
            }
            command.spawn()
        };
        let starting = std::thread::Builder::new()
            .name("start".to_owned())
            .spawn(start)?;
        let started = starting.join();
        started.unwrap_or_else(|_| Err(io::Error::other("the start failed")))
    }
}

async fn run_and_reap(job: Job) -> io::Result<u8> {
    let mut signals = EndSignals::listen()?;
    let children = signal(SignalKind::child())?;
    arm()?;
    let child = job.start()?;
    // Closes the reaper's own stdout. Otherwise weir would not see it when the program closes
    // stdout.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
    let mut tree = ProcessTree {
        program: Pid::from_child(&child),
        ended: None,
        children,
    };
    // `Child::wait` is not used: adopted children have to be reaped too, by one `wait` for all.
    drop(child);

    let asked_to_end = tokio::select! {
        biased;
        () = tree.wait_for_program() => false,
        () = signals.end() => true,
    };
    if asked_to_end {
        tree.terminate();
        let _ = timeout(AFTER_TERM, tree.wait_for_program()).await;
    }
    if tree.reap() && tree.ended.is_some() {
        tree.terminate();
        let _ = timeout(LEFTOVERS, tree.wait_for_all()).await;
    }
    for _ in 0..ROUNDS {
        if !tree.reap() {
            break;
        }
        tree.kill();
        let _ = timeout(ROUND, tree.wait_for_all()).await;
    }
    if signals.is_orphaned() {
        // Weir is gone, so nothing reads our status or cleans up after us: kill the whole group,
        // and ourselves with it.
        let _ = process::kill_current_process_group(Signal::KILL);
    }
    Ok(tree.status())
}

/// Arms the parent-death signal and the adoption of orphans, on systems that have them.
fn arm() -> io::Result<()> {
    // Weir has started us in a group of our own. If something else started us, our signals to the
    // group must not reach it.
    if process::getpgrp() != process::getpid() {
        process::setpgid(None, None)?;
    }
    #[cfg(target_os = "linux")]
    {
        process::set_parent_process_death_signal(Some(Signal::USR1))?;
        // Emulators of the system do not know it (qemu-user). The program runs without it, too.
        if let Err(error) = process::set_child_subreaper(Some(process::getpid())) {
            let lost = "what the program leaves behind is not adopted, and may outlive it";
            let _ = writeln!(io::stderr(), "{lost}: {error}");
        }
    }
    Ok(())
}

/// The signals that make the reaper end the program.
struct EndSignals {
    parent: Option<Pid>,
    terminate: Stream,
    interrupt: Stream,
    hang_up: Stream,
    parent_thread_ended: Stream,
    input_closed: oneshot::Receiver<()>,
}

impl EndSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            parent: process::getppid(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            parent_thread_ended: signal(SignalKind::user_defined1())?,
            input_closed: watch_input()?,
        })
    }

    /// Waits until the program has to be ended.
    async fn end(&mut self) {
        let parent = self.parent;
        let orphaned = async {
            while self.parent_thread_ended.recv().await.is_some() {
                if process::getppid() != parent {
                    return;
                }
            }
            pending().await
        };
        let input_closed = async {
            match (&mut self.input_closed).await {
                Ok(()) => tokio::time::sleep(AFTER_INPUT).await,
                // Stdin cannot be watched. The signals still can.
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
            () = orphaned => {}
            () = input_closed => {}
        }
    }

    fn is_orphaned(&self) -> bool {
        process::getppid() != self.parent
    }
}

/// Watches for the end of stdin without reading what is meant for the program. The receiver gets a
/// value when the writing end is closed.
///
/// This is a thread, because tokio would set stdin non-blocking, for the program too, or would wake
/// for each message. Polling for no event wakes only for a hang-up.
fn watch_input() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let watch = move || {
        let stdin = io::stdin();
        loop {
            let mut descriptors = [PollFd::new(&stdin, PollFlags::empty())];
            match poll(&mut descriptors, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
        let _ = sender.send(());
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .stack_size(64 * 1024)
        .spawn(watch)?;
    Ok(receiver)
}

/// The program, and every process below it that the reaper adopted.
struct ProcessTree {
    program: Pid,
    ended: Option<WaitStatus>,
    children: Stream,
}

impl ProcessTree {
    /// Reaps the processes that have ended. Returns whether a child is left.
    fn reap(&mut self) -> bool {
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => self.ended = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    async fn wait_for_program(&mut self) {
        while self.reap() && self.ended.is_none() {
            self.children.recv().await;
        }
    }

    async fn wait_for_all(&mut self) {
        while self.reap() {
            self.children.recv().await;
        }
    }

    /// Sends SIGTERM to the group, and to children adopted from other groups. The reaper is in the
    /// group too, and its own handler ignores the signal.
    fn terminate(&self) {
        let group = process::getpgrp();
        let _ = process::kill_current_process_group(Signal::TERM);
        for child in children() {
            if process::getpgid(Some(child)) != Ok(group) {
                let _ = process::kill_process(child, Signal::TERM);
            }
        }
    }

    /// Kills the present children. Their children are adopted, and are for the next round.
    fn kill(&self) {
        for child in children() {
            let _ = process::kill_process(child, Signal::KILL);
        }
        if self.ended.is_none() {
            let _ = process::kill_process(self.program, Signal::KILL);
        }
    }

    fn status(&self) -> u8 {
        let Some(status) = self.ended else {
            return 128 + 9;
        };
        let code = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, signal) => 128 + signal.unwrap_or_default(),
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}
