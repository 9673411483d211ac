//! TLS towards upstreams: private CAs, client certificates, names, versions, sockets, and what goes
//! wrong with them.

use std::net::SocketAddr;
use std::path::Path;

use rustls::DEFAULT_VERSIONS;
use rustls::version::{TLS12, TLS13};

use crate::support::tls::{Ca, Door, Pair, config, socket};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::upstreams::works;

async fn shop() -> Upstream {
    Upstream::named("shop").tools(["search"]).start().await
}

/// A folder for PEM files.
struct Pems(tempfile::TempDir);

impl Pems {
    fn new(ca: &Ca) -> Self {
        let pems = Self(tempfile::tempdir().unwrap());
        pems.write("ca.pem", &ca.pem);
        pems
    }

    /// Replaces a file as programs that renew certificates do: moves a new one into its place.
    fn write(&self, name: &str, text: &str) {
        let (new, old) = (self.0.path().join("new"), self.0.path().join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, old).unwrap();
    }

    fn identity(&self, pair: &Pair) {
        self.write("cert.pem", &pair.cert);
        self.write("key.pem", &pair.key);
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `tls:` with these files, and more.
    fn tls(&self, more: &str) -> String {
        format!("tls: {{ ca: {}/ca.pem{more} }}", self.path().display())
    }

    fn with_identity(&self) -> String {
        let folder = self.path().display();
        let more = format!(", cert: {folder}/cert.pem, key: {{ file: {folder}/key.pem }}");
        self.tls(&more)
    }
}

/// A weir in front of the server, with each kind of HTTP client in turn.
async fn over(door: u16, tls: &str, connector: &str) -> Weir {
    let url = format!("https://localhost:{door}/mcp");
    let more = format!("connector: {connector}\nresync: 1h\n{tls}");
    Weir::with("")
        .and("shop", &url)
        .upstream("shop", &more)
        .start()
        .await
}

/// The reason that operators read for an upstream behind this server.
async fn told(
    address: SocketAddr,
    server: std::sync::Arc<rustls::ServerConfig>,
    tls: &str,
    part: &str,
) {
    for connector in ["on_prem", "saas"] {
        let door = Door::before(address, server.clone()).await;
        let weir = over(door.port(), tls, connector).await;
        weir.wait_told("shop", "reason", part).await;
        assert!(weir.tool_names().await.is_empty());
    }
}

#[tokio::test]
async fn the_right_certificates_let_weir_in() {
    let (ours, theirs, shop) = (Ca::new("ours"), Ca::new("theirs"), shop().await);
    let pems = Pems::new(&ours);
    pems.identity(&theirs.client("weir"));
    let server = config(&ours.server("localhost"), Some(&theirs), DEFAULT_VERSIONS);
    for connector in ["on_prem", "saas"] {
        let door = Door::before(shop.address(), server.clone()).await;
        let weir = over(door.port(), &pems.with_identity(), connector).await;
        works(&weir, "shop").await;
    }
}

#[tokio::test]
async fn a_wrong_server_is_refused_and_the_cause_is_named() {
    let (ours, others, shop) = (Ca::new("ours"), Ca::new("others"), shop().await);
    let pems = Pems::new(&ours);
    let (tls, there) = (pems.tls(""), shop.address());
    let server = |pair: &Pair| config(pair, None, DEFAULT_VERSIONS);
    told(
        there,
        server(&others.server("localhost")),
        &tls,
        "from an unknown CA",
    )
    .await;
    told(
        there,
        server(&ours.expired("localhost")),
        &tls,
        "has expired",
    )
    .await;
    let wrong = "for another name than `localhost`";
    told(there, server(&ours.server("other.example")), &tls, wrong).await;
    let old = config(&ours.server("localhost"), None, &[&TLS12]);
    let least = "no TLS version that `tls.min_version` allows";
    told(
        there,
        old.clone(),
        &pems.tls(", min_version: \"1.3\""),
        least,
    )
    .await;
    assert_eq!(shop.count("server/discover"), 0);
    let door = Door::before(there, old).await;
    works(&over(door.port(), &tls, "on_prem").await, "shop").await;
}

#[tokio::test]
async fn a_private_ca_takes_the_place_of_the_machines() {
    let (ours, shop) = (Ca::new("ours"), shop().await);
    let server = config(&ours.server("localhost"), None, DEFAULT_VERSIONS);
    told(
        shop.address(),
        server,
        "stale: { policy: serve }",
        "from an unknown CA",
    )
    .await;
}

#[tokio::test]
async fn a_client_certificate_that_is_asked_for_and_missing_or_wrong_is_named() {
    let (ours, others, shop) = (Ca::new("ours"), Ca::new("others"), shop().await);
    let pems = Pems::new(&ours);
    for (version, missing, wrong) in [
        (
            &TLS13,
            "the server asks for a client certificate",
            "the server refused the client certificate",
        ),
        (
            &TLS12,
            "client certificate",
            "the server refused the client certificate",
        ),
    ] {
        let server = config(&ours.server("localhost"), Some(&ours), &[version]);
        let there = shop.address();
        told(there, server.clone(), &pems.tls(""), missing).await;
        pems.identity(&others.client("weir"));
        told(there, server, &pems.with_identity(), wrong).await;
    }
    assert_eq!(shop.count("server/discover"), 0);
}

#[tokio::test]
async fn replaced_certificates_are_in_use_without_a_failed_call() {
    let (old, new, shop) = (Ca::new("old"), Ca::new("new"), shop().await);
    for connector in ["on_prem", "saas"] {
        let pems = Pems::new(&old);
        pems.identity(&old.client("weir"));
        let server = config(&old.server("localhost"), Some(&old), DEFAULT_VERSIONS);
        let door = Door::before(shop.address(), server).await;
        let weir = over(door.port(), &pems.with_identity(), connector).await;
        works(&weir, "shop").await;
        // The usual order: both CAs first, then the server's certificate, then weir's.
        pems.write("ca.pem", &format!("{}{}", old.pem, new.pem));
        weir.wait_stderr("ca.pem").await;
        door.becomes(config(
            &new.server("localhost"),
            Some(&old),
            DEFAULT_VERSIONS,
        ));
        door.hang_up();
        works(&weir, "shop").await;
        let renewed = new.client("weir");
        pems.write("cert.pem", &renewed.cert);
        weir.wait_stderr("cert.pem").await;
        // Until the key matches too, the old pair stays in use.
        door.hang_up();
        works(&weir, "shop").await;
        pems.write("key.pem", &renewed.key);
        weir.wait_stderr("key.pem").await;
        door.becomes(config(
            &new.server("localhost"),
            Some(&new),
            DEFAULT_VERSIONS,
        ));
        door.hang_up();
        works(&weir, "shop").await;
        // A probe may have been on the connection that was hung up: the next one succeeds.
        weir.wait_told("shop", "state", "up").await;
    }
}

#[tokio::test]
async fn a_server_may_have_another_name_than_its_url() {
    let (ours, shop) = (Ca::new("ours"), shop().await);
    let pems = Pems::new(&ours);
    let server = config(&ours.server("erp.example"), None, DEFAULT_VERSIONS);
    for connector in ["on_prem", "saas"] {
        let door = Door::before(shop.address(), server.clone()).await;
        let tls = pems.tls(", server_name: erp.example");
        works(&over(door.port(), &tls, connector).await, "shop").await;
    }
}

#[tokio::test]
async fn an_upstream_may_be_behind_a_unix_socket() {
    let (ours, shop) = (Ca::new("ours"), shop().await);
    let pems = Pems::new(&ours);
    let (plain, secure) = (pems.path().join("plain.sock"), pems.path().join("tls.sock"));
    let server = config(&ours.server("erp.example"), None, DEFAULT_VERSIONS);
    let _doors = [
        socket(&plain, shop.address(), None),
        socket(&secure, shop.address(), Some(server)),
    ];
    for (url, path, more) in [
        ("http://erp.example/mcp", &plain, String::new()),
        ("https://erp.example/mcp", &secure, pems.tls("")),
    ] {
        let socket = format!("socket: {}\n{more}", path.display());
        let weir = Weir::with("").and("shop", url).upstream("shop", &socket);
        works(&weir.start().await, "shop").await;
        let host = shop.requests("tools/call").pop().unwrap().headers["host"].clone();
        assert_eq!(host, "erp.example");
    }
    let gone = format!("socket: {}/no.sock", pems.path().display());
    let weir = Weir::with("").and("shop", "http://erp.example/mcp");
    let weir = weir.upstream("shop", &gone).start().await;
    weir.wait_told("shop", "reason", "socket").await;
}
