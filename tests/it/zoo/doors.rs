//! Animals that let nobody in.

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::{Zoo, at, beast, beside};
use crate::support::free_port;
use crate::support::upstream::{Fault, On, Times};

/// A server of bytes: `serve` has each connection.
pub struct Raw {
    pub port: u16,
    _task: AbortOnDropHandle<()>,
}

impl Raw {
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = tokio_util::task::TaskTracker::new();
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        };
        let task = tokio_util::task::TaskTracker::new().spawn(accept);
        Self {
            port,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

/// The animal never gets in; operators read why.
async fn is_out(yaml: &str, operators: &str) {
    beside(yaml, async |zoo: &Zoo| {
        let told = zoo.is_out(operators).await;
        assert_eq!(told["tools"], 0, "{told:#}");
        // Nothing is listed, so nothing can be called.
        let reply = zoo.call("search").await;
        assert_eq!(reply.code(), -32602, "{reply:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_at_home() {
    let url = format!("http://127.0.0.1:{}/mcp", free_port());
    is_out(&at(&url), "cannot connect: Connection refused").await;
}

#[tokio::test]
async fn a_name_that_nobody_has() {
    let yaml =
        at("http://nowhere.invalid/mcp") + "    connector: on_prem\n    allow_plain_http: true\n";
    is_out(&yaml, "cannot connect: failed to lookup address").await;
}

/// An `https` upstream at a port of bytes, over each of the two HTTP clients.
fn over_tls(port: u16) -> [String; 2] {
    let url = format!("https://127.0.0.1:{port}/mcp");
    ["on_prem", "saas"].map(|connector| format!("{}    connector: {connector}\n", at(&url)))
}

#[tokio::test]
async fn tls_that_breaks_off() {
    let raw = Raw::start(async |mut stream: TcpStream| {
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello).await;
    });
    let raw = raw.await;
    for yaml in over_tls(raw.port) {
        is_out(&yaml, "cannot connect: the TLS handshake failed: ").await;
    }
}

#[tokio::test]
async fn tls_that_does_not_begin() {
    let raw = Raw::start(async |mut stream: TcpStream| {
        let mut byte = [0; 1];
        while matches!(stream.read(&mut byte).await, Ok(1)) {}
    });
    let raw = raw.await;
    for yaml in over_tls(raw.port) {
        is_out(&yaml, "cannot connect: no connection within 400ms").await;
    }
}

#[tokio::test]
async fn http_where_tls_was_promised() {
    let up = beast().start().await;
    for yaml in over_tls(up.address().port()) {
        is_out(
            &yaml,
            "the TLS handshake failed: the server does not speak TLS",
        )
        .await;
    }
}

#[tokio::test]
async fn statuses_that_shut_the_door() {
    let doors = [
        (401, "refused with HTTP status 401 Unauthorized"),
        (403, "refused with HTTP status 403 Forbidden"),
        (404, "HTTP status 404 Not Found"),
        (429, "HTTP status 429 Too Many Requests"),
        (500, "HTTP status 500 Internal Server Error"),
        (503, "HTTP status 503 Service Unavailable"),
    ];
    let up = beast().fault(On::Anything, Times::Forever, Fault::Status(400));
    let up = up.start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        for (status, words) in doors {
            up.heal();
            up.fault(On::Anything, Times::Forever, Fault::Status(status));
            zoo.weir.resync("beast").await;
            zoo.is_out(words).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_login_page_at_the_door() {
    let up = beast().fault(On::Anything, Times::Forever, Fault::Html);
    let up = up.start().await;
    is_out(&at(&up.url()), "not MCP: a web page (text/html)").await;
}

#[tokio::test]
async fn a_door_that_opens_later_is_not_tried_before() {
    let up = beast().fault(On::Anything, Times::Next(1), Fault::Later(503, "2".into()));
    let up = up.start().await;
    beside(&at(&up.url()), async |zoo: &Zoo| {
        let words = "HTTP status 503 Service Unavailable, to be asked again in 2 s";
        let told = zoo.is_out(words).await;
        let next = told["next_try_in_seconds"].as_f64().unwrap();
        assert!((0.1..=2.0).contains(&next), "{told:#}");
        // The schedule, which is at a second, does not come before it.
        let arrived = up.log().seen().requests.len();
        let begun = std::time::Instant::now();
        zoo.listed().await;
        let waited = begun.elapsed().as_secs_f64();
        assert!(waited > next - 0.3, "{waited}, {next}");
        assert_eq!(arrived, 1);
        zoo.works().await;
    })
    .await;
}
