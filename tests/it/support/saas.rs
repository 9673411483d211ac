//! A third party's MCP server that wants a person to log in: a door before an [`Upstream`], and the authorization
//! server that belongs to it, on one port. It checks what arrives (PKCE, redirect URI, client, resource) as a real one does.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::upstream::Upstream;

/// Name and value pairs of a query or form.
pub type Pairs = HashMap<String, String>;

/// The server, and the handle to script it.
pub struct SaaS {
    inner: Arc<Inner>,
    _stop: DropGuard,
}

struct Inner {
    address: SocketAddr,
    upstream: String,
    script: Mutex<Script>,
}

/// Its behaviour, set before or while it runs.
pub struct Script {
    /// Merged into the authorization server metadata; `null` takes a member away.
    pub metadata: Value,
    /// Merged into the protected resource metadata.
    pub resource: Value,
    /// More parameters of the `WWW-Authenticate` challenge, or none at all.
    pub challenge: Option<String>,
    /// Merged into the redirect's query; an empty value takes a parameter away.
    pub redirect: Vec<(&'static str, String)>,
    /// Seconds that an access token lives; `None` says nothing of it.
    pub lifetime: Option<u64>,
    /// Whether there are refresh tokens at all.
    pub refreshes: bool,
    /// Every token request fails with this.
    pub fail: Option<(StatusCode, &'static str)>,
    /// Clients that registered themselves or were known: id, secret.
    pub clients: HashMap<String, Option<String>>,
    /// Codes: what they were given for.
    codes: HashMap<String, Pairs>,
    /// Access tokens that are let in.
    access: HashSet<String>,
    /// Refresh tokens that may be used, once.
    refresh: HashSet<String>,
    /// Token requests so far.
    pub asked: Vec<Pairs>,
    /// Registrations so far.
    pub registered: Vec<Value>,
    number: u64,
}

impl SaaS {
    pub async fn before(upstream: &Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            upstream: upstream.url(),
            script: Mutex::new(Script {
                metadata: json!({}),
                resource: json!({}),
                challenge: Some(String::new()),
                redirect: Vec::new(),
                lifetime: Some(3600),
                refreshes: true,
                fail: None,
                clients: HashMap::from([("known".to_owned(), None)]),
                codes: HashMap::new(),
                access: HashSet::new(),
                refresh: HashSet::new(),
                asked: Vec::new(),
                registered: Vec::new(),
                number: 0,
            }),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        let serving = axum::serve(listener, app).into_future();
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(async {
            let _ = serving.await;
        }));
        Self {
            inner,
            _stop: stop.drop_guard(),
        }
    }

    /// The MCP endpoint.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.issuer())
    }

    pub fn issuer(&self) -> String {
        self.inner.issuer()
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap()
    }

    /// Token requests of this grant type so far.
    pub fn asked(&self, grant: &str) -> Vec<Pairs> {
        let script = self.script();
        let of = |asked: &&Pairs| asked["grant_type"] == grant;
        script.asked.iter().filter(of).cloned().collect()
    }

    /// A refresh token may be used once more: a server's grace for those that got no answer.
    pub fn allow(&self, refresh: &str) {
        self.script().refresh.insert(refresh.to_owned());
    }

    /// No access token is let in any more.
    pub fn end_tokens(&self) {
        self.script().access.clear();
    }

    /// Nothing that was granted counts any more.
    pub fn revoke(&self) {
        let mut script = self.script();
        script.access.clear();
        script.refresh.clear();
    }
}

impl Inner {
    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn pairs(text: &str) -> Pairs {
    let pairs = url::form_urlencoded::parse(text.as_bytes());
    pairs.into_owned().collect()
}

fn merge(mut value: Value, more: &Value) -> Value {
    let members = value.as_object_mut().unwrap();
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            members.remove(key);
        } else {
            members.insert(key.clone(), value.clone());
        }
    }
    value
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = status;
    response
}

fn said(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(value.to_string().into());
    *response.status_mut() = status;
    let json = "application/json".parse().unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refused(error: &str) -> Response {
    let text = "error_description-that-nobody-should-see";
    let value = json!({ "error": error, "error_description": text });
    said(StatusCode::BAD_REQUEST, &value)
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let issuer = inner.issuer();
    let path = parts.uri.path();
    if path == "/mcp" {
        return inner.door(parts.method, &parts.headers, body).await;
    }
    let mut script = inner.script.lock().unwrap();
    match path {
        "/.well-known/oauth-protected-resource/mcp" => {
            let value = json!({
                "resource": format!("{issuer}/mcp"),
                "authorization_servers": [issuer],
                "scopes_supported": ["read", "write"],
            });
            said(StatusCode::OK, &merge(value, &script.resource))
        }
        "/.well-known/oauth-authorization-server" => {
            let value = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "registration_endpoint": format!("{issuer}/register"),
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
                "authorization_response_iss_parameter_supported": true,
                "client_id_metadata_document_supported": true,
            });
            said(StatusCode::OK, &merge(value, &script.metadata))
        }
        "/authorize" => script.authorize(&parts.uri, &issuer),
        "/token" => {
            let form = pairs(std::str::from_utf8(&body).unwrap());
            script.token(form, &parts.headers)
        }
        "/register" => {
            let wanted: Value = serde_json::from_slice(&body).unwrap();
            script.number += 1;
            let id = format!("registered-{}", script.number);
            let method = wanted["token_endpoint_auth_method"].clone();
            let secret = (method != "none").then(|| "registered-secret".to_owned());
            script.clients.insert(id.clone(), secret.clone());
            script.registered.push(wanted);
            let mut value = json!({ "client_id": id, "token_endpoint_auth_method": method });
            if let Some(secret) = secret {
                value["client_secret"] = secret.into();
            }
            said(StatusCode::CREATED, &value)
        }
        _ => plain(StatusCode::NOT_FOUND),
    }
}

impl Inner {
    async fn door(&self, method: http::Method, headers: &HeaderMap, body: Bytes) -> Response {
        let token = headers.get(header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let challenge = {
            let script = self.script.lock().unwrap();
            match token.is_some_and(|token| script.access.contains(token)) {
                true => None,
                false => Some(script.challenge.clone()),
            }
        };
        if let Some(challenge) = challenge {
            let mut response = plain(StatusCode::UNAUTHORIZED);
            if let Some(more) = challenge {
                let value = format!("Bearer realm=\"mcp\"{more}").parse().unwrap();
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, value);
            }
            return response;
        }
        super::tls();
        let mut headers = headers.clone();
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let sent = reqwest::Client::new()
            .request(method, &self.upstream)
            .headers(headers)
            .body(body)
            .send();
        let answer: http::Response<reqwest::Body> = sent.await.unwrap().into();
        answer.map(axum::body::Body::new)
    }
}

impl Script {
    fn name(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what}-secret-{}", self.number)
    }

    /// Logs everybody in, who then consents.
    fn authorize(&mut self, uri: &Uri, issuer: &str) -> Response {
        let asked = pairs(uri.query().unwrap());
        let is_document = asked["client_id"].starts_with("https://");
        if asked["response_type"] != "code"
            || asked["code_challenge_method"] != "S256"
            || !asked["redirect_uri"].starts_with("http://127.0.0.1:")
            || !(is_document || self.clients.contains_key(&asked["client_id"]))
        {
            return plain(StatusCode::BAD_REQUEST);
        }
        let code = self.name("code");
        let mut back = Pairs::from([
            ("code".to_owned(), code.clone()),
            ("state".to_owned(), asked["state"].clone()),
            ("iss".to_owned(), issuer.to_owned()),
        ]);
        for (key, value) in &self.redirect {
            match value.as_str() {
                "" => back.remove(*key),
                value => back.insert((*key).to_owned(), value.to_owned()),
            };
        }
        let mut to: url::Url = asked["redirect_uri"].parse().unwrap();
        to.query_pairs_mut().extend_pairs(back);
        self.codes.insert(code, asked);
        let mut response = plain(StatusCode::FOUND);
        let location = to.as_str().parse().unwrap();
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    fn token(&mut self, mut form: Pairs, headers: &HeaderMap) -> Response {
        let basic = headers.get(header::AUTHORIZATION).map(|value| {
            let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
        });
        let secret = basic.map(|pair| {
            let (id, secret) = pair.split_once(':').unwrap();
            form.insert("client_id".to_owned(), id.to_owned());
            secret.to_owned()
        });
        self.asked.push(form.clone());
        if let Some((status, error)) = self.fail {
            return said(status, &json!({ "error": error }));
        }
        let id = &form["client_id"];
        let known = self.clients.get(id).cloned();
        let known = known.or_else(|| id.starts_with("https://").then_some(None));
        if known.is_none_or(|known| known != secret) {
            return refused("invalid_client");
        }
        let good = match form["grant_type"].as_str() {
            "authorization_code" => self.codes.remove(&form["code"]).is_some_and(|asked| {
                let digest =
                    ring::digest::digest(&ring::digest::SHA256, form["code_verifier"].as_bytes());
                asked["code_challenge"] == URL_SAFE_NO_PAD.encode(digest)
                    && asked["redirect_uri"] == form["redirect_uri"]
                    && asked["client_id"] == form["client_id"]
                    && asked["resource"] == form["resource"]
            }),
            "refresh_token" => self.refresh.remove(&form["refresh_token"]),
            _ => false,
        };
        if !good {
            return refused("invalid_grant");
        }
        let access = self.name("access");
        self.access.insert(access.clone());
        let mut value = json!({ "access_token": access, "token_type": "Bearer" });
        if let Some(lifetime) = self.lifetime {
            value["expires_in"] = lifetime.into();
        }
        if self.refreshes {
            let refresh = self.name("refresh");
            self.refresh.insert(refresh.clone());
            value["refresh_token"] = refresh.into();
        }
        said(StatusCode::OK, &value)
    }
}
