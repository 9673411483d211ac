//! A client of a running weir's admin listener.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::Config;
use crate::secret::Secret;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer: one with 100,000 tools fits.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Why a running weir gives no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminClientError {
    #[error("`{0}` is not an http or https URL")]
    InvalidUrl(String),
    #[error("cannot set up an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("no weir answers at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} wants another token: the `admin.token` of the running weir's config")]
    Token { url: String },
    #[error("{url} answers with status {status}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Status {
        url: String,
        status: StatusCode,
        reason: Option<String>,
    },
    #[error("{url} answers with more than {MAX_ANSWER_BYTES} bytes")]
    TooLarge { url: String },
    #[error("{url} answers, but not as a weir does")]
    NotWeir {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

/// The admin listener of a running weir.
#[derive(Debug)]
pub(super) struct AdminClient {
    base: Url,
    token: Option<Secret>,
    http: reqwest::Client,
}

impl AdminClient {
    /// Creates a client for a URL, whose path is ignored. The token is sent only there: redirects are not
    /// followed.
    pub(super) fn at(url: &str, token: Option<Secret>) -> Result<Self, AdminClientError> {
        let base = Url::parse(url).ok();
        let base = base.filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| AdminClientError::InvalidUrl(url.to_owned()))?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(AdminClientError::Client)?;
        Ok(Self { base, token, http })
    }

    /// Creates a client for the admin listener of a config, if it has one.
    pub(super) fn of(config: &Config) -> Option<Result<Self, AdminClientError>> {
        let admin = config.admin.as_ref()?;
        let mut address: SocketAddr = admin.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            });
        }
        Some(Self::at(&format!("http://{address}/"), admin.token.clone()))
    }

    /// Returns the URL of the admin listener.
    pub(super) fn url(&self) -> &str {
        self.base.as_str()
    }

    /// Sends a `GET` request. `path` begins with `/`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, AdminClientError> {
        let mut url = self.base.clone();
        url.set_path(path);
        url.query_pairs_mut().clear().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    /// Sends a `POST` request with a JSON body. `path` begins with `/`.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminClientError> {
        let mut url = self.base.clone();
        url.set_path(path);
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.send(self.http.post(url).body(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, AdminClientError> {
        let url = || self.base.to_string();
        let unreachable = |source: reqwest::Error| AdminClientError::Unreachable {
            url: self.base.to_string(),
            source: source.without_url(),
        };
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(AdminClientError::TooLarge { url: url() });
            }
            body.extend_from_slice(&chunk);
        }
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(AdminClientError::Token { url: url() }),
            status => {
                let parsed = serde_json::from_slice::<serde_json::Value>(&body).ok();
                let reason =
                    parsed.and_then(|parsed| Some(parsed.get("error")?.as_str()?.to_owned()));
                let url = url();
                return Err(AdminClientError::Status {
                    url,
                    status,
                    reason,
                });
            }
        }
        serde_json::from_slice(&body)
            .map_err(|source| AdminClientError::NotWeir { url: url(), source })
    }
}
