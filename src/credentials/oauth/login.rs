//! `weir login`: a person lets weir use an upstream (OAuth 2.1 authorization code with PKCE).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oauth2::PkceCodeVerifier;
use tokio::sync::mpsc;
use url::Url;

use crate::config::{Auth, AuthorizationCode, HttpEndpoint, Registration, Upstream};
use crate::credentials::oauth::callback::{Answer, Arrival, Expected, Listener, Page, pasted};
use crate::credentials::oauth::door::Door;
use crate::credentials::oauth::proof::{ProofError, Prover};
use crate::credentials::oauth::register::{self, RegistrationError};
use crate::credentials::oauth::server::{FindError, Server};
use crate::credentials::oauth::store::{ClientRecord, Method, Parties, Record, Store, StoreError};
use crate::credentials::oauth::tokens::{Have, Request, TokensError};
use crate::credentials::{Around, SetupError};

/// How long a serving weir may hold the lock that a login waits for.
const LOCK: Duration = Duration::from_secs(60);

/// Why nobody is logged in. No text of a peer but for well-known codes and host names.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// `auth` is of another type.
    #[error("it does not log in with `type: oauth2_authorization_code`")]
    OtherAuth,
    /// Nothing could be kept.
    #[error("there is no state folder to keep the login in; set `state.dir`")]
    NoState,
    /// The client for all this cannot be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The port of the redirect is taken.
    #[error(
        "cannot listen on port {port} of 127.0.0.1; free it, or set another `auth.redirect_port`"
    )]
    Listen {
        /// The port.
        port: u16,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// No authorization server.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The client id metadata document is not taken.
    #[error(
        "the authorization server takes no client id metadata documents; register weir there and set `auth.client_id`"
    )]
    Document,
    /// There is nowhere to register.
    #[error(
        "the authorization server registers nobody by itself; register weir there and set `auth.client_id`"
    )]
    NoRegistration,
    /// Weir could not register.
    #[error("cannot register weir at the authorization server")]
    Registration(#[from] RegistrationError),
    /// The client's secret or key cannot be used.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The person, or the server, said no.
    #[error("the authorization server did not let weir in ({})", code.unwrap_or("without a known error code"))]
    Denied {
        /// The code, if it is a known one.
        code: Option<&'static str>,
    },
    /// The answer is of another server, or does not say of which: a mix-up attack (RFC 9207).
    #[error(
        "the answer came from another authorization server than weir asked; nothing was stored"
    )]
    WrongIssuer,
    /// The redirect has neither code nor error.
    #[error("the browser came back without an authorization code")]
    NoCode,
    /// Nobody came.
    #[error("nobody logged in within {} minutes", .0.as_secs() / 60)]
    Timeout(Duration),
    /// The code was not taken.
    #[error("the authorization server gave no token")]
    Tokens(#[from] TokensError),
    /// The tokens cannot be kept.
    #[error("the login cannot be stored")]
    Store(#[from] StoreError),
}

/// What there is to say while a login waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A redirect of another login came in.
    Foreign,
    /// What was pasted is no redirect.
    NotOne,
}

/// A login that waits for a browser.
pub struct Login {
    listener: Listener,
    door: Arc<Door>,
    store: Store,
    url: Url,
    waiting: Waiting,
}

/// What is needed once the browser is back.
struct Waiting {
    expected: Expected,
    verifier: PkceCodeVerifier,
    redirect: String,
    proof: Prover,
    parties: Parties,
    scopes: Vec<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// Finds the authorization server, registers there if need be, and listens for the browser.
    ///
    /// # Errors
    /// The upstream does not log in this way, or its server is not one that weir can log in to.
    pub async fn begin(
        upstream: &Upstream,
        endpoint: &HttpEndpoint,
        around: &Around,
    ) -> Result<Self, LoginError> {
        let Auth::AuthorizationCode(config) = &upstream.auth else {
            return Err(LoginError::OtherAuth);
        };
        let store = Store::new(around.state_dir.as_deref().ok_or(LoginError::NoState)?);
        let door = Arc::new(Door::new(endpoint, config, around)?);
        let listener = Listener::bind(config.redirect_port);
        let listener = listener.await.map_err(|source| LoginError::Listen {
            port: config.redirect_port,
            source,
        })?;
        let redirect = listener.redirect();
        let mut server = Server::find(&endpoint.url, config, &door).await?;
        let record = registered(config, &server, &redirect, &door).await?;
        let asking = server.asking(&record.id, &redirect).await?;
        let parties = Parties {
            upstream: upstream.id.as_str().to_owned(),
            url: endpoint.url.clone(),
            issuer: server.issuer,
            token_endpoint: server.token_endpoint,
            resource: asking.resource,
            client: record,
        };
        Ok(Self {
            listener,
            door,
            store,
            url: asking.url,
            waiting: Waiting {
                expected: asking.expected,
                verifier: asking.verifier,
                redirect,
                proof: Prover::new(config, around)?,
                parties,
                scopes: server.scopes,
            },
        })
    }

    /// Where the browser has to go.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for the browser, or for its address in `lines`, gets the tokens and keeps them.
    ///
    /// # Errors
    /// Nobody came within `patience`, or what came is not good for tokens.
    pub async fn finish(
        self,
        patience: Duration,
        lines: mpsc::Receiver<String>,
        notice: impl FnMut(Notice),
    ) -> Result<Record, LoginError> {
        let Self {
            listener,
            door,
            store,
            waiting,
            ..
        } = self;
        listener
            .serve(async |heard| {
                let arrived = arrival(heard, lines, &waiting.expected, notice);
                let arrived = tokio::time::timeout(patience, arrived).await;
                let (answer, page) = arrived.map_err(|_| LoginError::Timeout(patience))?;
                let name = waiting.parties.upstream.clone();
                let done = waiting.redeem(answer, &door, &store).await;
                if let Some(page) = page {
                    let _ = page.send(Page::of(&done, &name));
                }
                done
            })
            .await
    }
}

/// Waits for a redirect that belongs to this login.
async fn arrival(
    mut heard: mpsc::Receiver<Arrival>,
    mut lines: mpsc::Receiver<String>,
    expected: &Expected,
    mut notice: impl FnMut(Notice),
) -> (Answer, Option<tokio::sync::oneshot::Sender<Page>>) {
    let mut typing = true;
    loop {
        let arrival = tokio::select! {
            Some(arrival) = heard.recv() => arrival,
            line = lines.recv(), if typing => {
                let Some(line) = line else {
                    typing = false;
                    continue;
                };
                if line.trim().is_empty() {
                    continue;
                }
                let Some(query) = pasted(&line) else {
                    notice(Notice::NotOne);
                    continue;
                };
                Arrival { query, page: None }
            }
            else => std::future::pending().await,
        };
        match expected.judge(&arrival.query) {
            // Anybody can send a browser here; only the right one ends the login.
            Answer::Foreign => {
                notice(Notice::Foreign);
                if let Some(page) = arrival.page {
                    let _ = page.send(Page::foreign());
                }
            }
            answer
            @ (Answer::Code(_) | Answer::Denied(_) | Answer::WrongIssuer | Answer::Empty) => {
                return (answer, arrival.page);
            }
        }
    }
}

impl Waiting {
    /// From the answer to tokens that are kept.
    async fn redeem(
        self,
        answer: Answer,
        door: &Door,
        store: &Store,
    ) -> Result<Record, LoginError> {
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Denied(code) => return Err(LoginError::Denied { code }),
            Answer::WrongIssuer => return Err(LoginError::WrongIssuer),
            Answer::Foreign | Answer::Empty => return Err(LoginError::NoCode),
        };
        let parties = self.parties;
        // Before the code is used up: where nothing can be kept, nothing is asked for.
        let lock = store.lock(&parties.upstream, &parties.issuer, LOCK).await?;
        let draft = lock.draft()?;
        let request = Request {
            endpoint: &parties.token_endpoint,
            client_id: &parties.client.id,
            proof: self.proof.prove(&parties.client).await?,
            resource: &parties.resource,
        };
        let have = Have::Code {
            code,
            verifier: self.verifier,
            redirect: self.redirect,
        };
        let tokens = request.send(have, &door.http).await?;
        let record = Record::new(parties, self.scopes, tokens);
        draft.keep(&record)?;
        Ok(record)
    }
}

impl Page {
    fn of(done: &Result<Record, LoginError>, name: &str) -> Self {
        match done {
            Ok(_) => Self {
                good: true,
                text: format!("Weir is logged in to {name}. You can close this page."),
            },
            Err(error) => Self {
                good: false,
                text: format!(
                    "Weir is not logged in to {name}: {error}. The terminal where weir login ran says more."
                ),
            },
        }
    }

    fn foreign() -> Self {
        let text =
            "This answer belongs to another login. Use the address that weir login printed last.";
        Self {
            good: false,
            text: text.to_owned(),
        }
    }
}

/// Who weir is at the server.
async fn registered(
    config: &AuthorizationCode,
    server: &Server,
    redirect: &str,
    door: &Door,
) -> Result<ClientRecord, LoginError> {
    let known = |id: &str, method| ClientRecord {
        id: id.to_owned(),
        secret: None,
        method,
    };
    match &config.client {
        Registration::Known { client_id, .. } => Ok(known(client_id, Method::Config)),
        Registration::Document(url) if server.takes_documents() => {
            Ok(known(url.as_str(), Method::None))
        }
        Registration::Document(_) => Err(LoginError::Document),
        Registration::Dynamic => {
            let endpoint = server.registration_endpoint(door)?;
            let endpoint = endpoint.ok_or(LoginError::NoRegistration)?;
            let methods = server.methods();
            let scopes = &server.scopes;
            let client =
                register::register(&door.http, &endpoint, redirect, scopes, methods.as_deref());
            Ok(client.await?)
        }
    }
}
