//! A setup: upstreams, and the subjects in front of them, all up at the same time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::http1::Connection;
use crate::processes::Process;
use crate::procfs;
use crate::tools;
use crate::transport::Transport;
use crate::upstream::UpstreamEras;
use crate::weirs::{self, WeirSettings};

const READY_LIMIT: Duration = Duration::from_secs(30);
/// After it is ready, a subject is left alone this long before its idle memory is read.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// No proxy
    Direct,
    /// Bytes forwarded unread
    Forward,
    /// The least an MCP router must do
    Route,
    Weir,
    /// weir over `saas` upstreams, which it reaches with another HTTP client
    Saas,
    /// The same, with each request signed (SigV4)
    Sigv4,
    /// weir, whose callers have API keys
    Keys,
    /// weir, whose callers have tokens
    Tokens,
    /// The same, with a token at each call that was not seen lately
    NewTokens,
    /// weir, whose callers have tokens, under policies that tell classes of callers apart
    Classes,
    /// The same, under policies that read the arguments of the tools that are called
    Arguments,
    /// weir, called in HTTP/2
    Http2,
    /// weir, called over TLS
    Tls,
    /// weir, which records a tenth of the calls as spans
    Sampled,
    /// weir, which records every call as spans
    Traced,
    /// The same, and nobody takes the spans
    Unheard,
    /// weir, which counts requests against a rate
    Limited,
    /// weir, which checks arguments against schemas
    Validated,
    /// weir, which looks for every kind of data that it can find, on both ways
    Redacted,
    /// weir, which keeps records in a file
    Recorded,
    /// weir, which asks a hook about each request
    Hooked,
    /// weir with all of these, spans and policies on arguments; without the hook
    Everything,
}

impl Kind {
    /// Those that every part measures.
    pub(crate) const USUAL: [Self; 4] = [Self::Direct, Self::Forward, Self::Route, Self::Weir];

    const fn is_weir(self) -> bool {
        !matches!(self, Self::Direct | Self::Forward | Self::Route)
    }
}

/// The number of upstreams, and their answers.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) servers: usize,
    pub(crate) tools: usize,
    /// One server with all those tools besides, which `direct` and `forward` list.
    pub(crate) one_with_all: bool,
    /// Tools per page of the upstreams' lists; 0 for one page.
    pub(crate) page_size: usize,
    /// The same of weir's lists; 0 leaves it to weir.
    pub(crate) weir_page_size: usize,
    pub(crate) speaks: UpstreamEras,
    pub(crate) sse: bool,
    /// weir has an admin listener, whose gauges are read, and gives a call half a second.
    pub(crate) watched: bool,
    /// weir stores listings.
    pub(crate) stores: bool,
    /// As many calls of one upstream may wait for their callers as of all. A call has its usual time.
    pub(crate) parks: bool,
}

/// Where this run keeps weir's files, and which weir it is.
#[derive(Clone)]
pub(crate) struct RunFiles {
    pub(crate) weir: PathBuf,
    /// The program and the arguments that weir is run by; empty for itself.
    pub(crate) under: Vec<String>,
    /// Put at the end of each of weir's configurations.
    pub(crate) more_config: String,
    pub(crate) folder: PathBuf,
}

/// Where callers connect, and what they call there in turn.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tools: Vec<String>,
    /// The credentials that callers present, each another one in turn; empty without any.
    pub(crate) credentials: Rc<[String]>,
    /// Each call presents another credential of the same caller.
    pub(crate) presents_new: bool,
    pub(crate) transport: Transport,
}

impl Target {
    /// The credential of caller number `number`.
    pub(crate) fn credential(&self, number: usize) -> Option<&str> {
        let count = self.credentials.len().max(1);
        self.credentials.get(number % count).map(String::as_str)
    }
}

pub(crate) struct Subject {
    pub(crate) kind: Kind,
    /// Caller `k` uses target `k % targets.len()`.
    pub(crate) targets: Rc<[Target]>,
    pub(crate) catalog: Rc<Catalog>,
    pub(crate) process: Option<Process>,
    pub(crate) idle: procfs::Memory,
    /// Where weir's metrics are, if it is watched.
    pub(crate) admin: Option<SocketAddr>,
}

pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) upstream: Process,
    /// One port per server; with `one_with_all` that server's port is the last.
    pub(crate) ports: Vec<u16>,
    pub(crate) subjects: Vec<Subject>,
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Returns the prefix that weir, and `route`, give to the names of upstream number `number`.
fn prefix(number: usize) -> String {
    format!("u{number:02}__")
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp")
}

impl Setup {
    /// Starts the upstreams, and in front of them a subject of each kind.
    pub(crate) async fn start(
        run_files: &RunFiles,
        shape: Shape,
        kinds: &[Kind],
    ) -> Result<Self, String> {
        let (upstream, ports) = start_upstream(&shape).await?;
        let mut setup = Self {
            shape,
            upstream,
            ports,
            subjects: Vec::new(),
        };
        for kind in kinds {
            let mut subject = setup.subject(run_files, *kind).await?;
            if kind.is_weir() {
                wait_until_ready(run_files, &mut subject).await?;
            }
            setup.subjects.push(subject);
        }
        tokio::time::sleep(SETTLE).await;
        for subject in &mut setup.subjects {
            subject.idle = subject.memory();
        }
        Ok(setup)
    }

    /// Starts one subject; weir need not be ready yet.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all other kinds are weirs")]
    pub(crate) async fn subject(
        &self,
        run_files: &RunFiles,
        kind: Kind,
    ) -> Result<Subject, String> {
        let servers = self.ports.get(..self.shape.servers).unwrap_or_default();
        let prefixes: Vec<String> = (0..servers.len()).map(prefix).collect();
        let (one, tools_of_one) = if self.shape.one_with_all {
            (self.ports.last(), self.shape.servers * self.shape.tools)
        } else {
            (servers.first(), self.shape.tools)
        };
        let one = one.copied().unwrap_or(0);
        let bare = Catalog::of(&[String::new()], tools_of_one);
        let echo = |prefix: &str| format!("{prefix}{}", tools::ECHO);
        let echoes: Vec<String> = prefixes.iter().take(2).map(|prefix| echo(prefix)).collect();
        let mut admin = None;
        let (process, targets, catalog) = match kind {
            Kind::Direct => (None, self.direct(one, servers, echo("")), bare),
            Kind::Forward => {
                let arguments = ["forward".into(), "--to".into(), url(one)];
                let (process, ports) = Process::helper(&arguments).await?;
                (Some(process), target(ports, vec![echo("")]), bare)
            }
            Kind::Route => {
                let way = |(prefix, port): (&String, &u16)| format!("{prefix}={}", url(*port));
                let ways: Vec<_> = prefixes.iter().zip(servers).map(way).collect();
                let arguments = ["route".into(), "--to".into(), ways.join(",")];
                let (process, ports) = Process::helper(&arguments).await?;
                (Some(process), target(ports, echoes), bare)
            }
            weir => {
                admin = self.admin()?;
                let (process, port) = self.weir(run_files, weir, servers, admin).await?;
                let merged = Catalog::of(&prefixes, self.shape.tools);
                (Some(process), target(vec![port], echoes), merged)
            }
        };
        let credentials = weirs::credentials(kind, &run_files.folder);
        let transport = match kind {
            Kind::Tls => Transport::tls(&run_files.folder)?,
            Kind::Http2 => Transport::Http2,
            _ => Transport::Plain,
        };
        let targets = targets.into_iter().map(|(port, tools)| Target {
            address: local(port),
            tools,
            credentials: Rc::clone(&credentials),
            presents_new: kind == Kind::NewTokens,
            transport: transport.clone(),
        });
        Ok(Subject {
            kind,
            targets: targets.collect(),
            catalog: Rc::new(catalog),
            process,
            idle: procfs::Memory::default(),
            admin,
        })
    }

    /// Where callers connect without a proxy: the one server that has all tools, or the first two.
    fn direct(&self, one: u16, servers: &[u16], echo: String) -> Vec<(u16, Vec<String>)> {
        let alone = [one];
        let ports = if self.shape.one_with_all {
            &alone
        } else {
            servers
        };
        let ports = ports.iter().take(2);
        ports.map(|port| (*port, vec![echo.clone()])).collect()
    }

    /// Where a watched weir's admin listener will be.
    fn admin(&self) -> Result<Option<SocketAddr>, String> {
        let port = self.shape.watched.then(free_port).transpose();
        let port = port.map_err(|error| format!("a free port: {error}"))?;
        Ok(port.map(local))
    }

    /// Starts weir with a configuration for these upstreams: nothing stored.
    async fn weir(
        &self,
        run_files: &RunFiles,
        kind: Kind,
        servers: &[u16],
        admin: Option<SocketAddr>,
    ) -> Result<(Process, u16), String> {
        let port = free_port().map_err(|error| format!("a free port: {error}"))?;
        let page_size = match self.shape.weir_page_size {
            0 => String::new(),
            size => format!(", page_size: {size}"),
        };
        let watched = admin.map_or_else(String::new, |admin| {
            format!("admin: {{ address: \"{admin}\", token: {{ value: bench }}, reading: open }}\n")
        });
        let more = match self.shape.parks {
            true => ", limits: { parked: 4096 }",
            false if admin.is_some() => ", timeouts: { call: 500ms }",
            false => "",
        };
        let helper = servers.first().copied().unwrap_or(1);
        let settings = WeirSettings::of(kind, helper).ok_or("no weir")?;
        let WeirSettings { listen, top, .. } = &settings;
        let mut config = format!(
            "version: 1\nlisten: {{ address: \"127.0.0.1:{port}\"{page_size}{listen} }}\n{watched}{top}upstreams:\n"
        );
        for (number, server) in servers.iter().enumerate() {
            config += &format!(
                "  u{number:02}: {{ {}, url: \"{}\"{more} }}\n",
                settings.upstream,
                url(*server)
            );
        }
        if self.shape.stores {
            config += &format!("state: {{ dir: {:?} }}\n", self.state(run_files));
        }
        config += &run_files.more_config;
        let file = run_files.folder.join(format!("weir-{port}.yaml"));
        std::fs::write(&file, config).map_err(|error| format!("{}: {error}", file.display()))?;
        let arguments = [
            "serve".into(),
            "-c".into(),
            file.to_string_lossy().into_owned(),
        ];
        let log = file.with_extension("log");
        let weir = run_files.weir.to_string_lossy().into_owned();
        let mut words = run_files
            .under
            .iter()
            .cloned()
            .chain([weir])
            .chain(arguments);
        let program = words.next().unwrap_or_default();
        let arguments: Vec<_> = words.collect();
        let process = Process::guarded(Path::new(&program), &arguments, &log).await?;
        Ok((process, port))
    }

    fn state(&self, run_files: &RunFiles) -> PathBuf {
        run_files
            .folder
            .join(format!("state-{}", self.upstream.pid))
    }

    /// Waits until weir has stored what each upstream lists, and stops it and all upstreams. From now on nothing answers
    /// at their addresses.
    pub(crate) async fn bereave(&mut self, run_files: &RunFiles) -> Result<(), String> {
        let stored = self.state(run_files).join("listings");
        let since = Instant::now();
        while std::fs::read_dir(&stored).map_or(0, Iterator::count) < self.shape.servers {
            if since.elapsed() > READY_LIMIT {
                return Err("weir did not store its listings".into());
            }
            tokio::time::sleep(SETTLE).await;
        }
        tokio::time::sleep(SETTLE).await;
        for subject in self.subjects.drain(..) {
            subject.stop().await;
        }
        self.upstream.end().await;
        Ok(())
    }

    pub(crate) async fn stop(self) {
        for subject in self.subjects {
            subject.stop().await;
        }
        self.upstream.stop().await;
    }
}

fn target(ports: Vec<u16>, tools: Vec<String>) -> Vec<(u16, Vec<String>)> {
    ports
        .into_iter()
        .map(|port| (port, tools.clone()))
        .collect()
}

async fn start_upstream(shape: &Shape) -> Result<(Process, Vec<u16>), String> {
    let mut counts = vec![shape.tools.to_string(); shape.servers];
    if shape.one_with_all {
        counts.push((shape.servers * shape.tools).to_string());
    }
    let speaks = shape.speaks.to_possible_value();
    let mut arguments = vec![
        "upstream".to_owned(),
        format!("--servers={}", counts.join(",")),
        format!("--page-size={}", shape.page_size),
        format!(
            "--speaks={}",
            speaks.as_ref().map_or("both", |value| value.get_name())
        ),
    ];
    arguments.extend(shape.sse.then(|| "--sse".to_owned()));
    Process::helper(&arguments).await
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Waits for `GET /readyz` to say 200.
async fn wait_until_ready(run_files: &RunFiles, weir: &mut Subject) -> Result<(), String> {
    let since = Instant::now();
    let mut last = String::from("nothing");
    while since.elapsed() < READY_LIMIT {
        if weir.process.as_mut().is_some_and(Process::has_ended) {
            return Err(format!(
                "weir ended at once; it said:\n{}",
                weir.log(&run_files.folder)
            ));
        }
        match weir.readiness().await {
            Ok(200) => return Ok(()),
            Ok(status) => last = format!("HTTP {status}"),
            Err(error) => last = error,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = weir.log(&run_files.folder);
    Err(format!(
        "weir was not ready in {READY_LIMIT:?} ({last}); it said:\n{log}"
    ))
}

impl Subject {
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    pub(crate) fn memory(&self) -> procfs::Memory {
        self.pid().map(procfs::memory).unwrap_or_default()
    }

    /// The status of `GET /readyz`.
    pub(crate) async fn readiness(&self) -> Result<u16, String> {
        let Target {
            address, transport, ..
        } = &self.targets[0];
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let mut connection = Connection::over(*address, transport.clone());
        let answer = connection.exchange(request.as_bytes(), None).await?;
        Ok(answer.status)
    }

    /// Reads the metrics of a watched weir: name and value of each gauge without labels, and of those per
    /// upstream the sum.
    pub(crate) async fn gauges(&self) -> Result<BTreeMap<String, f64>, String> {
        let address = self.admin.ok_or("weir is not watched")?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let mut connection = Connection::new(address);
        connection.exchange(request.as_bytes(), None).await?;
        let text = String::from_utf8_lossy(connection.message()).into_owned();
        let mut gauges = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let value = line
                .rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok());
            *gauges.entry(name.to_owned()).or_default() += value.unwrap_or(f64::NAN);
        }
        Ok(gauges)
    }

    /// The end of what weir logged.
    fn log(&self, folder: &Path) -> String {
        let port = self
            .targets
            .first()
            .map_or(0, |target| target.address.port());
        let text = std::fs::read_to_string(folder.join(format!("weir-{port}.log")));
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(20)..)
            .unwrap_or_default()
            .join("\n")
    }

    pub(crate) async fn stop(self) {
        if let Some(process) = self.process {
            process.stop().await;
        }
    }
}
