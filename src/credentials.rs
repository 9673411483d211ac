//! How weir proves to an upstream who it is. The caller's own token never goes this way.
//!
//! [`Credentials`] put on a request what logs in, last of all, and are told when that was refused. What they are
//! worth right now is a [`Status`] that operators see.

pub mod aws;
pub mod fixed;
pub mod grant;
pub mod oauth;
pub mod reach;
pub mod refusal;
pub mod secrets;
pub mod state;
pub mod token;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{self, Auth};
use crate::files::Files;
use crate::tls::Tls;
use aws::{Signer, With};
use fixed::Fixed;
use secrets::{SecretError, Secrets};
use state::{Requests, StateCell, Status};
use token::TokenSource;

/// What credentials need from the weir they belong to.
#[derive(Clone, Debug)]
pub struct Around {
    /// What `https` is made with.
    pub tls: Arc<Tls>,
    /// The secrets that may change while weir runs.
    pub secrets: Arc<Secrets>,
    /// Where tokens of `weir login` are kept; `None` where nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Owner of everything spawned.
    pub tasks: TaskTracker,
    /// When weir stops: nothing is fetched any more.
    pub stop: CancellationToken,
}

impl Around {
    /// For a weir whose files are `files` and whose tasks `tasks` owns.
    #[must_use]
    pub fn new(
        files: &Arc<Files>,
        state_dir: Option<PathBuf>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let tls = Arc::new(Tls::new(Arc::clone(files)));
        let with = With {
            tls: Arc::clone(&tls),
            tasks: tasks.clone(),
            stop: stop.clone(),
            endpoint: None,
        };
        let secrets = Secrets::new(Arc::clone(files), with);
        Self {
            tls,
            secrets: Arc::new(secrets),
            state_dir,
            tasks: tasks.clone(),
            stop: stop.clone(),
        }
    }
}

/// What cannot be set up, which shows in the config.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A secret that cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The credential has characters that no header can carry (RFC 9110 §5.5).
    #[error("the credential has characters that an HTTP header cannot carry")]
    Header,
    /// `tls` or the machine's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// No HTTP client for token requests.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// Something else in the config, in words.
    #[error("{0}")]
    Config(String),
}

/// Weir has nothing to log in with. The words are weir's own: no text of a peer, no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no credential for the upstream: {0}")]
pub struct NoCredential(pub Box<str>);

/// An upstream's refusal of what weir logged in with: 401 or 403.
#[derive(Debug)]
pub struct Refused<'r> {
    /// 401 or 403.
    pub status: StatusCode,
    /// The headers of the answer.
    pub headers: &'r HeaderMap,
    /// The beginning of its body.
    pub body: &'r Bytes,
}

/// What to do about a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credential is another now, or the clock was put right: try once more.
    Again,
    /// That is how it is. Why, in weir's own words, if that is known.
    Final(Option<Box<str>>),
}

/// Which credential a request went out with.
#[derive(Clone, Debug)]
pub enum Stamp {
    /// None, or one that never changes.
    Fixed,
    /// The nth of a kind of credential that is replaced.
    Numbered(u64),
}

/// What logs in to one upstream.
#[derive(Debug)]
pub struct Credentials {
    /// `headers`, and credentials that are headers with secrets in them.
    fixed: Fixed,
    kind: Kind,
    /// The word in the config.
    name: &'static str,
    state: Arc<StateCell>,
}

#[derive(Debug)]
enum Kind {
    Fixed,
    Signer(Box<Signer>),
    Token(Arc<TokenSource>),
}

impl Credentials {
    /// The credentials of an upstream over HTTP. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        upstream: &config::Upstream,
        endpoint: &config::HttpEndpoint,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let state = Arc::new(StateCell::default());
        let fixed = Fixed::new(&upstream.auth, &endpoint.headers, &around.secrets)?;
        let kind = match &upstream.auth {
            Auth::None | Auth::Bearer(_) | Auth::Header { .. } | Auth::Basic { .. } => Kind::Fixed,
            Auth::Sigv4(config) => {
                Kind::Signer(Box::new(Signer::new(config, around, Arc::clone(&state))?))
            }
            Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_)
            | Auth::AgentcoreIdentity(_) => Kind::Token(TokenSource::new(
                upstream,
                endpoint,
                around,
                Arc::clone(&state),
            )?),
        };
        Ok(Self {
            fixed,
            kind,
            name: upstream.auth.as_str(),
            state,
        })
    }

    /// Whether there is nothing to put on.
    #[must_use]
    pub fn are_none(&self) -> bool {
        matches!(self.kind, Kind::Fixed) && self.fixed.is_empty()
    }

    /// Puts on what logs in. Nothing may change the request after this: its bytes may be signed.
    ///
    /// # Errors
    /// There is no credential, and none could be had until `deadline`.
    pub async fn authorize(
        &self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Stamp, NoCredential> {
        let number = self.fixed.put(headers, deadline).await?;
        match &self.kind {
            Kind::Fixed => Ok(Stamp::Numbered(number)),
            Kind::Signer(signer) => signer.sign(method, url, headers, body, deadline).await,
            Kind::Token(source) => source.put(headers, deadline).await,
        }
    }

    /// Takes notice that a request was let in.
    pub fn accepted(&self, stamp: &Stamp) {
        match &self.kind {
            Kind::Fixed => self.state.confirmed(),
            Kind::Signer(signer) => signer.accepted(),
            Kind::Token(source) => source.accepted(stamp),
        }
    }

    /// Takes notice of a refusal, and says whether another attempt can help.
    pub async fn refused(
        &self,
        stamp: &Stamp,
        refusal: &Refused<'_>,
        deadline: Instant,
    ) -> Verdict {
        match &self.kind {
            Kind::Fixed => {
                let state = &self.state;
                self.fixed.refused(stamp, refusal, state, deadline).await
            }
            Kind::Signer(signer) => signer.refused(stamp, refusal),
            Kind::Token(source) => source.refused(stamp, refusal, deadline).await,
        }
    }

    /// Their kind, as the config says it: `auth.type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Requests for credentials so far: to token endpoints, to AWS.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.state.requests()
    }

    /// Waits until there is a credential again where there was none. For one who waits.
    pub async fn recovered(&self) {
        self.state.recovered().await;
    }

    /// What they are worth right now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.get()
    }
}
