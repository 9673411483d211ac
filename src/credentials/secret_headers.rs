//! Credentials that are headers with a secret in them: `bearer`, `basic`, `header`, and the
//! upstream's `headers`.

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::config::{Auth, SecretRef};
use crate::credentials::error::{NoCredential, SetupError};
use crate::credentials::rejection::{CredentialVersion, Rejection, RejectionOutcome};
use crate::credentials::secrets::{SecretCell, Secrets};
use crate::credentials::status::{CredentialState, StatusCell};
use crate::latest::Latest;
use crate::secret::Secret;

/// The most attempts to render headers from secrets that change meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// Headers that contain secrets.
#[derive(Debug)]
pub struct SecretHeaders {
    headers: Vec<SecretHeader>,
    /// The headers as they were last rendered.
    rendered: Latest<Option<Arc<RenderedHeaders>>>,
}

/// One header.
#[derive(Debug)]
struct SecretHeader {
    name: HeaderName,
    format: HeaderFormat,
    secret: SecretCell,
}

/// Headers that are ready to be sent.
#[derive(Debug)]
struct RenderedHeaders {
    /// The sum of the versions of the secrets: versions only grow, so the sum changes with each of
    /// them.
    version: u64,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// How a secret becomes the value of a header.
#[derive(Debug)]
enum HeaderFormat {
    /// The secret alone.
    Plain,
    /// `Bearer SECRET` (RFC 6750 §2.1).
    Bearer,
    /// `Basic` with this user name and the secret as password (RFC 7617 §2).
    Basic(String),
}

impl SecretHeaders {
    /// Collects the headers of `auth`, if it is of such a kind, and those of `headers`.
    ///
    /// # Errors
    /// A secret that cannot be opened.
    pub fn new(
        auth: &Auth,
        headers: &[(HeaderName, SecretRef)],
        secrets: &Secrets,
    ) -> Result<Self, SetupError> {
        let mut all = Vec::new();
        let mut add = |name: &HeaderName, format, secret| {
            all.push(SecretHeader {
                name: name.clone(),
                format,
                secret: secrets.open(secret)?,
            });
            Ok::<_, SetupError>(())
        };
        match auth {
            Auth::Bearer(token) => add(&header::AUTHORIZATION, HeaderFormat::Bearer, token)?,
            Auth::Header { name, value } => add(name, HeaderFormat::Plain, value)?,
            Auth::Basic { username, password } => {
                let format = HeaderFormat::Basic(username.clone());
                add(&header::AUTHORIZATION, format, password)?;
            }
            Auth::None
            | Auth::Sigv4(_)
            | Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_)
            | Auth::AgentcoreIdentity(_) => {}
        }
        for (name, value) in headers {
            add(name, HeaderFormat::Plain, value)?;
        }
        Ok(Self {
            headers: all,
            rendered: Latest::new(None),
        })
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Adds the headers to a request. Waits only for secrets that were never fetched.
    ///
    /// # Errors
    /// A secret that did not arrive before `deadline`, or that no header can carry.
    pub async fn apply(
        &self,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<CredentialVersion, NoCredential> {
        if self.headers.is_empty() {
            return Ok(CredentialVersion(0));
        }
        let version = self.version();
        let rendered = self.rendered.get();
        let rendered = match &*rendered {
            Some(rendered) if rendered.version == version => Arc::clone(rendered),
            _ => self.render(deadline).await?,
        };
        for (name, value) in &rendered.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(CredentialVersion(rendered.version))
    }

    fn version(&self) -> u64 {
        let headers = self.headers.iter();
        headers.map(|header| header.secret.version()).sum()
    }

    /// Renders the headers from the latest secrets, and keeps them for the next requests.
    async fn render(&self, deadline: Instant) -> Result<Arc<RenderedHeaders>, NoCredential> {
        for _ in 0..MAX_ATTEMPTS {
            let version = self.version();
            let mut headers = Vec::with_capacity(self.headers.len());
            for header in &self.headers {
                let secret = tokio::time::timeout_at(deadline, header.secret.get());
                let secret = secret
                    .await
                    .map_err(|_| NoCredential("a secret was not fetched in time".into()))?;
                let secret = secret.map_err(|error| NoCredential(error.0))?;
                headers.push((header.name.clone(), header.format.render(&secret)?));
            }
            // A secret that changed meanwhile may be in the headers in its old or its new version.
            if self.version() == version {
                let rendered = Arc::new(RenderedHeaders { version, headers });
                self.rendered.set(Some(Arc::clone(&rendered)));
                return Ok(rendered);
            }
        }
        Err(NoCredential("a secret changes too often to be used".into()))
    }

    /// Has the secrets read again, and returns whether one of them has changed since the rejected
    /// request.
    pub async fn handle_rejection(
        &self,
        version: CredentialVersion,
        rejection: &Rejection<'_>,
        status: &StatusCell,
        deadline: Instant,
    ) -> RejectionOutcome {
        let has_changed = || version.0 != self.version();
        if has_changed() {
            return RejectionOutcome::Retry;
        }
        for header in &self.headers {
            let renewed = header.secret.renew(header.secret.version());
            // A store that is too slow fetches on in the background.
            let _ = tokio::time::timeout_at(deadline, renewed).await;
        }
        if has_changed() {
            return RejectionOutcome::Retry;
        }
        let reason = match rejection.status {
            StatusCode::UNAUTHORIZED => "rejected with HTTP status 401",
            _ => "rejected with HTTP status 403",
        };
        status.enter(CredentialState::Failing, Some(reason), None);
        RejectionOutcome::Final(None)
    }
}

impl HeaderFormat {
    fn render(&self, secret: &Secret) -> Result<HeaderValue, NoCredential> {
        let value = match self {
            Self::Plain => HeaderValue::from_str(secret.expose()),
            Self::Bearer => HeaderValue::try_from(format!("Bearer {}", secret.expose())),
            Self::Basic(username) => {
                let pair = format!("{username}:{}", secret.expose());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                HeaderValue::try_from(format!("Basic {pair}"))
            }
        };
        let mut value = value.map_err(|_| {
            NoCredential("a secret has characters that an HTTP header cannot carry".into())
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}
