//! A client of a running weir's admin listener.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::{self, AdminAddress, Config};
use crate::secret::Secret;
use crate::server::known_admin_token;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The beginning of the place of a Unix socket.
const UNIX: &str = "unix:";
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
    #[error(
        "{url} wants another token: give the config of the running weir with -c, whose `admin.token` or state folder has it, and read it as that weir's user"
    )]
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

/// Returns whether a text names the admin listener of a running weir, rather than a file.
pub(super) fn is_admin_url(text: &str) -> bool {
    [UNIX, "http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn make_client(
    change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, AdminClientError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT);
    change(builder).build().map_err(AdminClientError::Client)
}

/// The admin listener of a running weir.
#[derive(Debug)]
pub(super) struct AdminClient {
    base: Url,
    /// The URL, or `unix:PATH`, for people.
    place: String,
    token: Option<Secret>,
    http: reqwest::Client,
}

impl AdminClient {
    /// Creates a client for a URL, whose path is ignored, or for `unix:PATH`. `config` is that of the
    /// running weir, whose token is used. The token is sent only there: redirects are not followed.
    pub(super) fn at(url: &str, config: Option<&Config>) -> Result<Self, AdminClientError> {
        let written = config.and_then(|config| config.admin.as_ref()?.first_token().cloned());
        let made = || config.and_then(known_admin_token);
        if let Some(path) = url.strip_prefix(UNIX) {
            return Self::over_socket(Path::new(path), written.or_else(made));
        }
        let base = Url::parse(url).ok();
        let base = base.filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| AdminClientError::InvalidUrl(url.to_owned()))?;
        let http = make_client(|builder| builder)?;
        // The token that weir made is for a weir on this machine; a name may lead anywhere.
        let is_here = base.host_str().is_some_and(|host| {
            matches!(host, "localhost" | "[::1]")
                || host
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        });
        let token = written.or_else(|| made().filter(|_| is_here));
        let place = base.to_string();
        Ok(Self {
            base,
            place,
            token,
            http,
        })
    }

    /// Creates a client for a URL without a config. If the usual one is that of the weir there, its
    /// token is used.
    pub(super) fn at_known(url: &str, usual: &Path) -> Result<Self, AdminClientError> {
        let client = Self::at(url, None)?;
        let config = config::load(usual, &config::process_env).ok();
        match config.as_ref().and_then(Self::of) {
            Some(Ok(known)) if known.place == client.place => Ok(known),
            _ => Ok(client),
        }
    }

    /// Creates a client for a Unix socket.
    fn over_socket(path: &Path, token: Option<Secret>) -> Result<Self, AdminClientError> {
        let base = Url::parse("http://localhost/");
        let base = base.map_err(|_| AdminClientError::InvalidUrl(path.display().to_string()))?;
        Ok(Self {
            base,
            place: format!("{UNIX}{}", path.display()),
            token,
            http: make_client(|builder| builder.unix_socket(path))?,
        })
    }

    /// Creates a client for the admin listener of a config, if it has one.
    pub(super) fn of(config: &Config) -> Option<Result<Self, AdminClientError>> {
        let mut address = match &config.admin.as_ref()?.address {
            AdminAddress::Tcp(address) => *address,
            AdminAddress::Unix { path, .. } => {
                return Some(Self::over_socket(path, known_admin_token(config)));
            }
        };
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            });
        }
        Some(Self::at(&format!("http://{address}/"), Some(config)))
    }

    /// Returns the URL of the admin listener, or `unix:PATH`.
    pub(super) fn url(&self) -> &str {
        &self.place
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
        let url = || self.place.clone();
        let unreachable = |source: reqwest::Error| AdminClientError::Unreachable {
            url: self.place.clone(),
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
