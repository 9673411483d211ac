//! `weir reap`: nothing of a stdio upstream outlives weir.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio_util::task::TaskTracker;
use weir::name::UpstreamId;
use weir::upstream::stdio::{self, ChildReply, ChildSpec, ClosedReason, Exit};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns an argument that no other process has.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{next:04}", 200_000_000 + std::process::id())
}

/// Returns the processes that run `sleep MARKER`.
fn sleepers(marker: &str) -> Vec<Pid> {
    let line = format!("sleep\0{marker}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|p| std::fs::read(p.path().join("cmdline")).is_ok_and(|l| l == line.as_bytes()))
        .filter_map(|p| Pid::from_raw(p.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Waits until `count` processes sleep with this marker, and returns how long it took.
fn until(marker: &str, count: usize) -> Duration {
    let start = Instant::now();
    while sleepers(marker).len() != count {
        assert!(start.elapsed() < PATIENCE, "{:?}", sleepers(marker));
        pause();
    }
    start.elapsed()
}

/// Pauses between two looks: only child processes can be waited for.
fn pause() {
    let moment = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    // Signals of other tests' children interrupt the call.
    let _ = rustix::event::poll(&mut [], Some(&moment));
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Starts the reaper as weir does: in a group of its own, with a pipe as stdin.
fn reaper(program: &[&str]) -> Child {
    Command::new(WEIR)
        .args(["reap", "--"])
        .args(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn wait(mut child: Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < PATIENCE);
        pause();
    }
}

/// Starts a parent that starts the reaper and prints its id. `keep` is how the parent keeps the
/// reaper's stdin open.
fn parent(keep: &str, script: &str) -> (Child, u32) {
    let python = format!(
        "import subprocess, sys, time, threading\n\
         reaper = subprocess.Popen([{WEIR:?}, 'reap', '--', 'sh', '-c', sys.argv[1]], stdin={keep}, process_group=0)\n\
         print(reaper.pid, flush=True)\ntime.sleep(1000)\n"
    );
    let mut parent = Command::new("python3")
        .args(["-c", &python, script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (parent, line.trim().parse().unwrap())
}

fn killed_parent_leaves_nothing(keep: &str, script: &str, marker: &str, within: Duration) {
    let (mut parent, reaper) = parent(keep, script);
    until(marker, 2);
    parent.kill().unwrap();
    parent.wait().unwrap();
    let took = until(marker, 0);
    assert!(took < within, "{took:?}");
    let start = Instant::now();
    while exists(reaper) {
        assert!(start.elapsed() < within);
        pause();
    }
    println!("{keep}: all gone after {took:?}");
}

#[test]
fn a_killed_weir_leaves_no_process() {
    let marker = marker();
    let script = format!("sleep {marker} & sleep {marker}");
    killed_parent_leaves_nothing("subprocess.PIPE", &script, &marker, Duration::from_secs(3));
}

/// Tests the parent-death signal alone: stdin stays open.
#[test]
fn a_killed_weir_leaves_no_process_even_if_stdin_stays_open() {
    let marker = marker();
    let script = format!("sleep {marker} & sleep {marker}");
    killed_parent_leaves_nothing(
        "subprocess.DEVNULL",
        &script,
        &marker,
        Duration::from_secs(3),
    );
}

#[test]
fn a_killed_weir_leaves_no_process_that_ignores_sigterm() {
    let marker = marker();
    let script = format!("trap '' TERM; sleep {marker} & sleep {marker}");
    killed_parent_leaves_nothing("subprocess.PIPE", &script, &marker, Duration::from_secs(3));
}

/// The script behaves like a server that starts a browser: the browser moves to a session of its
/// own, and the process in between ends.
#[test]
fn a_killed_weir_leaves_no_process_that_moved_to_a_session_of_its_own() {
    let marker = marker();
    let script = format!("sh -c 'setsid sleep {marker} & exit' ; sleep {marker}");
    killed_parent_leaves_nothing("subprocess.PIPE", &script, &marker, Duration::from_secs(3));
}

/// The signal comes when the thread ends that started the reaper. The process lives on, so the
/// upstream must live on too.
#[test]
fn the_end_of_a_thread_of_weir_is_not_the_end_of_weir() {
    let marker = marker();
    let script = format!("sleep {marker} & sleep {marker}; exit 5");
    let started = marker.clone();
    let thread = std::thread::spawn(move || {
        let reaper = reaper(&["sh", "-c", &script]);
        until(&started, 2);
        reaper
    });
    let mut reaper = thread.join().unwrap();
    // The signal leaves no trace that could be waited for.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        assert!(reaper.try_wait().unwrap().is_none());
        assert_eq!(sleepers(&marker).len(), 2);
        pause();
    }
    for sleeper in sleepers(&marker) {
        kill_process(sleeper, Signal::KILL).unwrap();
    }
    assert_eq!(wait(reaper).code(), Some(5));
}

#[test]
fn the_status_and_the_streams_of_the_program_are_passed_on() {
    let mut child = reaper(&["sh", "-c", "read line; echo \"got $line\"; exit 42"]);
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"got hello\n");
    assert_eq!(output.status.code(), Some(42));
    let killed = reaper(&["sh", "-c", "kill -9 $$"]);
    assert_eq!(wait(killed).code(), Some(128 + 9));
    assert_eq!(wait(reaper(&["weir-no-such"])).code(), Some(127));
    assert_eq!(wait(reaper(&["/etc/passwd"])).code(), Some(126));
}

#[test]
fn a_signal_to_the_reaper_reaches_the_program_once() {
    let mut child = reaper(&[
        "python3",
        "-c",
        "import signal, time, sys\n\
         signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))\n\
         print('ready', flush=True)\n\
         sys.stdin.read()\n\
         time.sleep(0.3)\n",
    ]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "term");
    drop(child.stdin.take());
    assert_eq!(wait(child).code(), Some(0));
    assert!(lines.next().is_none());
}

#[test]
fn what_the_program_left_behind_ends_with_it() {
    let marker = marker();
    let script =
        format!("trap '' TERM; setsid sleep {marker} & sleep {marker} & read line; exit 7");
    let mut child = reaper(&["sh", "-c", &script]);
    until(&marker, 2);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(wait(child).code(), Some(7));
    assert!(sleepers(&marker).is_empty());
}

#[test]
fn a_program_that_ignores_a_closed_stdin_is_ended() {
    let marker = marker();
    let mut child = reaper(&["sh", "-c", &format!("sleep {marker}")]);
    until(&marker, 1);
    drop(child.stdin.take());
    let took = until(&marker, 0);
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    assert_eq!(wait(child).code(), Some(128 + 15));
}

/// Orphans become children of the reaper, which must reap them while the program runs.
#[test]
fn orphans_do_not_pile_up_as_zombies() {
    let mut child = reaper(&[
        "sh",
        "-c",
        "for n in 1 2 3 4 5; do sh -c 'true & exit'; done; echo done; read line",
    ]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "done");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let start = Instant::now();
    while std::fs::read_to_string(&children)
        .unwrap()
        .split_whitespace()
        .count()
        > 1
    {
        assert!(start.elapsed() < PATIENCE);
        pause();
    }
    drop(child.stdin.take());
    wait(child);
}

fn spec(script: &str) -> ChildSpec {
    ChildSpec {
        name: UpstreamId::parse("files").unwrap(),
        program: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        inherited: stdio::InheritedEnv::read(&weir::config::InheritEnv::default()),
        env: Vec::new(),
        cwd: None,
        reaper: Some(WEIR.into()),
        hidden: None,
        user: None,
        max_message: 1 << 20,
        memory: weir::memory::MemoryShare::unlimited(),
    }
}

async fn end(child: &stdio::Child, tasks: &TaskTracker) {
    tokio::time::timeout(PATIENCE, child.stop()).await.unwrap();
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
    assert!(!exists(child.pid().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_below_the_reaper_answers_and_stops_with_all_it_started() {
    let marker = marker();
    let tasks = TaskTracker::new();
    let script = format!(
        "setsid sleep {marker} & read line; echo '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{}}}}'; sleep {marker}"
    );
    let (child, _events) = stdio::Child::start(&spec(&script), &tasks).unwrap();
    let mut replies = child
        .request(
            1,
            "{\"id\":1}".into(),
            weir::memory::MemoryShare::unlimited(),
        )
        .await
        .unwrap();
    assert!(matches!(
        replies.next().await,
        Some(ChildReply::Response(_))
    ));
    until(&marker, 2);
    let asked = Instant::now();
    end(&child, &tasks).await;
    println!("stopped after {:?}", asked.elapsed());
    assert!(sleepers(&marker).is_empty());
    assert_eq!(child.closed().await, ClosedReason::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_below_the_reaper_says_how_its_program_ended() {
    for (script, exit) in [
        ("exit 3", Exit::Status(3)),
        ("kill -11 $$", Exit::Signal(11)),
    ] {
        let tasks = TaskTracker::new();
        let (child, _events) = stdio::Child::start(&spec(script), &tasks).unwrap();
        assert_eq!(child.closed().await, ClosedReason::Exited(exit));
        end(&child, &tasks).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_below_the_reaper_whose_program_closes_stdout_is_closed() {
    let tasks = TaskTracker::new();
    let (child, _events) = stdio::Child::start(&spec("exec >&-; sleep 1000"), &tasks).unwrap();
    assert_eq!(child.closed().await, ClosedReason::OutputClosed);
    end(&child, &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_reaper_leaves_no_process() {
    let marker = marker();
    let tasks = TaskTracker::new();
    let script = format!("sleep {marker} & sleep {marker}");
    let (child, _events) = stdio::Child::start(&spec(&script), &tasks).unwrap();
    until(&marker, 2);
    let reaper = Pid::from_raw(child.pid().unwrap().try_into().unwrap()).unwrap();
    kill_process(reaper, Signal::KILL).unwrap();
    assert_eq!(child.closed().await, ClosedReason::Exited(Exit::Signal(9)));
    until(&marker, 0);
    end(&child, &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_child_below_the_reaper_is_ended() {
    let marker = marker();
    let tasks = TaskTracker::new();
    let script = format!("sleep {marker} & sleep {marker}");
    let (child, _events) = stdio::Child::start(&spec(&script), &tasks).unwrap();
    until(&marker, 2);
    let group = Pid::from_raw(child.pid().unwrap().try_into().unwrap()).unwrap();
    kill_process_group(group, Signal::STOP).unwrap();
    end(&child, &tasks).await;
    assert!(sleepers(&marker).is_empty());
}

#[test]
fn a_dropped_runtime_leaves_no_process() {
    let marker = marker();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let tasks = TaskTracker::new();
    let script = format!("setsid sleep {marker} & sleep {marker}");
    let child = runtime.block_on(async { stdio::Child::start(&spec(&script), &tasks).unwrap() });
    until(&marker, 2);
    drop(runtime);
    until(&marker, 0);
    drop(child);
}
