//! Callers that log in with API keys, with client certificates, or through a platform in front.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::task::TaskTracker;

use crate::support::client::{MODERN, Modern};
use crate::support::ran;
use crate::support::socket::{Socket, posting};
use crate::support::tls::{Ca, Client, Pair};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::support::{BOUND, bounded};

async fn jira() -> Upstream {
    Upstream::named("jira").tools(["search"]).start().await
}

/// A pool whose requests carry these headers.
fn pool(pairs: &[(&str, &str)], from: Option<IpAddr>) -> reqwest::Client {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let builder = reqwest::Client::builder()
        .no_proxy()
        .default_headers(headers);
    builder.local_address(from).build().unwrap()
}

/// The status that a call gets.
async fn status(modern: &Modern) -> u16 {
    modern.call("jira__search", "{}").await.status
}

/// The status of a call with these header lines, as they are, from this address.
async fn raw_status(weir: &Weir, from: IpAddr, lines: &[&str]) -> u16 {
    let modern = weir.modern();
    let ask = modern.ask("tools/call", r#"{"name":"jira__search","arguments":{}}"#);
    let mut head = vec![
        "content-type: application/json".to_owned(),
        "accept: application/json, text/event-stream".to_owned(),
        format!("mcp-protocol-version: {MODERN}"),
        "mcp-method: tools/call".to_owned(),
        "mcp-name: jira__search".to_owned(),
    ];
    head.extend(lines.iter().map(|line| (*line).to_owned()));
    let mut socket = Socket::connect_from(from, weir.port()).await;
    assert!(socket.send(posting(&head, &ask.body())).await);
    socket.answer().await.expect("an answer").status
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Waits for a status.
async fn becomes(modern: &Modern, expected: u16) {
    let until = Instant::now() + BOUND;
    while status(modern).await != expected {
        assert!(Instant::now() < until, "it never became {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Weir with API keys, whose config and keys are in this folder.
struct Keys {
    folder: tempfile::TempDir,
    weir: Weir,
    jira: Upstream,
}

impl Keys {
    async fn start() -> Self {
        Self::start_with([]).await
    }

    /// The same with these variables in weir's environment.
    async fn start_with<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callers.yaml");
        let auth = format!("auth: {{ api_keys: {{ file: '{}' }} }}", file.display());
        let text = format!("listen: {{ {auth} }}\nupstreams: {{}}\n");
        std::fs::write(folder.path().join("keys.yaml"), text).unwrap();
        replace(&file, "{}\n");
        let jira = jira().await;
        let variables = variables.map(|(name, value)| (name, value.to_owned()));
        let listen = format!("keep_alive: 500ms, {auth}");
        let weir = Weir::over([&jira]).listen(&listen).env(variables);
        let weir = weir.start().await;
        Self { folder, weir, jira }
    }

    async fn key(&self, args: &[&str]) -> String {
        let config = self.folder.path().join("keys.yaml");
        let mut all = vec!["key"];
        all.extend(args);
        all.extend(["-c", config.to_str().unwrap()]);
        let ran = ran::weir(all).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out.trim_end().to_owned()
    }

    fn modern(&self, key: &str) -> Modern {
        let sent = format!("Bearer {key}");
        Modern::over(pool(&[("authorization", &sent)], None), self.weir.url())
    }
}

#[tokio::test]
async fn a_key_lets_its_caller_in_until_it_is_revoked() {
    let rig = Keys::start().await;
    assert_eq!(status(&rig.weir.modern()).await, 401);
    let key = rig.key(&["new", "ci", "--subject", "builds"]).await;
    let modern = rig.modern(&key);
    becomes(&modern, 200).await;
    let mut misspelt = key.clone();
    misspelt.replace_range(20..21, if &key[20..21] == "a" { "b" } else { "a" });
    for wrong in [&*misspelt, "weir_ci_", "weir", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(status(&rig.modern(wrong)).await, 401, "{wrong}");
    }
    // A key is in one place only.
    let in_query = format!("{}?access_token={key}", rig.weir.url());
    assert_eq!(status(&Modern::over(pool(&[], None), in_query)).await, 400);
    let sent = format!("authorization: Bearer {key}");
    let here = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(raw_status(&rig.weir, here, &[&sent]).await, 200);
    assert_eq!(raw_status(&rig.weir, here, &[&sent, &sent]).await, 400);
    rig.key(&["revoke", "ci"]).await;
    becomes(&modern, 401).await;
    // A broken file changes nothing, and is told with its line.
    let key = rig.key(&["new", "ci"]).await;
    let modern = rig.modern(&key);
    becomes(&modern, 200).await;
    replace(
        &rig.folder.path().join("callers.yaml"),
        "ci: { subject: a }\n",
    );
    rig.weir.wait_stderr("callers.yaml:1:").await;
    rig.weir
        .wait_stderr("the API keys from before stay in force")
        .await;
    assert_eq!(status(&modern).await, 200);
    let said = rig.weir.stderr();
    assert!(!said.contains(&key[8..]), "{said}");
}

#[tokio::test]
async fn a_file_of_keys_that_everybody_may_write_is_warned_of() {
    let rig = Keys::start().await;
    let file = rig.folder.path().join("callers.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    rig.key(&["new", "ci"]).await;
    rig.weir
        .wait_stderr("everybody on this machine may write the file of API keys")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_under_load_without_a_failed_call() {
    let rig = Keys::start().await;
    let mut key = rig.key(&["new", "k0", "--subject", "builds"]).await;
    becomes(&rig.modern(&key), 200).await;
    for round in 1..=3 {
        let (stop, calls) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let tasks = TaskTracker::new();
        let next = rig
            .key(&["new", &format!("k{round}"), "--subject", "builds"])
            .await;
        becomes(&rig.modern(&next), 200).await;
        // Half of the callers have the new key already.
        for number in 0..8 {
            let modern = rig.modern(if number % 2 == 0 { &key } else { &next });
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(status(&modern).await, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tasks.close();
        // The file is rewritten meanwhile, with other keys.
        for other in ["x", "y"] {
            rig.key(&["new", other]).await;
            rig.key(&["revoke", other]).await;
        }
        bounded("some calls", async {
            while calls.load(Ordering::Relaxed) < 50 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        tasks.wait().await;
        rig.key(&["revoke", &format!("k{}", round - 1)]).await;
        becomes(&rig.modern(&key), 401).await;
        assert_eq!(status(&rig.modern(&next)).await, 200);
        key = next;
    }
}

#[tokio::test]
async fn a_key_reaches_no_log_no_metric_and_no_upstream() {
    let rig = Keys::start_with([("WEIR_LOG", "trace")]).await;
    let key = rig.key(&["new", "ci"]).await;
    let modern = rig.modern(&key);
    becomes(&modern, 200).await;
    let sent = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, sent)]);
    let http2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    let http2 = http2.default_headers(headers).build().unwrap();
    assert_eq!(status(&Modern::over(http2, rig.weir.url())).await, 200);
    // Wrong ones are not told either: a misspelt key is nearly the right one.
    let other = if &key[30..31] == "x" { "y" } else { "x" };
    let misspelt = format!("{}{other}{}", &key[..30], &key[31..]);
    assert_eq!(status(&rig.modern(&misspelt)).await, 401);
    rig.weir.wait_stderr("its checksum is wrong").await;
    assert_eq!(status(&rig.modern(&misspelt[..50])).await, 401);
    let in_query = format!("{}?access_token={key}", rig.weir.url());
    assert_eq!(status(&Modern::over(pool(&[], None), in_query)).await, 400);
    let metrics = rig.weir.admin_url("/metrics");
    let metrics = pool(&[], None).get(metrics).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = "weir_caller_refusals_total{reason=\"malformed\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    let places = [
        ("the log", rig.weir.stderr()),
        ("the metrics", metrics),
        ("the upstream", format!("{:?}", rig.jira.log().seen())),
    ];
    for (place, text) in places {
        // The secret, and either half of it.
        for part in [&key[8..29], &key[31..51]] {
            assert!(!text.contains(part), "{place} has {part}");
        }
    }
}

/// Weir with client certificates.
struct Certificates {
    folder: tempfile::TempDir,
    servers: Ca,
    callers: Ca,
    weir: Weir,
    jira: Upstream,
}

impl Certificates {
    /// `more` are other members of `client_certificates`, `ways` of `auth`.
    async fn start(more: &str, ways: &str) -> Self {
        Self::listening("", more, ways).await
    }

    /// The same with other members of `listen` before them.
    async fn listening(first: &str, more: &str, ways: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (servers, callers) = (Ca::new("servers"), Ca::new("callers"));
        let pair = servers.server("localhost");
        let files = [
            ("cert.pem", &pair.cert),
            ("key.pem", &pair.key),
            ("callers.pem", &callers.pem),
            ("revoked.pem", &callers.revoke(&[])),
        ];
        for (name, text) in files {
            replace(&folder.path().join(name), text);
        }
        let at = folder.path().display();
        let listen = format!(
            "{first}tls: {{ cert: {at}/cert.pem, key: {{ file: {at}/key.pem }} }}, \
             auth: {{ client_certificates: {{ ca: {at}/callers.pem, crl: {at}/revoked.pem{more} }}{ways} }}"
        );
        let jira = jira().await;
        let weir = Weir::over([&jira]).secure(&listen).start().await;
        Self {
            folder,
            servers,
            callers,
            weir,
            jira,
        }
    }

    fn client(&self, pair: Option<&Pair>) -> Client {
        let client = Client::of(&self.servers);
        match pair {
            Some(pair) => client.with(pair),
            None => client,
        }
    }

    fn modern(&self, pair: Option<&Pair>) -> Modern {
        Modern::over(self.client(pair).pool(), self.weir.secure_url())
    }

    /// Whether a connection with this certificate comes to be and is used.
    async fn connects(&self, pair: Option<&Pair>) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let Ok(mut stream) = self.client(pair).connect(self.weir.port()).await else {
            return false;
        };
        let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut read = [0; 12];
        stream.write_all(ask).await.is_ok() && stream.read_exact(&mut read).await.is_ok()
    }
}

#[tokio::test]
async fn a_certificate_of_the_callers_authority_is_a_caller() {
    let rig = Certificates::start("", "").await;
    let good = rig.callers.workload("spiffe://corp.example/billing", 7);
    assert_eq!(status(&rig.modern(Some(&good))).await, 200);
    // Without one there is a connection, and no caller.
    assert_eq!(status(&rig.modern(None)).await, 401);
    let others = [
        (
            Ca::new("another").client("a.example"),
            "is from an unknown CA",
        ),
        (rig.callers.expired("a.example"), "has expired"),
        (rig.callers.server("a.example"), "is not for clients"),
    ];
    for (pair, reason) in others {
        assert!(!rig.connects(Some(&pair)).await, "{reason}");
        rig.weir
            .wait_stderr(&format!("the caller's certificate {reason}"))
            .await;
    }
}

#[tokio::test]
async fn a_certificate_may_be_required() {
    let rig = Certificates::start(", required: true", "").await;
    let good = rig.callers.client("a.example");
    assert!(rig.connects(Some(&good)).await);
    assert!(!rig.connects(None).await);
    rig.weir
        .wait_stderr("`listen.auth.client_certificates.required` is set")
        .await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_on_open_connections_too() {
    let rig = Certificates::start("", "").await;
    let (one, two) = (
        rig.callers.workload("spiffe://corp.example/one", 1),
        rig.callers.workload("spiffe://corp.example/two", 2),
    );
    // Their pools keep the connections open.
    let (of_one, of_two) = (rig.modern(Some(&one)), rig.modern(Some(&two)));
    assert_eq!((status(&of_one).await, status(&of_two).await), (200, 200));
    replace(
        &rig.folder.path().join("revoked.pem"),
        &rig.callers.revoke(&[1]),
    );
    becomes(&of_one, 401).await;
    assert_eq!(status(&of_two).await, 200);
    assert!(!rig.connects(Some(&one)).await);
    assert!(rig.connects(Some(&two)).await);
    rig.weir
        .wait_stderr("the caller's certificate was revoked")
        .await;
    // A file that cannot be read changes nothing.
    replace(&rig.folder.path().join("revoked.pem"), "nonsense");
    rig.weir.wait_stderr("a file was replaced").await;
    assert!(rig.connects(Some(&two)).await);
    // Another authority takes over: its certificates are good, and those from before are not.
    let next = Ca::new("next");
    replace(&rig.folder.path().join("revoked.pem"), &next.revoke(&[]));
    replace(&rig.folder.path().join("callers.pem"), &next.pem);
    becomes(&of_two, 401).await;
    let new = next.client("b.example");
    assert_eq!(status(&rig.modern(Some(&new))).await, 200);
}

#[tokio::test]
async fn streams_of_a_revoked_certificate_end() {
    let rig = Certificates::listening("keep_alive: 300ms, ", "", "").await;
    let (one, two) = (
        rig.callers.workload("spiffe://corp.example/one", 1),
        rig.callers.workload("spiffe://corp.example/two", 2),
    );
    let mut streams = Vec::new();
    for pair in [&one, &two] {
        let modern = rig.modern(Some(pair));
        let mut stream = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
        assert!(stream.next().await.unwrap().contains("acknowledged"));
        streams.push(stream);
    }
    replace(
        &rig.folder.path().join("revoked.pem"),
        &rig.callers.revoke(&[1]),
    );
    // The last message of the stream, and its end.
    assert!(streams[0].next().await.unwrap().contains("resultType"));
    assert_eq!(streams[0].next().await, None);
    // That of another certificate goes on.
    rig.jira.add_tool("more");
    rig.weir.resync("jira").await;
    let told = streams[1].next().await.unwrap();
    assert!(told.contains("tools/list_changed"), "{told}");
}

/// A key that signs tokens of an issuer.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    fn jwks(&self) -> String {
        // An uncompressed point (SEC 1 §2.3.3).
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#)
    }

    /// A token for `weir`, with more claims.
    fn token(&self, more: &str) -> String {
        let header = BASE64.encode(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#);
        let claims = format!(
            r#"{{"iss":"https://issuer.example","aud":"weir","sub":"ada","exp":4102444800{more}}}"#
        );
        let text = format!("{header}.{}", BASE64.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64.encode(signature))
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_good_with_it_only() {
    let (issuer, keys) = (Issuer::new(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(keys.path(), issuer.jwks()).unwrap();
    let jwt = format!(
        ", jwt: [{{ issuer: 'https://issuer.example', audiences: [weir], jwks: {{ file: '{}' }} }}]",
        keys.path().display()
    );
    let rig = Certificates::start("", &jwt).await;
    let (own, other) = (
        rig.callers.client("a.example"),
        rig.callers.client("b.example"),
    );
    let der = CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap();
    let thumbprint = BASE64.encode(digest(&SHA256, &der));
    let bound = issuer.token(&format!(r#","cnf":{{"x5t#S256":"{thumbprint}"}}"#));
    let free = issuer.token("");
    let call = async |pair: Option<&Pair>, token: &str| {
        let modern = rig.modern(pair);
        let ask = modern.ask("tools/call", r#"{"name":"jira__search","arguments":{}}"#);
        let ask = ask.header("authorization", &format!("Bearer {token}"));
        ask.send().await.status
    };
    assert_eq!(call(Some(&own), &bound).await, 200);
    // The second time, what the first one found is remembered.
    for _ in 0..2 {
        assert_eq!(call(Some(&other), &bound).await, 401);
        assert_eq!(call(None, &bound).await, 401);
    }
    for pair in [Some(&own), Some(&other), None] {
        assert_eq!(call(pair, &free).await, 200);
        // A wrong token is refused, whatever certificate is there.
        assert_eq!(call(pair, &free[..free.len() - 2]).await, 401);
    }
    rig.weir
        .wait_stderr("bound to another client certificate")
        .await;
}

const FROM: &str =
    "auth: { platform: { subject_header: X-User, scopes_header: X-Scopes, from: [127.0.0.2] } }";

#[tokio::test]
async fn a_platform_is_believed_from_its_addresses_only() {
    let jira = jira().await;
    let weir = Weir::over([&jira]).listen(FROM).start().await;
    let call = async |pairs: &[(&str, &str)], from: &str| {
        let pool = pool(pairs, Some(from.parse().unwrap()));
        status(&Modern::over(pool, weir.url())).await
    };
    assert_eq!(
        call(&[("x-user", "ada"), ("x-scopes", "a b")], "127.0.0.2").await,
        200
    );
    assert_eq!(call(&[("x-user", "ada")], "127.0.0.1").await, 401);
    weir.wait_stderr("`listen.auth.platform.from`").await;
    assert_eq!(call(&[], "127.0.0.2").await, 401);
    let platform = IpAddr::from([127, 0, 0, 2]);
    for lines in [
        &["x-user: ada", "x-user: ada"][..],
        &["x-user: ada", "X-USER: eve"],
        &["x-user:"],
        &["x-user: ad\u{e4}"],
        &["x-user: ada", "x-scopes: a", "x-scopes: b"],
    ] {
        assert_eq!(raw_status(&weir, platform, lines).await, 400, "{lines:?}");
    }
    // A header that says where a client comes from is not believed.
    let forwarded = [("x-user", "ada"), ("x-forwarded-for", "127.0.0.2")];
    assert_eq!(call(&forwarded, "127.0.0.1").await, 401);
}

#[tokio::test]
async fn streams_of_a_revoked_key_end() {
    let keys = Keys::start().await;
    let key = keys.key(&["new", "ci"]).await;
    let modern = keys.modern(&key);
    becomes(&modern, 200).await;
    let mut stream = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
    assert!(stream.next().await.unwrap().contains("acknowledged"));
    keys.key(&["revoke", "ci"]).await;
    // The last message of the stream, and its end.
    assert!(stream.next().await.unwrap().contains("resultType"));
    assert_eq!(stream.next().await, None);
    becomes(&modern, 401).await;
}
