//! TLS of weir's own listener: what is spoken, certificates that are replaced, clients that stall.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::client::{Modern, pool};
use crate::support::ran::weir;
use crate::support::socket::Socket;
use crate::support::tls::{Ca, Client, Pair};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::support::{BOUND, bounded};

/// The listener's certificate, in files.
struct Files(tempfile::TempDir);

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("key.pem", &pair.key);
        files.write("cert.pem", &pair.cert);
        files
    }

    /// Moves a new file into its place.
    fn write(&self, name: &str, text: &str) {
        let (new, old) = (self.0.path().join("new"), self.0.path().join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, old).unwrap();
    }

    fn tls(&self) -> String {
        tls(self.0.path())
    }
}

fn tls(folder: &Path) -> String {
    let folder = folder.display();
    format!("tls: {{ cert: {folder}/cert.pem, key: {{ file: {folder}/key.pem }} }}")
}

struct Rig {
    _jira: Upstream,
    weir: Weir,
    files: Files,
    ca: Ca,
}

/// Weir with TLS; `more` are other members of `listen`.
async fn start(more: &str) -> Rig {
    let ca = Ca::new("servers");
    let files = Files::new(&ca.server("localhost"));
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let members = format!("{}{more}", files.tls());
    let weir = Weir::over([&jira]).secure(&members).start().await;
    Rig {
        _jira: jira,
        weir,
        files,
        ca,
    }
}

impl Rig {
    fn modern(&self) -> Modern {
        Modern::over(Client::of(&self.ca).pool(), self.weir.secure_url())
    }

    /// The metric of failed handshakes.
    async fn failed(&self) -> u64 {
        let page = pool().get(self.weir.admin_url("/metrics"));
        let page = page.send().await.unwrap().text().await.unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with("weir_tls_handshakes_failed_total"));
        let value = line.unwrap().rsplit(' ').next();
        value.unwrap().parse().unwrap()
    }

    async fn wait_failed(&self, count: u64) {
        bounded("failed handshakes to be counted", async {
            while self.failed().await < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

/// Asks on this connection; whether it is answered.
async fn is_healthy(stream: &mut TlsStream<TcpStream>) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") && !String::from_utf8_lossy(&read).contains("\r\n\r\n") {
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return false;
        }
    }
    read.starts_with(b"HTTP/1.1 200")
}

/// The certificate that a new connection sees.
async fn certificate(rig: &Rig) -> Vec<u8> {
    let stream = Client::of(&rig.ca).connect(rig.weir.port()).await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn calls_go_over_both_versions_of_tls_and_of_http() {
    let rig = start("").await;
    for version in [&TLS12, &TLS13] {
        for protocol in ["h2", "http/1.1"] {
            let client = Client::of(&rig.ca).only(version).speaking(protocol);
            let modern = Modern::over(client.pool(), rig.weir.secure_url());
            assert!(modern.call("jira__search", "{}").await.succeeded());
            let stream = client.connect(rig.weir.port()).await.unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.alpn_protocol(), Some(protocol.as_bytes()));
        }
    }
    let said = rig.weir.stderr();
    let url = format!("at https://127.0.0.1:{}/mcp", rig.weir.port());
    assert!(said.contains(&url), "{said}");
}

#[tokio::test]
async fn an_old_client_is_refused_where_the_config_says_so() {
    let ca = Ca::new("servers");
    let files = Files::new(&ca.server("localhost"));
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let members = files.tls().replace(" } }", " }, min_version: \"1.3\" }");
    let weir = Weir::over([&jira]).secure(&members).start().await;
    let old = Client::of(&ca).only(&TLS12);
    assert!(old.connect(weir.port()).await.is_err());
    assert!(Client::of(&ca).connect(weir.port()).await.is_ok());
    weir.wait_stderr("`listen.tls.min_version` may be too high for it")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_on_a_live_listener() {
    let rig = start("").await;
    let (modern, before) = (rig.modern(), certificate(&rig).await);
    let client = Client::of(&rig.ca);
    let mut open = client.connect(rig.weir.port()).await.unwrap();
    assert!(is_healthy(&mut open).await);
    for round in 0..3 {
        let (pair, last) = (rig.ca.server("localhost"), certificate(&rig).await);
        // Between the two, they do not fit.
        rig.files.write("cert.pem", &pair.cert);
        assert!(modern.call("jira__search", "{}").await.succeeded());
        rig.files.write("key.pem", &pair.key);
        let until = Instant::now() + BOUND;
        while certificate(&rig).await == last {
            assert!(Instant::now() < until, "round {round}");
            assert!(modern.call("jira__search", "{}").await.succeeded());
        }
    }
    assert_ne!(before, certificate(&rig).await);
    assert!(is_healthy(&mut open).await, "an open connection goes on");
    // A file that cannot be used changes nothing.
    let good = certificate(&rig).await;
    rig.files.write("cert.pem", "nonsense");
    rig.weir.wait_stderr("a file was replaced").await;
    bounded("the log to say so", async {
        while !rig
            .weir
            .stderr()
            .contains("the previous certificate stays in use")
        {
            assert_eq!(certificate(&rig).await, good);
        }
    })
    .await;
    assert!(modern.call("jira__search", "{}").await.succeeded());
    assert_eq!(rig.failed().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_stall_hold_up_nobody_and_are_closed() {
    let rig = start(", header_timeout: 2s").await;
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for number in 0..60 {
        let mut socket = Socket::connect(rig.weir.port()).await;
        // The beginning of a handshake record, or nothing at all.
        if number % 2 == 0 {
            assert!(socket.send([22, 3, 1, 2, 0, 1]).await);
        }
        stalled.push(socket);
    }
    let modern = rig.modern();
    for _ in 0..20 {
        assert!(modern.call("jira__search", "{}").await.succeeded());
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "calls waited");
    join_all(stalled.iter_mut().map(Socket::closed)).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    rig.wait_failed(60).await;
}

#[tokio::test]
async fn a_handshake_makes_room_when_all_places_are_taken() {
    let rig = start(", connections: 2").await;
    let mut stalled = [
        Socket::connect(rig.weir.port()).await,
        Socket::connect(rig.weir.port()).await,
    ];
    assert!(rig.modern().call("jira__search", "{}").await.succeeded());
    bounded("one of them to be closed", async {
        let [one, two] = &mut stalled;
        tokio::select! {
            () = one.closed() => {}
            () = two.closed() => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_header_that_dribbles_through_tls_is_cut() {
    let rig = start(", header_timeout: 400ms").await;
    for protocol in ["http/1.1", "h2"] {
        let client = Client::of(&rig.ca).speaking(protocol);
        let begun = Instant::now();
        let mut stream = client.connect(rig.weir.port()).await.unwrap();
        let head: &[u8] = match protocol {
            "h2" => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x40\0\x01\0\0\0\0\x01",
            _ => b"POST /mcp HTTP/1.1\r\nx-slow: ",
        };
        stream.write_all(head).await.unwrap();
        bounded("a slow connection to be closed", async {
            let mut read = [0; 256];
            loop {
                tokio::select! {
                    got = stream.read(&mut read) => match got {
                        Ok(1..) => {}
                        Ok(0) | Err(_) => return,
                    },
                    () = tokio::time::sleep(Duration::from_millis(30)) => {
                        if stream.write_all(b"x").await.is_err() {
                            return;
                        }
                    }
                }
            }
        })
        .await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(390), "{protocol}: {took:?}");
    }
}

#[tokio::test]
async fn plain_http_at_the_port_of_tls_is_refused_and_counted() {
    let rig = start("").await;
    let mut socket = Socket::connect(rig.weir.port()).await;
    assert!(
        socket
            .send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
    );
    socket.closed().await;
    rig.wait_failed(1).await;
    rig.weir.wait_stderr("the caller does not speak TLS").await;
    let other = Client::of(&Ca::new("another"));
    assert!(other.connect(rig.weir.port()).await.is_err());
    rig.weir
        .wait_stderr("the caller does not trust the certificate of `listen.tls`")
        .await;
}

#[tokio::test]
async fn a_wrong_certificate_of_the_listener_is_an_error_of_the_config() {
    let (ca, folder) = (Ca::new("servers"), tempfile::tempdir().unwrap());
    let (good, other) = (ca.server("localhost"), ca.server("localhost"));
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let config = folder.path().join("weir.yaml");
    let listen = format!("listen:\n  {}\nupstreams: {{}}\n", tls(folder.path()));
    let check = async |cert: &str, key: &str, text: &str| {
        write("cert.pem", cert);
        write("key.pem", key);
        write("weir.yaml", text);
        let ran = weir(["check", "-c", config.to_str().unwrap()]).await;
        (ran.code, format!("{}{}", ran.out, ran.err))
    };
    let (code, said) = check(&good.cert, &good.key, &listen).await;
    assert_eq!(code, Some(0), "{said}");
    let cases = [
        (
            &*other.cert,
            &*good.key,
            "listen.tls.key: the private key does not fit the certificate",
        ),
        (
            &*good.key,
            &*good.key,
            "listen.tls.cert: there is no certificate in it",
        ),
        (
            &*good.cert,
            "hello",
            "listen.tls.key: there is no private key",
        ),
    ];
    for (cert, key, error) in cases {
        let (code, said) = check(cert, key, &listen).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(error) && said.contains("weir.yaml:2"),
            "{said}"
        );
    }
    let expired = ca.expired("localhost");
    let (code, said) = check(&expired.cert, &expired.key, &listen).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("listen.tls.cert: the certificate has expired"),
        "{said}"
    );
    let aws = "listen: { tls: { cert: cert.pem, key: { aws_secret: a } } }\n";
    let (_, said) = check(&good.cert, &good.key, aws).await;
    assert!(said.contains("not from `aws_secret`"), "{said}");
    let half = "listen: { tls: { cert: cert.pem } }\n";
    let (_, said) = check(&good.cert, &good.key, half).await;
    assert!(said.contains("`key` is missing"), "{said}");
}
