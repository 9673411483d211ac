//! The processes of a run: this program again in a helper role, and weir under a guard.
//!
//! None outlives the bench, however that ends: a helper stops when its standard input closes, which happens
//! when the parent stops them, drops them, or dies. weir does not promise to do so, so a guard (this program
//! again) starts it, and kills it when the guard's own input closes. Every child has its own process group,
//! so that Ctrl-C on a terminal reaches only the parent.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::forward::{self, ForwardArgs, RouteArgs};
use crate::upstream::{self, UpstreamArgs};

const PATIENCE: Duration = Duration::from_secs(10);

/// The roles in which this program starts itself again.
#[derive(Subcommand, Debug)]
pub(crate) enum Role {
    Upstream(UpstreamArgs),
    Forward(ForwardArgs),
    Route(RouteArgs),
    Guard(ReapArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ReapArgs {
    /// Where the program's output goes
    #[arg(long)]
    log: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A child: a helper, or what a guard guards.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<tokio::process::ChildStdout>,
    /// The process to measure.
    pub(crate) pid: u32,
    /// The moment before its exec.
    pub(crate) started: Instant,
}

/// Plays a role until the parent lets go; does not return before.
pub(crate) fn play(role: Role) -> std::io::Result<()> {
    let parent = parent_lines();
    let ready = |ports: &[u16]| {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        tell(&format!("ready {}", ports.join(" ")));
    };
    match role {
        // One thread: an upstream must not take more of the machine than it needs.
        Role::Upstream(args) => single_threaded()?.block_on(until_let_go(
            parent,
            tokio::task::LocalSet::new().run_until(upstream::run(args, ready)),
        )),
        Role::Forward(args) => tokio::runtime::Runtime::new()?
            .block_on(until_let_go(parent, forward::forward(args, ready))),
        Role::Route(args) => tokio::runtime::Runtime::new()?
            .block_on(until_let_go(parent, forward::route(args, ready))),
        Role::Guard(args) => single_threaded()?.block_on(guard(parent, args)),
    }
}

/// A runtime of one thread.
pub(crate) fn single_threaded() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Lines from the parent; the channel closes when the parent does.
fn parent_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.blocking_send(line);
        }
    });
    lines
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn until_let_go(
    mut parent: mpsc::Receiver<String>,
    work: impl Future<Output = std::io::Result<()>>,
) -> std::io::Result<()> {
    tokio::select! {
        done = work => done,
        _ = parent.recv() => Ok(()),
    }
}

/// Starts the program at the parent's word, and kills it when the parent is gone.
async fn guard(mut parent: mpsc::Receiver<String>, args: ReapArgs) -> std::io::Result<()> {
    let log = std::fs::File::create(&args.log)?;
    let mut words = args.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if parent.recv().await.is_none() {
        return Ok(());
    }
    let mut child = command.spawn()?;
    tell(&format!("pid {}", child.id().unwrap_or(0)));
    tokio::select! {
        _ = child.wait() => {}
        _ = parent.recv() => child.kill().await?,
    }
    Ok(())
}

impl Process {
    /// Starts this program in a role and waits until it is ready; gives its ports.
    pub(crate) async fn helper(arguments: &[String]) -> Result<(Self, Vec<u16>), String> {
        let mut helper = Self::spawn(arguments)?;
        let line = helper.line().await?;
        let ports = line.strip_prefix("ready ").unwrap_or("").split(' ');
        let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
        if ports.is_empty() {
            return Err(format!("{} did not get ready: {line}", arguments.join(" ")));
        }
        Ok((helper, ports))
    }

    /// Starts another program under a guard.
    pub(crate) async fn guarded(
        program: &Path,
        arguments: &[String],
        log: &Path,
    ) -> Result<Self, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut all = vec![
            "guard".into(),
            "--log".into(),
            text(log),
            "--".into(),
            text(program),
        ];
        all.extend_from_slice(arguments);
        let mut guarded = Self::spawn(&all)?;
        guarded.started = Instant::now();
        if let Some(input) = &mut guarded.input {
            let written = input.write_all(b"start\n").await;
            written.map_err(|error| format!("guard: {error}"))?;
        }
        let line = guarded.line().await?;
        let pid = line
            .strip_prefix("pid ")
            .and_then(|pid| pid.trim().parse().ok());
        guarded.pid = pid.ok_or_else(|| format!("{} did not start: {line}", program.display()))?;
        Ok(guarded)
    }

    fn spawn(arguments: &[String]) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("starting {}: {error}", arguments.join(" "));
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("role")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(output), Some(pid)) = (child.stdout.take(), child.id()) else {
            return Err("a child without output".into());
        };
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(output),
            pid,
            started,
            child,
        })
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match timeout(PATIENCE, self.output.read_line(&mut line)).await {
            Ok(Ok(_)) => Ok(line.trim().to_owned()),
            Ok(Err(error)) => Err(format!("a child's output: {error}")),
            Err(_) => Err(format!("a child said nothing in {PATIENCE:?}")),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets the child go and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// The same, of a child that is asked for its number afterwards.
    pub(crate) async fn end(&mut self) {
        drop(self.input.take());
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
