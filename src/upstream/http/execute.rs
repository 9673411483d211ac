//! Sends one HTTP request, with the cookies of its session and weir's credentials. A request that
//! the server says it did not run is sent again: after a refusal with new credentials, after a
//! redirect to the path that it names.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Response, StatusCode};
use url::Url;

use super::media::ERROR_BODY;
use super::request::HttpRequest;
use super::{HttpWire, redirect};
use crate::credentials::auth_mismatch;
use crate::credentials::{Credentials, Rejection, RejectionOutcome};
use crate::upstream::client::Body;
use crate::upstream::error::{LinkError, RedirectTarget};
use crate::upstream::peer::SenderIdentity;

/// The time that the body of a 401 or 403 may take. The caller waits meanwhile, and the body only
/// explains the refusal.
const REFUSAL_BODY: Duration = Duration::from_secs(2);

impl HttpWire {
    /// Sends a request and follows redirects.
    ///
    /// # Errors
    /// There is no answer, weir's credentials were refused, or a redirect cannot be followed.
    pub(super) async fn execute(
        &self,
        request: HttpRequest<'_>,
    ) -> Result<Response<Body>, LinkError> {
        let kept = HttpRequest {
            method: request.method.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            ..request
        };
        let response = self.execute_at(None, request).await?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        Box::pin(self.follow(response, kept)).await
    }

    /// The same for a call. The headers of calls are copied only once the server has redirected
    /// something, because that costs each call more than it is worth: most servers never do.
    ///
    /// # Errors
    /// The same, and [`LinkError::NotRun`] for the first call that is redirected: it has to be sent
    /// again, and is followed then.
    pub(super) async fn execute_call(
        &self,
        request: HttpRequest<'_>,
    ) -> Result<Response<Body>, LinkError> {
        if self.redirects.load(Ordering::Relaxed) {
            return Box::pin(self.execute(request)).await;
        }
        let response = self.execute_at(None, request).await?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        let status = response.status();
        redirect::target(&self.url, status, response.headers())?;
        self.redirects.store(true, Ordering::Relaxed);
        Err(LinkError::NotRun(status))
    }

    /// Sends a redirected request to where it has to go.
    async fn follow(
        &self,
        mut response: Response<Body>,
        request: HttpRequest<'_>,
    ) -> Result<Response<Body>, LinkError> {
        let mut at = self.url.clone();
        for _ in 0..redirect::MOST {
            at = redirect::target(&at, response.status(), response.headers())?;
            if !self.redirects.swap(true, Ordering::Relaxed) {
                tracing::info!(
                    host = at.host_str(), status = %response.status(),
                    "an upstream redirects each request to another path: the right `url` saves that"
                );
            }
            let again = HttpRequest {
                method: request.method.clone(),
                headers: request.headers.clone(),
                body: request.body.clone(),
                ..request
            };
            response = self.execute_at(Some(&at), again).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
        }
        Err(LinkError::Redirected {
            status: response.status(),
            to: RedirectTarget::Circle,
        })
    }

    /// Sends a request to the upstream's URL, or to another of the same server.
    async fn execute_at(
        &self,
        other: Option<&Url>,
        mut request: HttpRequest<'_>,
    ) -> Result<Response<Body>, LinkError> {
        let url = other.unwrap_or(&self.url);
        let cookies = request.sender.cookies;
        cookies.add_to(url, &mut request.headers);
        if !self.credentials_of(request.sender).is_empty() {
            return self.execute_with_credentials(other, request).await;
        }
        let sent = self
            .client
            .send(other, request.method, request.headers, request.body);
        let response = sent.await.map_err(LinkError::from_transfer)?;
        cookies.update_from(url, response.headers());
        match response.status() {
            status if is_refusal(status) => Err(LinkError::Denied {
                status,
                reason: None,
            }),
            _ => Ok(response),
        }
    }

    /// Returns the credentials of a sender: those of a caller's login are never mixed with weir's own.
    fn credentials_of<'s>(&'s self, sender: SenderIdentity<'s>) -> &'s Credentials {
        sender
            .login
            .map_or(&self.credentials, |login| &login.credentials)
    }

    /// Adds credentials and sends. A request that is refused with 401 or 403 did not run, so it is
    /// sent once more if weir has new credentials.
    async fn execute_with_credentials(
        &self,
        other: Option<&Url>,
        request: HttpRequest<'_>,
    ) -> Result<Response<Body>, LinkError> {
        let HttpRequest {
            method,
            headers,
            body,
            sender,
            deadline,
        } = request;
        let (cookies, credentials) = (sender.cookies, self.credentials_of(sender));
        let url = other.unwrap_or(&self.url);
        let mut may_repeat = true;
        loop {
            let mut signed = headers.clone();
            let version = credentials
                .authorize(&method, url, &mut signed, &body, deadline)
                .await?;
            let sent = self
                .client
                .send(other, method.clone(), signed, body.clone());
            let response = sent.await.map_err(LinkError::from_transfer)?;
            cookies.update_from(url, response.headers());
            if !is_refusal(response.status()) {
                credentials.handle_accepted(version);
                return Ok(response);
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let read = self.reader.body(response, ERROR_BODY, &self.memory);
            let read = tokio::time::timeout(REFUSAL_BODY, read).await;
            let rejection = Rejection {
                status,
                headers: &headers,
                body: &read.ok().and_then(Result::ok).unwrap_or_default(),
            };
            let handled = credentials
                .handle_rejection(version, &rejection, deadline)
                .await;
            let reason = match handled {
                RejectionOutcome::Retry if may_repeat => {
                    may_repeat = false;
                    continue;
                }
                RejectionOutcome::Retry => None,
                RejectionOutcome::Final(reason) => reason,
            };
            let sent = sender.login.map_or(self.sent, |login| login.sent);
            let known = || auth_mismatch::explain(status, &headers, rejection.body, sent);
            let reason = reason.or_else(|| known().map(Into::into));
            return Err(LinkError::Denied { status, reason });
        }
    }
}

/// Returns whether a status answers weir's credentials rather than the message.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
