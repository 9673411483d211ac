//! The authority of a request: exactly one, well formed, and weir's own, on both listeners.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::client::MODERN;
use crate::support::socket::Socket;
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;
use crate::support::{bounded, free_port};

/// `Host` lines that name no single well-formed authority.
const MALFORMED: [&str; 19] = [
    "",
    "Host:\r\n",
    "Host: localhost\r\nHost: localhost\r\n",
    "Host: localhost\r\nHost: evil.example\r\n",
    "Host: evil.example\r\nHost: localhost\r\n",
    "Host: evil@localhost\r\n",
    "Host: evil.example@x.localhost\r\n",
    "Host: evil.example/.localhost\r\n",
    "Host: evil.example#.localhost\r\n",
    "Host: evil.example, localhost\r\n",
    "Host: localhost:\r\n",
    "Host: localhost:x\r\n",
    "Host: localhost:+80\r\n",
    "Host: localhost:80:80\r\n",
    "Host: localhost:65536\r\n",
    "Host: localhost.\r\n",
    "Host: [::1%25lo]\r\n",
    "Host: [::1]x\r\n",
    "Host: .localhost\r\n",
];

/// Request targets in absolute form, with `Host` lines that name another authority or none.
const DIFFERENT: [(&str, &str); 5] = [
    ("http://evil.example", "Host: localhost\r\n"),
    ("http://localhost", "Host: evil.example\r\n"),
    ("http://localhost:1", "Host: localhost:2\r\n"),
    ("http://evil@localhost", "Host: localhost\r\n"),
    ("http://localhost.", ""),
];

async fn jira(listen: &str) -> (Upstream, Weir) {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let weir = Weir::over([&jira]).listen(listen).state().start().await;
    (jira, weir)
}

/// Returns the status of the answer to a request with this target and these `Host` lines.
async fn status(port: u16, method: &str, target: &str, hosts: &str) -> u16 {
    let mut socket = Socket::connect(port).await;
    let body = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\n{hosts}MCP-Protocol-Version: {MODERN}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    assert!(socket.send(format!("{head}{body}")).await);
    socket.answer().await.expect("an answer").status
}

/// Returns the status of the answer to a request over HTTP/2 with this `:authority` and these `Host`s.
async fn status_over_http2(port: u16, target: &str, hosts: &[&str]) -> u16 {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    let io = TokioIo::new(stream.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let asking = async move {
        let mut request = Request::post(target)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", MODERN);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let body = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes())));
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let _ = answer.into_body().collect().await;
        status
    };
    bounded("an answer over HTTP/2", async {
        tokio::select! {
            status = asking => status,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_request_without_one_well_formed_authority_is_refused_on_both_listeners() {
    let (_jira, weir) = jira("page_size: 10").await;
    let doors = [
        (weir.port(), "POST", "/mcp"),
        (weir.port(), "GET", "/mcp"),
        (weir.port(), "OPTIONS", "/mcp"),
        (weir.admin_port(), "GET", "/upstreams"),
        (weir.admin_port(), "POST", "/reload"),
    ];
    let mut wrong = Vec::new();
    for (port, method, path) in doors {
        for hosts in MALFORMED {
            let status = status(port, method, path, hosts).await;
            if status != 400 {
                wrong.push(format!("{method} {path} {hosts:?}: {status}"));
            }
        }
        for (origin, hosts) in DIFFERENT {
            let target = format!("{origin}{path}");
            let status = status(port, method, &target, hosts).await;
            if status != 400 {
                wrong.push(format!("{method} {target} {hosts:?}: {status}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} passed:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn the_authority_of_another_server_is_refused_wherever_it_is_written() {
    let (_jira, weir) = jira("page_size: 10").await;
    for (port, method, path) in [
        (weir.port(), "POST", "/mcp"),
        (weir.admin_port(), "GET", "/upstreams"),
        (weir.admin_port(), "POST", "/reload"),
    ] {
        for (target, hosts) in [
            (path.to_owned(), "Host: evil.example\r\n"),
            (format!("http://evil.example{path}"), ""),
            (
                format!("http://evil.example{path}"),
                "Host: evil.example\r\n",
            ),
        ] {
            let status = status(port, method, &target, hosts).await;
            assert_eq!(status, 403, "{method} {target} {hosts:?}");
        }
    }
    for port in [weir.port(), weir.admin_port()] {
        let path = if port == weir.port() {
            "/mcp"
        } else {
            "/reload"
        };
        let (evil, local) = (
            format!("http://evil.example{path}"),
            format!("http://localhost:{port}{path}"),
        );
        assert_eq!(status_over_http2(port, &evil, &[]).await, 403);
        assert_eq!(status_over_http2(port, &evil, &["localhost"]).await, 400);
        assert_eq!(
            status_over_http2(port, &local, &["evil.example"]).await,
            400
        );
        let user = format!("http://evil@localhost:{port}{path}");
        assert_eq!(status_over_http2(port, &user, &[]).await, 400);
    }
}

#[tokio::test]
async fn the_same_authority_may_be_written_twice() {
    let (_jira, weir) = jira("allowed_hosts: [weir.internal]").await;
    let port = weir.port();
    for (target, hosts) in [
        ("/mcp".to_owned(), "Host: LOCALHOST\r\n".to_owned()),
        ("/mcp".to_owned(), format!("Host: [::1]:{port}\r\n")),
        ("/mcp".to_owned(), "Host: a-b_c.localhost:1\r\n".to_owned()),
        ("/mcp".to_owned(), "Host: weir.internal\r\n".to_owned()),
        (format!("http://localhost:{port}/mcp"), String::new()),
        (
            format!("http://LocalHost:{port}/mcp"),
            format!("Host: localhost:{port}\r\n"),
        ),
    ] {
        let status = status(port, "POST", &target, &hosts).await;
        assert_eq!(status, 202, "{target} {hosts:?}");
    }
    let local = format!("http://localhost:{port}/mcp");
    let same = format!("localhost:{port}");
    assert_eq!(status_over_http2(port, &local, &[]).await, 202);
    assert_eq!(status_over_http2(port, &local, &[same.as_str()]).await, 202);
}

#[tokio::test]
async fn a_listener_for_the_network_takes_one_authority_too() {
    let jira = Upstream::named("jira").tools(["search"]).start().await;
    let port = free_port();
    let weir = Weir::over([&jira]).on(port);
    let open = |home: &std::path::Path, yaml: &str| {
        let yaml = yaml.replace(
            &format!("address: \"127.0.0.1:{port}\""),
            &format!("address: \"0.0.0.0:{port}\", auth: none"),
        );
        std::fs::write(home.join("weir.yaml"), yaml).unwrap();
    };
    let weir = weir.start_in(open).await;
    let port = weir.port();
    assert_eq!(
        status(port, "POST", "/mcp", "Host: weir.example\r\n").await,
        202
    );
    for hosts in MALFORMED {
        assert_eq!(status(port, "POST", "/mcp", hosts).await, 400, "{hosts:?}");
    }
}
