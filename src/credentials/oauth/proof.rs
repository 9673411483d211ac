//! How weir proves to an authorization server who it is.

use crate::config::{AuthorizationCode, ClientAuthentication, Registration};
use crate::credentials::oauth::store::{ClientRecord, Method};
use crate::credentials::oauth::tokens::Proof;
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::credentials::{Around, SetupError};

/// What a client proves itself with, if the config says so.
#[derive(Debug)]
pub(super) struct Prover {
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    /// Nothing in the config: a public client, or one whose secret is with its grant.
    Nothing,
    Basic(SecretCell),
    Post(SecretCell),
}

/// A secret or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not there.
    #[error("the client's secret cannot be had")]
    Secret(#[from] SecretError),
}

impl Prover {
    pub(super) fn new(config: &AuthorizationCode, around: &Around) -> Result<Self, SetupError> {
        let open = |secret| around.secrets.open(secret);
        let kept = match &config.client {
            Registration::Known { authentication, .. } => match authentication {
                ClientAuthentication::None => Kept::Nothing,
                ClientAuthentication::SecretBasic(secret) => Kept::Basic(open(secret)?),
                ClientAuthentication::SecretPost(secret) => Kept::Post(open(secret)?),
                ClientAuthentication::PrivateKeyJwt { .. } => {
                    return Err(SetupError::Config(
                        "`oauth2_authorization_code` takes no `private_key_jwt`".into(),
                    ));
                }
            },
            Registration::Document(_) | Registration::Dynamic => Kept::Nothing,
        };
        Ok(Self { kept })
    }

    /// The proof for one request.
    pub(super) async fn prove(&self, record: &ClientRecord) -> Result<Proof, ProofError> {
        let own = || record.secret.clone();
        Ok(match (record.method, &self.kept) {
            (Method::None, _) => Proof::None,
            (Method::Basic, _) => own().map_or(Proof::None, Proof::Basic),
            (Method::Post, _) => own().map_or(Proof::None, Proof::Post),
            (Method::Config, Kept::Nothing) => Proof::None,
            (Method::Config, Kept::Basic(secret)) => Proof::Basic(secret.get().await?),
            (Method::Config, Kept::Post(secret)) => Proof::Post(secret.get().await?),
        })
    }
}
