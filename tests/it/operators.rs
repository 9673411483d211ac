//! Changes at the admin listener are made by those with the token, or whom a socket lets in.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::client::pool;
use crate::support::prowler::{prowler, run};
use crate::support::ran::{self, Ran};
use crate::support::socket::Socket;
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{ADMIN_TOKEN, Process, Weir, admin_settings};
use crate::support::{bounded, free_port};

/// Requests that change something, or that are no reading.
const WRITING: [(&str, &str); 5] = [
    ("/reload", ""),
    ("/upstreams/ann/resync", ""),
    ("/catalog/ann__a/accept", ""),
    ("/compare", "{}"),
    ("/upstreams", ""),
];

/// A weir whose config says this of the admin listener, for its port.
async fn started(upstreams: &str, top: &str, admin: impl Fn(&str) -> String) -> Weir {
    let builder = Weir::with(upstreams).top(top).unwatched();
    builder
        .start_in(|home, yaml| {
            let from = yaml.find("admin:").unwrap();
            let line = yaml[from..].lines().next().unwrap();
            let port = line.split("127.0.0.1:").nth(1).unwrap();
            let port = port.split('"').next().unwrap();
            assert_eq!(line, admin_settings(port.parse().unwrap()));
            fs::write(home.join("weir.yaml"), yaml.replace(line, &admin(port))).unwrap();
        })
        .await
}

fn on_loopback(port: &str) -> String {
    format!("admin: {{ address: \"127.0.0.1:{port}\" }}")
}

/// Posts with a token or none: status and the text of the error.
async fn post(
    weir: &Weir,
    (path, body): (&str, &'static str),
    token: Option<&str>,
) -> (u16, String) {
    let mut request = pool().post(weir.admin_url(path)).body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = bounded("an answer", request.send()).await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    (
        status,
        error["error"].as_str().unwrap_or_default().to_owned(),
    )
}

fn config(weir: &Weir) -> String {
    path(weir, "weir.yaml").to_str().unwrap().to_owned()
}

fn path(weir: &Weir, name: &str) -> PathBuf {
    weir.home.path().join(name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn token(weir: &Weir) -> Ran {
    ran::weir(["admin-token", "-c", &config(weir)]).await
}

#[tokio::test]
async fn what_changes_something_needs_the_token_that_weir_made() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let upstreams = format!("  ann: {{ url: \"{}\", drift: hold }}\n", ann.url());
    let weir = started(&upstreams, "state: { dir: state }", on_loopback).await;
    weir.wait_tools(["ann__a"]).await;
    for request in WRITING {
        for wrong in [None, Some(""), Some("guess")] {
            let (status, error) = post(&weir, request, wrong).await;
            assert_eq!(status, 401, "{request:?}");
            assert!(error.contains("weir admin-token"), "{error}");
        }
    }
    // Reading stays open on loopback.
    for path in ["/upstreams", "/catalog", "/metrics", "/explain?name=x"] {
        let answer = pool().get(weir.admin_url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let file = path(&weir, "state/admin.token");
    assert_eq!(mode(&file), 0o600);
    let made = token(&weir).await;
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    let made = made.out.trim();
    assert!(made.len() >= 43, "{made}");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), made);
    for (path, status) in [
        ("/reload", 200),
        ("/upstreams/ann/resync", 200),
        ("/upstreams", 405),
    ] {
        assert_eq!(
            post(&weir, (path, ""), Some(made)).await.0,
            status,
            "{path}"
        );
    }
    // Weir's own commands find it.
    let planned = ran::weir(["plan", "-c", &config(&weir)]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let at = weir.admin_url("/");
    let planned = ran::weir(["plan", "-c", &config(&weir), "--against", &at]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let accepted = ran::weir(["accept", "--all", "-c", &config(&weir)]).await;
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    // It is made once.
    let (made, weir) = (made.to_owned(), weir.restart().await);
    assert_eq!(post(&weir, ("/reload", ""), Some(&made)).await.0, 200);
}

#[tokio::test]
async fn without_a_state_folder_the_answer_says_what_to_do() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let upstreams = format!("  ann: {{ url: \"{}\" }}\n", ann.url());
    let weir = started(&upstreams, "", on_loopback).await;
    for request in WRITING {
        let (status, error) = post(&weir, request, Some("guess")).await;
        assert_eq!(status, 403);
        for way in ["state.dir", "admin.token", "unix:"] {
            assert!(error.contains(way), "{error}");
        }
    }
    let none = token(&weir).await;
    assert_eq!((none.code, none.out.as_str()), (Some(1), ""), "{none:?}");
    assert!(none.err.contains("state.dir"), "{none:?}");
    weir.admin("/upstreams").await;
}

#[tokio::test]
async fn a_token_of_the_config_is_for_reading_too_unless_reading_is_open() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let upstreams = format!("  ann: {{ url: \"{}\" }}\n", ann.url());
    for (reading, status) in [
        ("", 401),
        (", reading: token", 401),
        (", reading: open", 200),
    ] {
        let settings = |port: &str| {
            format!(
                "admin: {{ address: \"127.0.0.1:{port}\", token: {{ value: {ADMIN_TOKEN} }}{reading} }}"
            )
        };
        let weir = started(&upstreams, "state: { dir: state }", settings).await;
        let read = pool()
            .get(weir.admin_url("/upstreams"))
            .send()
            .await
            .unwrap();
        assert_eq!(read.status(), status, "{reading}");
        assert_eq!(post(&weir, ("/reload", ""), None).await.0, 401);
        assert_eq!(post(&weir, ("/reload", ""), Some(ADMIN_TOKEN)).await.0, 200);
        let told = token(&weir).await;
        assert_eq!(told.out.trim(), ADMIN_TOKEN);
        assert!(!path(&weir, "state/admin.token").exists());
    }
}

#[tokio::test]
async fn another_token_is_in_force_without_a_restart_and_the_old_one_is_not() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let upstreams = format!("  ann: {{ url: \"{}\" }}\n", ann.url());
    let secrets = tempfile::tempdir().unwrap();
    let (file, next) = (secrets.path().join("token"), secrets.path().join("next"));
    let replace = |text: &str| {
        fs::write(&next, text).unwrap();
        fs::rename(&next, &file).unwrap();
    };
    replace("the first\n");
    let written = format!("{{ file: {} }}", file.display());
    let settings =
        |port: &str| format!("admin: {{ address: \"127.0.0.1:{port}\", token: {written} }}");
    let weir = started(&upstreams, "", settings).await;
    let reload = async |token: &str| post(&weir, ("/reload", ""), Some(token)).await.0;
    assert_eq!(reload("the first").await, 200);
    let cookie = log_in(&weir, "the+first").await;
    assert_eq!(status_of_page(&weir, &cookie).await, 200);
    // The file is watched.
    replace("the second");
    bounded("the second token", async {
        while reload("the second").await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(reload("the first").await, 401);
    assert_eq!(status_of_page(&weir, &cookie).await, 401);
    assert_eq!(token(&weir).await.out.trim(), "the second");
    // Another reference is in force with the reload.
    let yaml = fs::read_to_string(config(&weir)).unwrap();
    let changed = yaml.replace(&written, "{ value: the third }");
    fs::write(config(&weir), &changed).unwrap();
    assert_eq!(reload("the third").await, 401);
    assert_eq!(reload("the second").await, 200);
    assert_eq!(reload("the second").await, 401);
    assert_eq!(reload("the third").await, 200);
    let cookie = log_in(&weir, "the+third").await;
    assert_eq!(status_of_page(&weir, &cookie).await, 200);
    // The file that is not named any more opens nothing.
    replace("the fourth");
    assert_eq!(reload("the fourth").await, 401);
    // Whether there is a token decides what needs one, so that this needs a restart.
    fs::write(
        config(&weir),
        changed.replace(", token: { value: the third }", ""),
    )
    .unwrap();
    assert_eq!(reload("the third").await, 422);
    let told = pool()
        .get(weir.admin_url("/upstreams"))
        .bearer_auth("the third");
    let told = told.send().await.unwrap().text().await.unwrap();
    assert!(
        told.contains("`admin` cannot change while weir runs"),
        "{told}"
    );
}

/// Logs in at the page, and returns the cookie.
async fn log_in(weir: &Weir, token: &str) -> String {
    let form = "application/x-www-form-urlencoded";
    let asked = pool()
        .post(weir.admin_url("/page/login"))
        .header("origin", weir.admin_url(""))
        .header("content-type", form)
        .body(format!("token={token}"));
    let answer = bounded("an answer", asked.send()).await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

async fn status_of_page(weir: &Weir, cookie: &str) -> u16 {
    let asked = pool().get(weir.admin_url("/")).header("cookie", cookie);
    let answer = bounded("an answer", asked.send()).await.unwrap();
    answer.status().as_u16()
}

/// A client of the Unix socket.
fn over(socket: &Path) -> reqwest::Client {
    reqwest::Client::builder()
        .unix_socket(socket)
        .build()
        .unwrap()
}

async fn posted(socket: &Path) -> Result<u16, reqwest::Error> {
    let answer = over(socket).post("http://weir/reload").send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn the_permissions_of_a_unix_socket_decide_and_no_token() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let upstreams = format!("  ann: {{ url: \"{}\" }}\n", ann.url());
    let settings = |more: &str| {
        let more = more.to_owned();
        move |_: &str| format!("admin: {{ address: \"unix:run/weir.sock\"{more} }}")
    };
    let weir = started(&upstreams, "", settings("")).await;
    weir.wait_tools(["ann__a"]).await;
    let socket = path(&weir, "run/weir.sock");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!((mode(&socket), mode(&path(&weir, "run"))), (0o600, 0o700));
    assert_eq!(posted(&socket).await.unwrap(), 200);
    let page = over(&socket)
        .post("http://weir/reload")
        .header("origin", "http://localhost");
    assert_eq!(page.send().await.unwrap().status(), 403);
    // Weir's own commands use it, from the config or by its place.
    let planned = ran::weir(["plan", "-c", &config(&weir)]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let place = format!("unix:{}", socket.display());
    let accepted = ran::weir(["accept", "--url", &place]).await;
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    // A second weir does not take it away.
    let port = free_port().to_string();
    let address = format!("127.0.0.1:{port}");
    let second = ran::weir(["serve", "-c", &config(&weir), "--listen", &address]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("weir.sock"), "{second:?}");
    assert_eq!(posted(&socket).await.unwrap(), 200);
    // One that a killed weir left behind is replaced.
    weir.signal(rustix::process::Signal::KILL);
    let yaml = fs::read_to_string(path(&weir, "weir.yaml")).unwrap();
    let home = weir.home.path().to_owned();
    bounded("its end", async {
        while posted(&socket).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(socket.exists());
    let wide = yaml.replace("weir.sock\"", "weir.sock\", mode: 0660");
    fs::write(home.join("weir.yaml"), wide).unwrap();
    let file = home.join("weir.yaml");
    let again = Process::start(["serve", "-c", file.to_str().unwrap()]);
    again.wait_stderr("weir.sock").await;
    bounded("an answer", async {
        while !posted(&socket).await.is_ok_and(|status| status == 200) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(mode(&socket), 0o660);
    again.stop().await;
    assert!(!socket.exists(), "it is removed at the end");
}

#[tokio::test]
async fn an_upstreams_process_can_use_neither_door() {
    let weir = started(&prowler("kid", ""), "state: { dir: state }", on_loopback).await;
    weir.wait_tools(["kid__run"]).await;
    let code = format!(
        "import urllib.request as u, urllib.error as e\n\
         try:\n    out = u.urlopen(u.Request('{}', method='POST')).status\n\
         except e.HTTPError as error:\n    out = error.code\n",
        weir.admin_url("/reload")
    );
    assert_eq!(run(&weir, "kid", &code).await, "401");
    let weir = started(&prowler("kid", ""), "", |_| {
        "admin: { address: \"unix:run/weir.sock\" }".to_owned()
    })
    .await;
    weir.wait_tools(["kid__run"]).await;
    let socket = path(&weir, "run/weir.sock");
    // From a process of its own that has cut every tie, too.
    let ask = "import os, socket\n\
        def ask():\n\
        \x20   s = socket.socket(socket.AF_UNIX)\n\
        \x20   try:\n\
        \x20       s.connect(PATH)\n\
        \x20       s.sendall(b'POST /reload HTTP/1.1\\r\\nHost: weir\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n')\n\
        \x20       return s.recv(12).decode() or 'closed'\n\
        \x20   except OSError as error:\n\
        \x20       return type(error).__name__\n";
    let ask = ask.replace("PATH", &format!("'{}'", socket.display()));
    let direct = run(&weir, "kid", &format!("{ask}out = ask()")).await;
    assert!(!direct.contains("HTTP/1.1"), "{direct}");
    let file = path(&weir, "said");
    let escaped = format!(
        "{ask}import time\n\
         if os.fork() == 0:\n\
         \x20   os.setsid()\n\
         \x20   if os.fork() == 0:\n\
         \x20       time.sleep(0.2)\n\
         \x20       open('{0}.new', 'w').write(ask())\n\
         \x20       os.rename('{0}.new', '{0}')\n\
         \x20   os._exit(0)\n",
        file.display()
    );
    run(&weir, "kid", &escaped).await;
    bounded("the escaped one", async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let escaped = fs::read_to_string(&file).unwrap();
    assert!(!escaped.contains("HTTP/1.1"), "{escaped}");
    assert_eq!(posted(&socket).await.unwrap(), 200);
}

#[tokio::test]
async fn a_large_answer_counts_as_memory_until_it_is_sent() {
    let erp = Upstream::named("erp").tools(["a"]).start().await;
    for n in 0..160 {
        let text = "x".repeat(64 << 10);
        erp.add_raw(
            Kind::Tools,
            &format!(
                r#"{{"name":"t{n}","description":"{text}","inputSchema":{{"type":"object"}}}}"#
            ),
        );
    }
    let weir = Weir::over([&erp])
        .top("limits: { memory: 128MiB }")
        .start()
        .await;
    let listed = async {
        while weir.admin("/status").await["tools"] != 161 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    bounded("the listing", listed).await;
    let whole = "/catalog?definitions=true";
    let get = || async {
        pool()
            .get(weir.admin_url(whole))
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(get().await, 200);
    // They ask, and read nothing.
    let mut mute = Vec::new();
    for _ in 0..30 {
        let mut socket = Socket::connect(weir.admin_port()).await;
        let asked = format!("GET {whole} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(socket.send(asked).await);
        mute.push(socket);
    }
    let refused = async {
        while get().await != 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    bounded("no room", refused).await;
    assert!(weir.metric("weir_kept_memory_bytes").await <= 128 << 20);
    drop(mute);
    let served = async {
        while get().await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    bounded("room again", served).await;
}
