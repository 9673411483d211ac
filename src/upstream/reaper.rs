//! `weir reap -- PROGRAM ARGS…`: runs a stdio upstream so that nothing of it outlives weir.
//!
//! Weir cannot clean up after a SIGKILL of itself, and cannot arm a child before its `exec` without
//! unsafe code. So each stdio upstream runs below a small process that can do both. It learns of weir's
//! end in two ways, each enough by itself:
//!
//! - **The parent-death signal** (Linux). The kernel sends it when the *thread* that spawned us exits, not
//!   the process: a runtime may retire a worker, a test may drop its runtime. Therefore it is SIGUSR1, which
//!   nobody else sends, and means no more than "look whether the parent is still the same". The kernel keeps
//!   it armed when it hands us to another thread of weir.
//! - **The hang-up of stdin.** Weir holds the only writing end. This also covers other Unixes, and a weir
//!   that died before the signal was armed.
//!
//! On Linux the reaper adopts orphans (`PR_SET_CHILD_SUBREAPER`), so grandchildren are found even if they moved
//! to a process group or session of their own, as browsers started by a server do.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the program has to leave by itself after its stdin closed. Longer than [`crate::upstream::stdio`]
/// waits, which sends SIGTERM in the ordinary case.
const AFTER_INPUT: Duration = Duration::from_secs(2);
/// How long it has after SIGTERM.
pub(crate) const AFTER_TERM: Duration = Duration::from_secs(2);
/// How long what it left behind has after SIGTERM.
pub(crate) const LEFTOVERS: Duration = Duration::from_millis(500);
/// Between two rounds of SIGKILL: a killed parent hands us its children.
const ROUND: Duration = Duration::from_millis(20);
/// Rounds of SIGKILL before the reaper gives up (a process in the kernel cannot be killed).
const ROUNDS: u32 = 50;

/// What a shell answers for a program that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// Runs the program with this process's stdin, stdout and stderr, and returns its exit status as a shell
/// would: 128 + n when a signal ended it, 127 when there is no such program, 126 when it cannot be run.
///
/// To be called first thing in `main`, on the main thread.
pub fn run(program: &OsStr, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let watched = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(watch(program, args)));
    ExitCode::from(watched.unwrap_or_else(|error| {
        // Stderr goes to weir's log, under the upstream's name.
        let _ = writeln!(
            io::stderr(),
            "cannot run {}: {error}",
            program.to_string_lossy()
        );
        if error.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_RUN
        }
    }))
}

async fn watch(program: &OsStr, args: impl IntoIterator<Item = OsString>) -> io::Result<u8> {
    let mut orders = Orders::listen()?;
    let children = signal(SignalKind::child())?;
    arm()?;
    let child = Command::new(program).args(args).spawn()?;
    // Only the program writes stdout: when it closes it, weir must see the end.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
    let mut family = Family {
        program: Pid::from_child(&child),
        ended: None,
        children,
    };
    // Not `Child::wait`: adopted children have to be reaped as well, and all come from one `wait`.
    drop(child);

    let ordered = tokio::select! {
        biased;
        () = family.program_ended() => false,
        () = orders.end() => true,
    };
    if ordered {
        family.terminate();
        let _ = timeout(AFTER_TERM, family.program_ended()).await;
    }
    if family.reap() && family.ended.is_some() {
        family.terminate();
        let _ = timeout(LEFTOVERS, family.all_ended()).await;
    }
    for _ in 0..ROUNDS {
        if !family.reap() {
            break;
        }
        family.kill();
        let _ = timeout(ROUND, family.all_ended()).await;
    }
    if orders.orphaned() {
        // Nobody is left to clean up after us or to read our status: take all of the group along.
        let _ = process::kill_current_process_group(Signal::KILL);
    }
    Ok(family.status())
}

/// Arms the parent-death signal and the adoption of orphans, where there are such things.
fn arm() -> io::Result<()> {
    // Weir has done this; without it, our signals to the group would reach whoever started us.
    if process::getpgrp() != process::getpid() {
        process::setpgid(None, None)?;
    }
    #[cfg(target_os = "linux")]
    {
        process::set_parent_process_death_signal(Some(Signal::USR1))?;
        process::set_child_subreaper(Some(process::getpid()))?;
    }
    Ok(())
}

/// Everything that tells the reaper to end the program.
struct Orders {
    parent: Option<Pid>,
    terminate: Stream,
    interrupt: Stream,
    hang_up: Stream,
    parent_thread_ended: Stream,
    input_closed: oneshot::Receiver<()>,
}

impl Orders {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            parent: process::getppid(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            parent_thread_ended: signal(SignalKind::user_defined1())?,
            input_closed: input_closed()?,
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
                // Stdin cannot be watched: the signals remain.
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

    fn orphaned(&self) -> bool {
        process::getppid() != self.parent
    }
}

/// Tells when the writing end of stdin is closed, without reading what is meant for the program.
///
/// A thread, because tokio would set stdin non-blocking, which the program shares, or wake for each
/// message. Polling for no event wakes for a hang-up only.
fn input_closed() -> io::Result<oneshot::Receiver<()>> {
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

/// The program and every process below it that is known to us.
struct Family {
    program: Pid,
    ended: Option<WaitStatus>,
    children: Stream,
}

impl Family {
    /// Reaps what has ended. Returns whether a child is left.
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

    async fn program_ended(&mut self) {
        while self.reap() && self.ended.is_none() {
            self.children.recv().await;
        }
    }

    async fn all_ended(&mut self) {
        while self.reap() {
            self.children.recv().await;
        }
    }

    /// Asks all to end: the group, and what was adopted from other groups. We are in the group too, and our
    /// own handler swallows it.
    fn terminate(&self) {
        let group = process::getpgrp();
        let _ = process::kill_current_process_group(Signal::TERM);
        for child in children() {
            if process::getpgid(Some(child)) != Ok(group) {
                let _ = process::kill_process(child, Signal::TERM);
            }
        }
    }

    /// Kills the children there are now; theirs become ours and are for the next round.
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

/// Our children, adopted ones too. Their ids are safe to signal: only we reap them.
fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
                .collect::<Vec<_>>()
        })
        .collect()
}
