//! How weir authenticates to the authorization server of a login (RFC 6749 §2.3).

use crate::config::{AuthorizationCode, ClientAuthentication, Registration};
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::oauth::store::{StoredClient, TokenEndpointAuthMethod};
use crate::credentials::oauth::token_request::PresentedSecret;
use crate::credentials::secrets::{SecretCell, SecretUnavailable};

/// Authenticates the client of a login.
#[derive(Debug)]
pub(super) struct ClientAuthenticator {
    secret: ConfiguredSecret,
}

#[derive(Debug)]
enum ConfiguredSecret {
    /// None in the config: a public client, or one whose secret is stored with the login.
    None,
    Basic(SecretCell),
    Post(SecretCell),
}

/// The client's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientSecretError {
    /// It cannot be read or fetched.
    #[error("the client's secret cannot be read")]
    Secret(#[from] SecretUnavailable),
}

impl ClientAuthenticator {
    pub(super) fn new(
        config: &AuthorizationCode,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let open = |secret| context.secrets.open(secret);
        let secret = match &config.client {
            Registration::Known { authentication, .. } => match authentication {
                ClientAuthentication::None => ConfiguredSecret::None,
                ClientAuthentication::SecretBasic(secret) => ConfiguredSecret::Basic(open(secret)?),
                ClientAuthentication::SecretPost(secret) => ConfiguredSecret::Post(open(secret)?),
                ClientAuthentication::PrivateKeyJwt { .. } => {
                    return Err(SetupError::Config(
                        "`oauth2_authorization_code` takes no `private_key_jwt`".into(),
                    ));
                }
            },
            Registration::Document(_) | Registration::Dynamic => ConfiguredSecret::None,
        };
        Ok(Self { secret })
    }

    /// Returns the secret to present with one request, in the way in which the client was
    /// registered.
    pub(super) async fn authenticate(
        &self,
        record: &StoredClient,
    ) -> Result<PresentedSecret, ClientSecretError> {
        let stored = || record.secret.clone();
        Ok(match (record.method, &self.secret) {
            (TokenEndpointAuthMethod::None, _) => PresentedSecret::None,
            (TokenEndpointAuthMethod::Basic, _) => {
                stored().map_or(PresentedSecret::None, PresentedSecret::Basic)
            }
            (TokenEndpointAuthMethod::Post, _) => {
                stored().map_or(PresentedSecret::None, PresentedSecret::Post)
            }
            (TokenEndpointAuthMethod::Config, ConfiguredSecret::None) => PresentedSecret::None,
            (TokenEndpointAuthMethod::Config, ConfiguredSecret::Basic(secret)) => {
                PresentedSecret::Basic(secret.get().await?)
            }
            (TokenEndpointAuthMethod::Config, ConfiguredSecret::Post(secret)) => {
                PresentedSecret::Post(secret.get().await?)
            }
        })
    }
}
