//! Credentials that are headers with secrets in them: bearer, basic, headers of the upstream's own.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use base64::Engine as _;

use crate::auth::secrets::{SecretCell, Secrets};
use crate::auth::state::{Phase, StateCell};
use crate::auth::{NoCredential, Refused, SetupError, Stamp, Verdict};
use crate::config::{Auth, SecretRef};

/// Headers that are made of secrets.
#[derive(Debug)]
pub struct Fixed {
    parts: Vec<(HeaderName, Form, SecretCell)>,
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
        match auth {
            Auth::Bearer(token) => {
                parts.push((header::AUTHORIZATION, Form::Bearer, secrets.open(token)?));
            }
            Auth::Header { name, value } => {
                parts.push((name.clone(), Form::Plain, secrets.open(value)?));
            }
            Auth::Basic { username, password } => {
                let form = Form::Basic(username.clone());
                parts.push((header::AUTHORIZATION, form, secrets.open(password)?));
            }
            Auth::None
            | Auth::Sigv4(_)
            | Auth::ClientCredentials(_)
            | Auth::AuthorizationCode(_)
            | Auth::TokenExchange(_)
            | Auth::AgentcoreIdentity(_) => {}
        }
        for (name, value) in headers {
            parts.push((name.clone(), Form::Plain, secrets.open(value)?));
        }
        Ok(Self { parts })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Puts them on; the number tells apart what they were made of.
    ///
    /// # Errors
    /// A secret that is not there, or is no header value any more.
    pub fn put(&self, headers: &mut HeaderMap) -> Result<u64, NoCredential> {
        let mut number = 0;
        for (name, form, secret) in &self.parts {
            number += secret.version();
            let secret = secret
                .now()
                .ok_or_else(|| NoCredential("a secret is not there".into()))?;
            let text = match form {
                Form::Plain => secret.expose().to_owned(),
                Form::Bearer => format!("Bearer {}", secret.expose()),
                Form::Basic(username) => {
                    let pair = format!("{username}:{}", secret.expose());
                    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                    format!("Basic {pair}")
                }
            };
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| NoCredential("a secret has characters that no header has".into()))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        Ok(number)
    }

    /// Another attempt helps if a secret has changed since.
    pub fn refused(&self, stamp: &Stamp, refusal: &Refused<'_>, state: &StateCell) -> Verdict {
        let number: u64 = self
            .parts
            .iter()
            .map(|(_, _, secret)| secret.version())
            .sum();
        if matches!(stamp, Stamp::Numbered(old) if *old != number) {
            return Verdict::Again;
        }
        for (_, _, secret) in &self.parts {
            secret.refused(secret.version());
        }
        let reason = match refusal.status {
            StatusCode::UNAUTHORIZED => "refused with HTTP status 401",
            _ => "refused with HTTP status 403",
        };
        state.enter(Phase::Failing, Some(reason), None);
        Verdict::Final(None)
    }
}
