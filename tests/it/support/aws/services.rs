//! STS, Secrets Manager, AgentCore Identity, the control plane of gateways, and a container's credentials, on one port.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir::sigv4::SignatureError;

use super::{Key, Keyring, rfc3339};

/// Gone when dropped.
pub struct Services {
    url: String,
    pub inner: Arc<Inner>,
    stop: CancellationToken,
}

/// A call that was let in.
#[derive(Clone, Debug)]
pub struct Called {
    /// `AssumeRole`, `GetSecretValue`, `container`, or method and path.
    pub what: String,
    /// The id of the key that signed.
    pub key: String,
    /// Its body.
    pub body: Value,
}

pub struct Inner {
    pub keys: Arc<Keyring>,
    called: Mutex<Vec<Called>>,
    /// `SecretString` by `SecretId`.
    pub secrets: Mutex<HashMap<String, String>>,
    /// The statuses of targets of gateways, in turn as they are asked; the last stays.
    pub targets: Mutex<BTreeMap<String, Target>>,
    /// The answer in place of everything: status, type of the error.
    pub failing: Mutex<Option<(u16, String)>>,
    /// The number of times that this was answered.
    pub failed: AtomicU64,
    /// The token that `GetResourceOauth2Token` gives.
    pub access_token: Mutex<String>,
}

/// A target of a gateway.
#[derive(Clone, Debug)]
pub struct Target {
    pub status: String,
    /// The statuses to come, one each time that it is looked at.
    pub next: Vec<String>,
    /// Members of `targetConfiguration.mcp`.
    pub mcp: Value,
    /// After it is synchronized.
    pub then: Vec<String>,
}

impl Target {
    /// An MCP server that is ready, and again after it was looked at twice.
    pub fn ready() -> Self {
        Self {
            status: "READY".to_owned(),
            next: Vec::new(),
            mcp: json!({"mcpServer": {"endpoint": "https://mcp.example.com"}}),
            then: ["SYNCHRONIZING", "READY"].map(str::to_owned).to_vec(),
        }
    }
}

impl Services {
    pub async fn start(keys: &Arc<Keyring>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            keys: Arc::clone(keys),
            called: Mutex::default(),
            secrets: Mutex::default(),
            targets: Mutex::default(),
            failing: Mutex::default(),
            failed: AtomicU64::new(0),
            access_token: Mutex::new("opaque".to_owned()),
        });
        let stop = CancellationToken::new();
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        let served = async move { axum::serve(listener, app).await };
        TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(served));
        Self { url, inner, stop }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every call that was let in.
    pub fn called(&self) -> Vec<Called> {
        self.inner.called.lock().unwrap().clone()
    }

    /// Returns how often this was called.
    pub fn count(&self, what: &str) -> usize {
        let called = self.called();
        called.iter().filter(|called| called.what == what).count()
    }

    /// Everything fails like this, or nothing.
    pub fn fail(&self, how: Option<(u16, &str)>) {
        let how = how.map(|(status, kind)| (status, kind.to_owned()));
        *self.inner.failing.lock().unwrap() = how;
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn refused(status: StatusCode, kind: &str, keys: &Keyring) -> Response {
    let name = HeaderName::from_static("x-amzn-errortype");
    let date = httpdate::fmt_http_date(keys.now());
    let headers = [
        (name, kind.to_owned()),
        (header::DATE, date),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    let body = json!({"__type": kind, "message": "planted-in-a-message"});
    (status, headers, body.to_string()).into_response()
}

fn turned_away(refusal: SignatureError, service: &str, keys: &Keyring) -> Response {
    let name = HeaderName::from_static("x-amzn-errortype");
    let date = httpdate::fmt_http_date(keys.now());
    let headers = [(name, refusal.code().to_owned()), (header::DATE, date)];
    let body = match service {
        // STS speaks XML, and calls it otherwise.
        "sts" => format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>{refusal}</Message></Error></ErrorResponse>"
        ),
        _ => refusal.body(),
    };
    (refusal.status(), headers, body).into_response()
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let failing = inner.failing.lock().unwrap().clone();
    if let Some((status, kind)) = failing {
        inner.failed.fetch_add(1, Ordering::Relaxed);
        let status = StatusCode::from_u16(status).unwrap();
        return refused(status, &kind, &inner.keys);
    }
    let path = uri.path().to_owned();
    if path == "/container" {
        inner.note("container", "", Value::Null);
        return container(&inner.keys.issue());
    }
    let action = headers.get("x-amz-target");
    let action = action.map(|action| action.to_str().unwrap().to_owned());
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let service = match (&action, is_form) {
        (Some(_), _) => "secretsmanager",
        (None, true) => "sts",
        (None, false) => "bedrock-agentcore",
    };
    let target = uri.path_and_query().unwrap().as_str();
    let judged = inner
        .keys
        .judge(service, method.as_str(), target, &headers, &body);
    let key = match judged {
        Ok(key) => key.id,
        Err(refusal) => return turned_away(refusal, service, &inner.keys),
    };
    let read: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query = uri.query().unwrap_or_default();
    match service {
        "sts" => {
            let form = Value::from(String::from_utf8_lossy(&body));
            inner.note("AssumeRole", &key, form);
            role(&inner.keys.issue())
        }
        "secretsmanager" => {
            inner.note("GetSecretValue", &key, read.clone());
            let secrets = inner.secrets.lock().unwrap();
            match secrets.get(read["SecretId"].as_str().unwrap()) {
                Some(text) => json!({"SecretString": text}).to_string().into_response(),
                None => {
                    let status = StatusCode::BAD_REQUEST;
                    refused(status, "ResourceNotFoundException", &inner.keys)
                }
            }
        }
        _ => {
            inner.note(&format!("{method} {path}"), &key, read.clone());
            agentcore(&inner, &path, query, &read)
        }
    }
}

fn container(key: &Key) -> Response {
    let body = json!({
        "AccessKeyId": key.id,
        "SecretAccessKey": key.secret,
        "Token": key.token,
        "Expiration": rfc3339(key.ends.unwrap()),
    });
    body.to_string().into_response()
}

fn role(key: &Key) -> Response {
    let ends = rfc3339(key.ends.unwrap());
    let (id, secret, token) = (&key.id, &key.secret, key.token.as_deref().unwrap());
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROA:weir</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/mcp/weir</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{ends}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )
    .into_response()
}

fn agentcore(inner: &Inner, path: &str, query: &str, body: &Value) -> Response {
    let said = match path {
        "/identities/GetWorkloadAccessToken"
        | "/identities/GetWorkloadAccessTokenForJWT"
        | "/identities/GetWorkloadAccessTokenForUserId" => {
            json!({"workloadAccessToken": format!("workload of {}", body["workloadName"].as_str().unwrap())})
        }
        "/identities/oauth2/token" => json!({"accessToken": *inner.access_token.lock().unwrap()}),
        "/identities/api-key" => json!({"apiKey": "k-1"}),
        _ => {
            let rest = path.strip_prefix("/gateways/gw-ab12cdef34/").unwrap();
            return targets(inner, rest, query, body);
        }
    };
    said.to_string().into_response()
}

fn targets(inner: &Inner, path: &str, query: &str, body: &Value) -> Response {
    let mut targets = inner.targets.lock().unwrap();
    if path == "targets/" {
        // Two a page, so that there is more than one.
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("nextToken="));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let items: Vec<Value> = targets
            .iter()
            .map(|(id, target)| json!({"targetId": id, "name": id, "status": target.status}))
            .skip(from)
            .take(2)
            .collect();
        let more = from + items.len() < targets.len();
        let next = more.then(|| (from + items.len()).to_string());
        return json!({"items": items, "nextToken": next})
            .to_string()
            .into_response();
    }
    if path == "synchronizeTargets" {
        let ids = body["targetIdList"].as_array().unwrap();
        assert_eq!(ids.len(), 1, "{body}");
        let target = targets.get_mut(ids[0].as_str().unwrap()).unwrap();
        target.next = target.then.clone();
        target.status = "SYNCHRONIZING".to_owned();
        let said = json!({"targets": []}).to_string();
        return (StatusCode::ACCEPTED, said).into_response();
    }
    let id = path.strip_prefix("targets/").unwrap().trim_end_matches('/');
    let target = targets.get_mut(id).unwrap();
    if !target.next.is_empty() {
        target.status = target.next.remove(0);
    }
    let said = json!({
        "targetId": id,
        "status": target.status,
        "targetConfiguration": {"mcp": target.mcp},
    });
    said.to_string().into_response()
}

impl Inner {
    fn note(&self, what: &str, key: &str, body: Value) {
        self.called.lock().unwrap().push(Called {
            what: what.to_owned(),
            key: key.to_owned(),
            body,
        });
    }
}
