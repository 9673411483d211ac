//! Credentials that are headers with secrets in them: bearer, basic, headers of the upstream's own.

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::config::{Auth, SecretRef};
use crate::credentials::secrets::{SecretCell, Secrets};
use crate::credentials::state::{Phase, StateCell};
use crate::credentials::{NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::latest::Latest;
use crate::secret::Secret;

/// How often secrets may change while headers are made of them.
const CHANGES: usize = 3;

/// Headers that are made of secrets.
#[derive(Debug)]
pub struct Fixed {
    parts: Vec<Part>,
    /// What was last made of them.
    made: Latest<Option<Arc<Made>>>,
}

/// One header.
#[derive(Debug)]
struct Part {
    name: HeaderName,
    form: Form,
    secret: SecretCell,
}

/// The headers, and the sum of the versions of the secrets in them.
#[derive(Debug)]
struct Made {
    number: u64,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What surrounds the secret in a header.
#[derive(Debug)]
enum Form {
    /// Nothing.
    Plain,
    /// `Bearer `
    Bearer,
    /// `Basic `, with a user name.
    Basic(String),
}

impl Fixed {
    /// The headers of `auth`, where it is of this kind, and of `headers`.
    ///
    /// # Errors
    /// A secret that cannot be had or is no header value.
    pub fn new(
        auth: &Auth,
        headers: &[(HeaderName, SecretRef)],
        secrets: &Secrets,
    ) -> Result<Self, SetupError> {
        let mut parts = Vec::new();
        let mut add = |name: &HeaderName, form, secret| {
            parts.push(Part {
                name: name.clone(),
                form,
                secret: secrets.open(secret)?,
            });
            Ok::<_, SetupError>(())
        };
        match auth {
            Auth::Bearer(token) => add(&header::AUTHORIZATION, Form::Bearer, token)?,
            Auth::Header { name, value } => add(name, Form::Plain, value)?,
            Auth::Basic { username, password } => {
                let form = Form::Basic(username.clone());
                add(&header::AUTHORIZATION, form, password)?;
            }
            Auth::None
            | Auth::Sigv4(_)
            | Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_)
            | Auth::AgentcoreIdentity(_) => {}
        }
        for (name, value) in headers {
            add(name, Form::Plain, value)?;
        }
        Ok(Self {
            parts,
            made: Latest::new(None),
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Puts them on; the number tells apart what they were made of. Waits for secrets that were never fetched.
    ///
    /// # Errors
    /// A secret that is not there until `deadline`, or is no header value.
    pub async fn put(
        &self,
        headers: &mut HeaderMap,
        deadline: Instant,
    ) -> Result<u64, NoCredential> {
        if self.parts.is_empty() {
            return Ok(0);
        }
        let number = self.number();
        let made = self.made.get();
        let made = match &*made {
            Some(made) if made.number == number => Arc::clone(made),
            _ => self.make(deadline).await?,
        };
        for (name, value) in &made.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(made.number)
    }

    fn number(&self) -> u64 {
        self.parts.iter().map(|part| part.secret.version()).sum()
    }

    /// The headers as the secrets are now, kept for the next requests.
    async fn make(&self, deadline: Instant) -> Result<Arc<Made>, NoCredential> {
        for _ in 0..CHANGES {
            let number = self.number();
            let mut headers = Vec::with_capacity(self.parts.len());
            for part in &self.parts {
                let secret = tokio::time::timeout_at(deadline, part.secret.get());
                let secret = secret
                    .await
                    .map_err(|_| NoCredential("a secret did not come in time".into()))?;
                let secret = secret.map_err(|error| NoCredential(error.0))?;
                headers.push((part.name.clone(), part.form.value(&secret)?));
            }
            // What changed meanwhile may be in it or not.
            if self.number() == number {
                let made = Arc::new(Made { number, headers });
                self.made.set(Some(Arc::clone(&made)));
                return Ok(made);
            }
        }
        Err(NoCredential("a secret changes all the time".into()))
    }

    /// Another attempt helps if a secret has changed since.
    pub async fn refused(
        &self,
        stamp: &Stamp,
        refusal: &Refused<'_>,
        state: &StateCell,
        deadline: Instant,
    ) -> Verdict {
        let is_new = || matches!(stamp, Stamp::Numbered(old) if *old != self.number());
        if is_new() {
            return Verdict::Again;
        }
        for part in &self.parts {
            let renewed = part.secret.renew(part.secret.version());
            // A store that is slow is left to itself.
            let _ = tokio::time::timeout_at(deadline, renewed).await;
        }
        if is_new() {
            return Verdict::Again;
        }
        let reason = match refusal.status {
            StatusCode::UNAUTHORIZED => "refused with HTTP status 401",
            _ => "refused with HTTP status 403",
        };
        state.enter(Phase::Failing, Some(reason), None);
        Verdict::Final(None)
    }
}

impl Form {
    fn value(&self, secret: &Secret) -> Result<HeaderValue, NoCredential> {
        let value = match self {
            Self::Plain => HeaderValue::from_str(secret.expose()),
            Self::Bearer => HeaderValue::try_from(format!("Bearer {}", secret.expose())),
            Self::Basic(username) => {
                let pair = format!("{username}:{}", secret.expose());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                HeaderValue::try_from(format!("Basic {pair}"))
            }
        };
        let mut value =
            value.map_err(|_| NoCredential("a secret has characters that no header has".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
