//! Where the words of an upstream lead at a login: nowhere nearer than the upstream itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::{any, get};
use http::{StatusCode, header};
use tokio_util::task::TaskTracker;

use super::*;

/// A server of this machine that nobody but its user has business with.
struct Trap {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Trap {
    async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let app = Router::new().fallback(any(async move || {
            count.fetch_add(1, Ordering::Relaxed);
            StatusCode::NOT_FOUND
        }));
        Self {
            port: serve(app).await,
            asked,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn serve(app: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TaskTracker::new().spawn(axum::serve(listener, app).into_future());
    port
}

/// An upstream whose 401 names this metadata, and whose metadata names this authorization server.
async fn upstream(metadata: Option<String>, server: Option<String>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = format!("http://127.0.0.1:{port}");
    let named = metadata.unwrap_or_else(|| format!("{own}/metadata"));
    let challenge = format!("Bearer resource_metadata=\"{named}\"");
    let servers = server.map_or_else(Vec::new, |server| vec![server]);
    let about =
        serde_json::json!({ "resource": format!("{own}/mcp"), "authorization_servers": servers });
    let app = Router::new()
        .route(
            "/mcp",
            any(async move || {
                (
                    StatusCode::UNAUTHORIZED,
                    [(header::WWW_AUTHENTICATE, challenge)],
                )
            }),
        )
        .route("/metadata", get(async move || about.to_string()));
    TaskTracker::new().spawn(axum::serve(listener, app).into_future());
    port
}

/// Begins a login, until it has failed or waits for a browser; what it said.
async fn login(port: u16, more: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("weir.yaml");
    let yaml = format!(
        "version: 1\nstate: {{ dir: state }}\nupstreams:\n  linear:\n    url: \"http://127.0.0.1:{port}/mcp\"\n    auth: {{ type: oauth2_authorization_code, client_id: known{more} }}\n"
    );
    std::fs::write(&file, yaml).unwrap();
    let process = Process::start(["login", "linear", "-c", file.to_str().unwrap()]);
    bounded("the search for a server", async {
        while process.runs() && !process.stderr().contains("Waiting for") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    process.stderr()
}

#[tokio::test]
async fn the_words_of_an_upstream_lead_to_no_other_port_of_this_machine() {
    let trap = Trap::start().await;
    let at = format!("http://127.0.0.1:{}", trap.port);
    for (metadata, server) in [
        (Some(format!("{at}/secret")), None),
        (Some(format!("http://localhost:{}/secret", trap.port)), None),
        (None, Some(format!("{at}/issuer"))),
    ] {
        let port = upstream(metadata.clone(), server.clone()).await;
        let said = login(port, "").await;
        assert_eq!(trap.asked(), 0, "{metadata:?} {server:?} {said}");
        // An operator may name it.
        let hosts = format!("\"127.0.0.1:{0}\", \"localhost:{0}\"", trap.port);
        let said = login(port, &format!(", allowed_hosts: [{hosts}]")).await;
        let asked = trap.asked.swap(0, Ordering::Relaxed);
        assert!(asked > 0, "{metadata:?} {server:?} {said}");
    }
}
