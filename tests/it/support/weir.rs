//! Weir itself, over scripted upstreams: `Weir::over([&jira, &wiki]).start().await`.

mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use indexmap::IndexMap;
use rustix::process::Signal;
use serde_json::Value;

use super::client::{Legacy, Modern, pool};
use super::upstream::Upstream;
use super::{BOUND, bounded, free_port};
pub use process::Process;

/// A config being written.
#[derive(Default)]
pub struct Builder {
    /// Lines of YAML by upstream.
    upstreams: IndexMap<String, Vec<String>>,
    /// Upstreams as YAML, indented by two.
    written: String,
    listen: String,
    top: Vec<String>,
    /// The port to serve MCP on; any, if it is none.
    port: Option<u16>,
    launch: Launch,
}

/// The settings that the program is started with.
#[derive(Clone, Default)]
struct Launch {
    /// Whether the listener has TLS, so that readiness is asked of the admin listener.
    has_tls: bool,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// A running weir.
pub struct Weir {
    listen: u16,
    admin: u16,
    /// The folder of the config file; also the parent of the state folder.
    pub home: tempfile::TempDir,
    process: Process,
    launch: Launch,
}

impl Weir {
    /// Over these upstreams, each under its own name.
    pub fn over<'a>(upstreams: impl IntoIterator<Item = &'a Upstream>) -> Builder {
        let mut builder = Builder::default();
        for upstream in upstreams {
            let url = format!("url: \"{}\"", upstream.url());
            builder.upstreams.insert(upstream.name(), vec![url]);
        }
        builder
    }

    /// Over what the YAML under `upstreams:` says, each line indented by two at least.
    pub fn with(upstreams: &str) -> Builder {
        Builder {
            written: upstreams.to_owned(),
            ..Builder::default()
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.listen)
    }

    /// The URL of a listener with TLS. Its certificate has to be of `localhost`.
    pub fn secure_url(&self) -> String {
        format!("https://localhost:{}/mcp", self.listen)
    }

    /// The port of the listener.
    pub fn port(&self) -> u16 {
        self.listen
    }

    /// The port of the admin listener.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// The URL of another path of the same listener.
    pub fn path(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listen)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    pub fn modern(&self) -> Modern {
        Modern::new(self.url())
    }

    pub async fn legacy(&self, version: &str) -> Legacy {
        Legacy::open(self.url(), version).await
    }

    /// Everything weir has written to stderr.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Counts the files and sockets that weir has open.
    pub fn descriptors(&self) -> usize {
        self.process.descriptors()
    }

    /// The most memory weir has had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }

    /// The processor time that it has used.
    pub fn cpu(&self) -> Duration {
        self.process.cpu()
    }

    /// Returns what `/upstreams` says of one upstream.
    pub async fn told(&self, upstream: &str) -> Value {
        let page = self.admin("/upstreams").await;
        let rows = page["upstreams"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == upstream);
        row.unwrap().clone()
    }

    /// Waits until `/upstreams` has this in a member of an upstream; `/` leads into objects.
    pub async fn wait_told(&self, upstream: &str, member: &str, part: &str) -> Value {
        let (pointer, mut last) = (format!("/{member}"), Value::Null);
        let wait = async {
            loop {
                last = self.told(upstream).await;
                if last.pointer(&pointer).unwrap().to_string().contains(part) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            panic!("{member} never said `{part}`: {last:#}");
        }
        last
    }

    /// Waits until weir has written this to stderr.
    pub async fn wait_stderr(&self, part: &str) {
        self.process.wait_stderr(part).await;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end: status, stdout, stderr.
    pub async fn ended(self) -> (ExitStatus, String, String) {
        self.process.wait_exit().await
    }

    /// Sends SIGINT and waits for the end: status, stdout, stderr.
    pub async fn interrupt(self) -> (ExitStatus, String, String) {
        self.process.signal(Signal::INT);
        self.process.wait_exit().await
    }

    /// A request of an operator, who has the token.
    pub fn operate(&self, path: &str) -> reqwest::RequestBuilder {
        pool().post(self.admin_url(path)).bearer_auth(ADMIN_TOKEN)
    }

    /// Returns the answer of a path of the admin listener.
    pub async fn admin(&self, path: &str) -> Value {
        let got = bounded(
            "the admin listener",
            pool().get(self.admin_url(path)).send(),
        )
        .await;
        let text = got.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }

    /// The value of a gauge or counter without labels in `/metrics`.
    pub async fn metric(&self, name: &str) -> u64 {
        let asked = pool().get(self.admin_url("/metrics")).send();
        let text = bounded("the metrics", asked).await.unwrap();
        let text = text.text().await.unwrap();
        let mut rows = text.lines().filter_map(|line| line.split_once(' '));
        let value = rows.find_map(|(key, value)| (key == name).then_some(value));
        let value = value.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// The snapshot's number.
    pub async fn generation(&self) -> u64 {
        let catalog = self.admin("/catalog").await;
        let generation = catalog["generation"].as_u64();
        generation.unwrap_or_else(|| panic!("no generation: {catalog}"))
    }

    /// Waits for a generation at least this high.
    pub async fn wait_generation(&self, at_least: u64) {
        self.wait("a generation", async || self.generation().await >= at_least)
            .await;
    }

    /// Lists one upstream again and waits until that is over, well or not.
    pub async fn resync(&self, upstream: &str) {
        let post = self
            .operate(&format!("/upstreams/{upstream}/resync"))
            .send();
        let answer = bounded("the resync", post).await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{status}: {text}");
    }

    /// The exposed names of all tools, in order, as a modern client sees them.
    pub async fn tool_names(&self) -> Vec<String> {
        self.modern().tool_names().await
    }

    /// Waits until the tools are these, in any order.
    pub async fn wait_tools<const N: usize>(&self, mut expected: [&str; N]) {
        expected.sort_unstable();
        let modern = self.modern();
        self.wait(&format!("{expected:?}"), async || {
            let mut names = modern.tool_names().await;
            names.sort();
            names == expected
        })
        .await;
    }

    async fn wait(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !condition().await {
                // Another process: nothing to be woken by.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            panic!("waited {BOUND:?} for {what}; weir said:\n{}", self.stderr());
        }
    }

    /// Stops weir and starts it again: same config, same ports, same state folder.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same, and changes something in its folder meanwhile.
    pub async fn restart_with(self, change: impl FnOnce(&std::path::Path)) -> Self {
        let Self {
            listen,
            admin,
            home,
            process,
            launch,
        } = self;
        process.stop().await;
        change(home.path());
        Self::launch(listen, admin, home, launch).await
    }

    async fn launch(listen: u16, admin: u16, home: tempfile::TempDir, launch: Launch) -> Self {
        let config = home.path().join("weir.yaml");
        let mut args = vec!["serve", "-c", config.to_str().unwrap()];
        args.extend(launch.args.iter().map(String::as_str));
        let variables = launch.env.clone();
        let process = Process::start_with(args, |command| {
            command.envs(variables);
        });
        let weir = Self {
            listen,
            admin,
            home,
            process,
            launch,
        };
        let ready = match weir.launch.has_tls {
            true => weir.admin_url("/readyz"),
            false => weir.path("/readyz"),
        };
        let http = pool();
        weir.wait("readiness", async || {
            assert!(weir.process.runs(), "weir ended:\n{}", weir.stderr());
            let answer = http.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        weir
    }
}

impl Builder {
    /// More YAML for one upstream: a line, or several.
    pub fn upstream(mut self, name: &str, yaml: &str) -> Self {
        let lines = self.upstreams.get_mut(name).expect("an upstream");
        lines.extend(yaml.lines().map(str::to_owned));
        self
    }

    /// More members of `listen:`, in flow style: `page_size: 2`.
    pub fn listen(mut self, members: &str) -> Self {
        self.listen = format!(", {members}");
        self
    }

    /// The same for a listener with TLS.
    pub fn secure(mut self, members: &str) -> Self {
        self.launch.has_tls = true;
        self.listen(members)
    }

    /// More at the top level: `naming: { max_length: 40 }`.
    pub fn top(mut self, yaml: &str) -> Self {
        self.top.push(yaml.to_owned());
        self
    }

    /// One more upstream, at this URL: another weir, or what stands before it.
    pub fn and(mut self, name: &str, url: &str) -> Self {
        let url = format!("url: \"{url}\"");
        self.upstreams.insert(name.to_owned(), vec![url]);
        self
    }

    /// Under this name in chains.
    pub fn instance(self, name: &str) -> Self {
        self.top(&format!("instance: {name}"))
    }

    /// Serves MCP on this port, which is `free_port`'s: for those who have to know it before.
    pub fn on(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With these variables in its environment.
    pub fn env<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let owned = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        self.launch.env.extend(owned);
        self
    }

    /// Weir reads its config again only when told.
    pub fn unwatched(mut self) -> Self {
        self.launch.args.push("--no-watch".to_owned());
        self
    }

    /// Keeps a state folder, so that `restart` finds it.
    pub fn state(self) -> Self {
        self.top("state: { dir: state }")
    }

    /// The config as text.
    pub fn yaml(&self, listen: u16, admin: u16) -> String {
        let members = &self.listen;
        let mut yaml = format!(
            "version: 1\nlisten: {{ address: \"127.0.0.1:{listen}\"{members} }}\n{}\n",
            admin_settings(admin)
        );
        for line in &self.top {
            yaml.push_str(line);
            yaml.push('\n');
        }
        yaml.push_str("upstreams:\n");
        for (name, lines) in &self.upstreams {
            yaml.push_str(&format!("  {name}:\n"));
            for line in lines {
                yaml.push_str(&format!("    {line}\n"));
            }
        }
        yaml.push_str(&self.written);
        yaml
    }

    /// Starts weir and waits until it is ready.
    pub async fn start(self) -> Weir {
        let written = |home: &Path, yaml: &str| std::fs::write(home.join("weir.yaml"), yaml);
        self.start_in(|home, yaml| written(home, yaml).unwrap())
            .await
    }

    /// The same, where `write` puts the config into its folder as `weir.yaml`, whatever that is.
    pub async fn start_in(self, write: impl FnOnce(&Path, &str)) -> Weir {
        let home = tempfile::tempdir().unwrap();
        // Fixed in the config, so that a restart keeps them.
        let (listen, admin) = (self.port.unwrap_or_else(free_port), free_port());
        write(home.path(), &self.yaml(listen, admin));
        Weir::launch(listen, admin, home, self.launch).await
    }
}

/// The token of operators in the tests' configs, for what changes something.
pub const ADMIN_TOKEN: &str = "of operators";

/// `admin:` as YAML: only what changes something needs [`ADMIN_TOKEN`].
pub fn admin_settings(port: u16) -> String {
    format!(
        "admin: {{ address: \"127.0.0.1:{port}\", token: {{ value: {ADMIN_TOKEN} }}, reading: open }}"
    )
}

/// The script of the stdio child.
pub fn child() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/child.py")
}

/// An upstream that is a stdio child, as YAML for [`Weir::with`]; `args` are the script's.
pub fn child_upstream(name: &str, args: &[&str]) -> String {
    let script = child();
    let mut all = vec![script.to_str().unwrap().to_owned()];
    all.extend(["--name".to_owned(), name.to_owned()]);
    all.extend(args.iter().map(|&arg| arg.to_owned()));
    let args = serde_json::to_string(&all).unwrap();
    format!("  {name}:\n    command: python3\n    args: {args}\n")
}
