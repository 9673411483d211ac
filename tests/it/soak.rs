//! Anonymous callers and two hostile upstreams do all at once what they can, while callers of both
//! eras work and measure. 20 s; with `WEIR_SOAK=SECONDS` as long as that, and then the times count
//! too: `WEIR_SOAK=1800 cargo test --release --test it soak::honest -- --nocapture`.
//!
//! Calm is a weir that nobody attacks, on processors as busy as they are later: attackers would have
//! machines of their own, and a processor that is busy with anything, at the lowest priority too, makes
//! calls wait longer than an idle one. What an idle machine has is printed too; and the time of callers
//! whose weir is left alone, while another one on the same machine is attacked.

mod attacks;

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::ChildStdout;
use tokio::task::JoinSet;

use crate::support::bounded;
use crate::support::client::{Legacy, Modern};
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;

/// The name of the test that is the process of the attackers, and how a line begins that is for the
/// test that started it.
const ATTACKERS: &str = "soak::attack";
const TOLD: &str = "told: ";
/// The order to keep the processors busy.
const OCCUPY: &str = "occupy";

const MIB: u64 = 1 << 20;
/// `limits.memory` of the weir, and what it may have besides.
const MEMORY: u64 = 128 * MIB;
const BESIDES: u64 = 64 * MIB;
/// The time after which everything has to be as it was before.
const RECOVERY: Duration = Duration::from_secs(30);
/// The most lines of log in a second, in the long run.
const LINES: u64 = 40;
/// The most tasks and descriptors at once, while it is attacked.
const TASKS: u64 = 5_000;
const DESCRIPTORS: u64 = 3_000;
/// The pause of an honest caller between two calls.
const PACE: Duration = Duration::from_millis(20);

/// The time of the attack, and whether the times are compared.
#[allow(
    clippy::disallowed_methods,
    reason = "how long is not a matter of the weir"
)]
fn length() -> (Duration, bool) {
    let seconds = std::env::var("WEIR_SOAK").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    (
        Duration::from_secs(seconds.unwrap_or(20)),
        seconds.is_some(),
    )
}

/// The measurements of honest callers.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    failed: Vec<String>,
}

impl Measured {
    fn quantile(&mut self, part: f64) -> Duration {
        self.times.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let at = (self.times.len() as f64 * part) as usize;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Eight callers, four of each era, call at their pace until `end`.
async fn measure(weir: &Weir, end: Instant) -> Measured {
    let mut callers = JoinSet::new();
    for n in 0..8 {
        let url = weir.url();
        callers.spawn(async move {
            let mut measured = Measured::default();
            let modern = Modern::new(&url);
            let legacy = match n % 2 {
                0 => Some(Legacy::open(&url, "2025-06-18").await),
                _ => None,
            };
            while Instant::now() < end {
                let begun = Instant::now();
                let arguments = format!(r#"{{"q":"{n}"}}"#);
                let reply = match &legacy {
                    Some(legacy) => legacy.call("good__echo", &arguments).await,
                    None => modern.call("good__echo", &arguments).await,
                };
                measured.times.push(begun.elapsed());
                if !reply.succeeded() {
                    measured
                        .failed
                        .push(format!("{} {}", reply.status, reply.text()));
                }
                tokio::time::sleep(PACE).await;
            }
            measured
        });
    }
    let mut all = Measured::default();
    while let Some(one) = callers.join_next().await {
        let one = one.expect("a caller");
        all.times.extend(one.times);
        all.failed.extend(one.failed);
    }
    all
}

/// The process of those that attack.
struct Attackers {
    process: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    /// Of the hostile upstream.
    url: String,
}

impl Attackers {
    /// They come last at the processors (`SCHED_IDLE`), as if they were on machines of their own:
    /// what is measured is the weir. With a low priority only, each of the ten times that a call
    /// wakes somebody would wait for a time slice of theirs.
    async fn start() -> Self {
        let own = std::env::current_exe().expect("this test");
        let mut process = tokio::process::Command::new("chrt")
            .args(["--idle", "0"])
            .arg(own)
            .args(["--ignored", "--exact", "--nocapture", ATTACKERS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chrt, of util-linux");
        let out = process.stdout.take().expect("its output");
        let mut attackers = Self {
            process,
            lines: BufReader::new(out).lines(),
            url: String::new(),
        };
        attackers.url = attackers.hear().await;
        attackers
    }

    /// The next line that they tell.
    async fn hear(&mut self) -> String {
        let told = async {
            loop {
                let line = self.lines.next_line().await.expect("a line");
                let line = line.expect("the attackers go on");
                if let Some(told) = line.strip_prefix(TOLD) {
                    return told.to_owned();
                }
            }
        };
        bounded("the attackers", told).await
    }

    async fn order(&mut self, line: &str) {
        let to = self.process.stdin.as_mut().expect("their input");
        let line = format!("{line}\n");
        to.write_all(line.as_bytes()).await.expect("their input");
    }
}

/// The resources that the weir has at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Has {
    descriptors: u64,
    tasks: u64,
    sessions: u64,
    /// MiB that count for `limits.memory`, and all that it has.
    kept: u64,
    resident: u64,
}

impl Has {
    async fn now(weir: &Weir) -> Self {
        Self {
            descriptors: weir.descriptors() as u64,
            tasks: weir.metric("weir_tasks").await,
            sessions: weir.metric("weir_legacy_sessions").await,
            kept: weir.metric("weir_kept_memory_bytes").await / MIB,
            resident: weir.metric("process_resident_memory_bytes").await / MIB,
        }
    }

    /// The most of each, looked at every half second until `end`.
    async fn most(weir: &Weir, end: Instant) -> Self {
        let mut most = Self::default();
        while Instant::now() < end {
            let now = Self::now(weir).await;
            most.descriptors = most.descriptors.max(now.descriptors);
            most.tasks = most.tasks.max(now.tasks);
            most.sessions = most.sessions.max(now.sessions);
            most.kept = most.kept.max(now.kept);
            most.resident = most.resident.max(now.resident);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        most
    }
}

/// A weir over an upstream that works, one that floods it with all it can, and one that is mute.
struct Rig {
    weir: Weir,
    attackers: Attackers,
    _upstreams: [Upstream; 2],
}

impl Rig {
    async fn start() -> Self {
        let attackers = Attackers::start().await;
        let good = Upstream::named("good").tools(["echo", "slow"]).gate("slow");
        let good = good.start().await;
        let mute = Upstream::named("mute").tools(["echo"]).start().await;
        let stalls = On::Method("tools/call".to_owned());
        mute.fault(stalls, Times::Forever, Fault::StallHeaders);
        let weir = Weir::over([&good, &mute])
            .and("wild", &attackers.url)
            .top("limits: { memory: 128MiB }")
            .listen("body_timeout: 10s")
            .upstream("good", "timeouts: { call: 20s }")
            .start()
            .await;
        let tools = ["good__echo", "good__slow", "wild__echo", "wild__big"];
        let [echo, slow, wild_echo, big] = tools;
        weir.wait_tools([echo, slow, wild_echo, big, "wild__other", "mute__echo"])
            .await;
        Self {
            weir,
            attackers,
            _upstreams: [good, mute],
        }
    }

    /// The same, under attack.
    async fn attacked() -> Self {
        let mut rig = Self::start().await;
        rig.attackers.order(&rig.weir.port().to_string()).await;
        rig
    }
}

/// Measures callers of a weir while another one on the same machine is attacked.
async fn measure_beside(weir: &Weir, length: Duration) -> Measured {
    let mut other = Rig::attacked().await;
    let measured = measure(weir, Instant::now() + length).await;
    other.attackers.order("end").await;
    other.attackers.hear().await;
    measured
}

/// Not a test: the process that the test below starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the attackers of the soak"]
async fn attack() {
    attacks::run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "the figures of a long run")]
async fn honest_callers_are_served_while_everything_is_attacked_at_once() {
    let (length, compares) = length();
    let mut rig = Rig::start().await;
    let weir = &rig.weir;
    let calm_time = (length / 6).min(Duration::from_secs(60));
    if compares {
        let mut idle = measure(weir, Instant::now() + calm_time).await;
        let mut beside = measure_beside(weir, calm_time).await;
        println!(
            "p99 of an idle machine {:?}, beside an attack {:?}",
            idle.quantile(0.99),
            beside.quantile(0.99)
        );
    }
    rig.attackers.order(OCCUPY).await;
    let mut calm = measure(weir, Instant::now() + calm_time).await;
    rig.attackers.order("end").await;
    rig.attackers.hear().await;
    let before = Has::now(weir).await;
    let logged = weir.stderr().lines().count();
    rig.attackers.order(&weir.port().to_string()).await;
    let end = Instant::now() + length;
    let (mut attacked, most) = tokio::join!(measure(weir, end), Has::most(weir, end));
    rig.attackers.order("end").await;
    let done = rig.attackers.hear().await;

    let log_lines = (weir.stderr().lines().count() - logged) as u64;
    let peak = weir.peak_memory() / MIB;
    println!(
        "calm p50 {:?} p99 {:?}; attacked p50 {:?} p99 {:?} of {} calls, {} failed; peak {peak} MiB, {most:?}; {log_lines} lines; {done}",
        calm.quantile(0.5),
        calm.quantile(0.99),
        attacked.quantile(0.5),
        attacked.quantile(0.99),
        attacked.times.len(),
        attacked.failed.len(),
    );
    attacked.failed.truncate(5);
    assert!(attacked.failed.is_empty(), "{:?}", attacked.failed);
    assert!(peak <= (MEMORY + BESIDES) / MIB, "{peak} MiB");
    assert!(
        most.tasks <= TASKS + 2 * most.sessions && most.descriptors <= DESCRIPTORS,
        "{most:?}"
    );
    let most = 500 + LINES * length.as_secs();
    assert!(log_lines <= most, "{log_lines} lines, more than {most}");
    if compares {
        assert!(attacked.quantile(0.99) <= 3 * calm.quantile(0.99));
    }
    let ended = Instant::now();
    loop {
        let now = Has::now(weir).await;
        // Sessions are kept while they are idle, with a task for each of their sessions upstream.
        let tasks = before.tasks + 32 + 2 * now.sessions;
        if now.descriptors <= before.descriptors + 16 && now.tasks <= tasks {
            break;
        }
        assert!(ended.elapsed() < RECOVERY, "{now:?}, before {before:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
