//! Callers that log in with API keys, with client certificates, or through a platform in front.

mod certificates;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;

use crate::support::client::{MODERN, Modern};
use crate::support::ran;
use crate::support::socket::{Socket, posting};
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
