//! No secret is shown: a weir with one upstream for each kind of `auth`, at the highest log level.
//! The servers repeat whatever they are sent.

mod parrot;
mod planted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use reqwest::Method;
use weir::credentials::oauth::store::{
    IssuedTokens, LoginParties, LoginStore, StoredClient, StoredLogin, TokenEndpointAuthMethod,
};
use weir::secret::Secret;
use weir::server::{Core, Options};

use crate::support::client::pool;
use crate::support::free_port;
use crate::support::weir::{Process, child};
use parrot::Parrot;
use planted::absent;

/// A folder with a config whose upstreams are the parrot.
struct Rig {
    home: tempfile::TempDir,
    parrot: Parrot,
    listen: u16,
    admin: u16,
    /// The secrets in the form in which they are sent or stored: base64.
    more: Vec<String>,
}

const ENV: [(&str, &str); 17] = [
    ("BEARER", planted::BEARER),
    ("HEADER", planted::HEADER),
    ("EXTRA", planted::EXTRA),
    ("PASSWORD", planted::PASSWORD),
    ("CLIENT", planted::CLIENT),
    ("SUBJECT", planted::SUBJECT),
    ("ACTOR", planted::ACTOR),
    ("KEY", planted::KEY),
    ("SESSION", planted::SESSION),
    ("CHILD", planted::CHILD),
    ("ADMIN", planted::ADMIN),
    ("SEALING", planted::SEALING),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", planted::CHAIN),
    ("AWS_SESSION_TOKEN", planted::SESSION),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// The upstreams that are reached at first.
const FINE: [&str; 11] = [
    "bearer",
    "header",
    "basic",
    "signed",
    "basic-client",
    "post-client",
    "key-client",
    "exchange",
    "code",
    "identity",
    "stored",
];

impl Rig {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (key, parrot) = (KeyPair::generate().unwrap(), Parrot::start().await);
        let pem = key.serialize_pem();
        let cert = rcgen::CertificateParams::new(vec!["weir".to_owned()]).unwrap();
        let cert = cert.self_signed(&key).unwrap().pem();
        std::fs::write(home.path().join("key.pem"), &pem).unwrap();
        std::fs::write(home.path().join("cert.pem"), cert).unwrap();
        let inside = pem.lines().filter(|line| !line.starts_with("--"));
        let mut more: Vec<String> = inside.map(str::to_owned).collect();
        let pairs = [("me", planted::PASSWORD), ("weir", planted::CLIENT)];
        more.extend(pairs.map(|(id, secret)| STANDARD.encode(format!("{id}:{secret}"))));
        let rig = Self {
            home,
            parrot,
            listen: free_port(),
            admin: free_port(),
            more,
        };
        std::fs::write(rig.config(), rig.yaml()).unwrap();
        rig.log_in().await;
        rig
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("weir.yaml")
    }

    #[allow(clippy::too_many_lines, reason = "one upstream for each way to log in")]
    fn yaml(&self) -> String {
        let parrot = |path: &str| self.parrot.url(path);
        let mut yaml = format!(
            "version: 1\nlisten: {{ address: 127.0.0.1:{} }}\nadmin: {{ address: 127.0.0.1:{}, token: {{ env: ADMIN }} }}\nstate: {{ dir: state }}\nsealing_key: {{ env: SEALING }}\ndefaults: {{ resync: 1h, timeouts: {{ list: 3s, call: 3s }} }}\nupstreams:\n",
            self.listen, self.admin
        );
        let mut add = |name: &str, auth: &str| {
            let url = parrot(&format!("/{name}/mcp"));
            yaml.push_str(&format!("  {name}: {{ url: \"{url}\", auth: {{ {auth} }}, headers: {{ X-Extra: {{ env: EXTRA }} }} }}\n"));
        };
        add("bearer", "type: bearer, token: { env: BEARER }");
        add(
            "header",
            "type: header, name: x-api-key, value: { env: HEADER }",
        );
        add(
            "basic",
            "type: basic, username: me, password: { env: PASSWORD }",
        );
        add(
            "signed",
            "type: sigv4, region: eu-west-1, access_key_id: AKIDOWN, secret_access_key: { env: KEY }, session_token: { env: SESSION }",
        );
        let client = |path: &str, more: &str| {
            format!(
                "type: oauth2_client_credentials, client_id: weir, token_url: \"{}\", {more}",
                parrot(path)
            )
        };
        let secret = "client_secret: { env: CLIENT }";
        let post = format!("{secret}, client_authentication: client_secret_post");
        let key = "private_key: { file: key.pem }";
        add("basic-client", &client("/token", secret));
        add("post-client", &client("/token", &post));
        add("key-client", &client("/token", key));
        let exchange = |path: &str| {
            format!(
                "type: oauth2_token_exchange, client_id: weir, {secret}, token_url: \"{}\", subject_token: {{ env: SUBJECT }}, actor_token: {{ env: ACTOR }}",
                parrot(path)
            )
        };
        add("exchange", &exchange("/token"));
        add(
            "code",
            "type: oauth2_authorization_code, client_id: weir, client_secret: { env: CLIENT }",
        );
        add(
            "identity",
            "type: agentcore_identity, workload: w, provider: p, region: eu-west-1, scopes: [a]",
        );
        add(
            "stored",
            "type: bearer, token: { aws_secret: { id: weir, region: eu-west-1 } }",
        );
        // It is never accepted.
        add("denied", &client("/deny", secret));
        add("denied_post", &client("/deny", &post));
        add("broken", &client("/broken", key));
        add("garbled", &client("/garbled", secret));
        add("denied_exchange", &exchange("/deny"));
        add(
            "no_key",
            "type: agentcore_identity, workload: w, provider: p, region: eu-west-1, api_key: { header: x-api-key }",
        );
        let tls = self.parrot.port();
        yaml.push_str(&format!(
            "  tls: {{ url: \"https://127.0.0.1:{tls}/tls/mcp\", tls: {{ cert: cert.pem, key: {{ file: key.pem }} }}, auth: {{ type: bearer, token: {{ env: BEARER }} }} }}\n"
        ));
        yaml.push_str(&format!(
            "  kid: {{ command: python3, args: [\"{}\", \"--name\", \"kid\", \"--tools\", \"crash\"], env: {{ GIVEN: {{ env: CHILD }} }} }}\n",
            child().display()
        ));
        yaml
    }

    /// A login whose access token has expired, so that the refresh token is used.
    async fn log_in(&self) {
        let store = LoginStore::new(&self.home.path().join("state"));
        let issuer = self.parrot.url("");
        let lock = store
            .lock("code", &issuer, Duration::from_secs(1))
            .await
            .unwrap();
        let url = |path: &str| self.parrot.url(path).parse().unwrap();
        let parties = LoginParties {
            upstream: "code".to_owned(),
            url: url("/code/mcp"),
            issuer,
            token_endpoint: url("/token"),
            resource: self.parrot.url("/code/mcp"),
            client: StoredClient {
                id: "weir".to_owned(),
                secret: None,
                method: TokenEndpointAuthMethod::Config,
            },
        };
        let tokens = IssuedTokens {
            access: Secret::new(planted::ACCESS),
            refresh: Some(Secret::new(planted::REFRESH)),
            lifetime: Some(Duration::ZERO),
        };
        let record = StoredLogin::new(parties, Vec::new(), tokens);
        lock.draft().unwrap().commit(&record).unwrap();
    }

    fn run(&self, args: &[&str], format: &str) -> Process {
        let config = self.config();
        let args = args.iter().copied().chain(["-c", config.to_str().unwrap()]);
        let endpoint = self.parrot.url("");
        Process::start_with(args, |command| {
            command
                .envs(ENV)
                .env("AWS_ENDPOINT_URL", endpoint)
                .env("WEIR_LOG", "trace")
                .env("WEIR_LOG_FORMAT", format)
                .env("RUST_BACKTRACE", "1");
        })
    }

    async fn admin(&self, method: Method, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        let asked = pool().request(method, url).bearer_auth(planted::ADMIN);
        let answer = asked.send().await.unwrap();
        format!(
            "{:?}\n{}",
            answer.headers().clone(),
            answer.text().await.unwrap()
        )
    }

    async fn call(&self, tool: &str) -> String {
        let client =
            crate::support::client::Modern::new(format!("http://127.0.0.1:{}/mcp", self.listen));
        let reply = client.call(tool, "{}").await;
        String::from_utf8_lossy(&reply.body).into_owned()
    }

    async fn ready(&self, process: &Process) {
        let url = format!("http://127.0.0.1:{}/readyz", self.listen);
        loop {
            assert!(process.runs(), "{}", process.stderr());
            let answer = pool().get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The arguments of a process and of all its descendants.
fn arguments(of: u32) -> String {
    let read = |pid: u32, what: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default()
    };
    let mut all = read(of, "cmdline");
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if read(pid, "status").contains(&format!("PPid:\t{of}\n")) {
            all.push_str(&arguments(pid));
        }
    }
    all
}

/// All files of the state folder except the logins, which contain secrets and are readable by their
/// owner only.
fn state(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{path:?}");
        if metadata.is_dir() {
            let logins = path.file_name().unwrap() == "oauth";
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0);
                if !logins {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    all.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    all
}

#[tokio::test]
async fn no_secret_shows_wherever_weir_says_something() {
    for format in ["text", "json"] {
        let rig = Rig::new().await;
        let more = &rig.more;
        let weir = rig.run(&["serve"], format);
        rig.ready(&weir).await;
        // Every upstream that is reached works, so all those secrets were really used.
        for name in FINE {
            let said = rig.call(&format!("{name}__search")).await;
            assert!(
                said.contains("up.search"),
                "{name}: {said}\n{}",
                weir.stderr()
            );
        }
        absent("a process argument", &arguments(weir.pid()), more);
        rig.parrot.turns_bad();
        for name in FINE.repeat(7) {
            let said = rig.call(&format!("{name}__search")).await;
            // An upstream's own JSON-RPC error is meant for its caller and forwarded unchanged.
            if !said.contains("-32001") {
                absent("an answer", &said, more);
            }
        }
        absent("an answer", &rig.call("kid__crash").await, more);
        for name in FINE
            .into_iter()
            .chain(["tls", "denied", "broken", "garbled"])
        {
            let path = format!("/upstreams/{name}/resync");
            absent(
                "an answer to resync",
                &rig.admin(Method::POST, &path).await,
                more,
            );
        }
        for path in ["/upstreams", "/catalog", "/metrics", "/nothing"] {
            absent(path, &rig.admin(Method::GET, path).await, more);
        }
        assert!(rig.parrot.told() > 100, "{}", rig.parrot.told());
        absent(
            "the state folder",
            &state(&rig.home.path().join("state")),
            more,
        );
        weir.signal(rustix::process::Signal::INT);
        let (_, out, err) = weir.wait_exit().await;
        assert!(err.contains("TRACE"), "not at the highest level");
        absent("stdout", &out, more);
        absent("stderr", &err, more);
    }
}

#[tokio::test]
async fn no_secret_shows_in_a_check() {
    let rig = Rig::new().await;
    rig.parrot.turns_bad();
    for args in [
        &["check"][..],
        &["check", "--online"],
        &["check", "--online", "--json"],
        &["tools"],
    ] {
        let (_, out, err) = rig.run(args, "text").wait_exit().await;
        assert!(!out.is_empty() || !err.is_empty());
        absent("stdout", &out, &rig.more);
        absent("stderr", &err, &rig.more);
    }
    let (key, held) = ("BEARER", planted::BEARER);
    let broken = rig.yaml().replace("type: bearer", "type: baerer");
    std::fs::write(rig.config(), broken).unwrap();
    let (_, out, err) = rig.run(&["check"], "text").wait_exit().await;
    assert!(err.contains("did you mean `bearer`"), "{key} {held} {err}");
    absent("errors of the config", &format!("{out}{err}"), &rig.more);
}

#[tokio::test]
async fn a_config_does_not_print_its_secrets() {
    let rig = Rig::new().await;
    let env = |name: &str| {
        let found = ENV.iter().find(|(key, _)| *key == name);
        found.map(|(_, text)| (*text).to_owned())
    };
    let config = weir::config::load(&rig.config(), &env).unwrap();
    // The text that a panic would print.
    absent("Debug", &format!("{config:?} {config:#?}"), &rig.more);
}

#[tokio::test]
async fn a_panic_over_all_that_runs_prints_no_secret() {
    let rig = Rig::new().await;
    let env = |name: &str| {
        let found = ENV.iter().find(|(key, _)| *key == name);
        found.map(|(_, text)| (*text).to_owned())
    };
    let config = weir::config::load(&rig.config(), &env).unwrap();
    let core = Core::start(Arc::new(config), &Options::default()).await;
    let core = core.unwrap();
    core.settled().await;
    let snapshot = core.live().load_full();
    // By now, fetched tokens are in use too, not only the secrets of the config.
    let granted = |name: &str| {
        let link = snapshot
            .links()
            .iter()
            .find(|link| link.id().as_str() == name);
        link.unwrap()
            .credentials()
            .unwrap()
            .request_counts()
            .granted
    };
    assert!(granted("basic-client") > 0 && granted("exchange") > 0 && granted("code") > 0);
    let shown = Arc::clone(&snapshot);
    let panicking = std::thread::spawn(move || panic!("{shown:?} {shown:#?}"));
    let said = panicking.join().unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("basic-client") && said.contains("TokenSource"));
    absent("a panic", &said, &rig.more);
    core.stop().await;
}
