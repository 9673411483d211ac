//! How an OAuth client authenticates.

use super::check::Check;
use super::secret_values::resolve_secret;
use super::values::expand_optional;
use crate::config::rules::Rule;
use crate::config::{ClientAuthentication, SecretRef, raw};
use crate::document::path::KeyPath;

/// The keys that say how a client authenticates.
pub(super) struct ClientProof<'r> {
    pub(super) method: Option<raw::ClientAuthMethod>,
    pub(super) secret: Option<&'r raw::SecretRef>,
    pub(super) key: Option<&'r raw::SecretRef>,
    pub(super) algorithm: Option<raw::SigningAlgorithm>,
    pub(super) key_id: Option<&'r String>,
    pub(super) may_be_public: bool,
}

impl ClientProof<'_> {
    pub(super) fn check(self, check: &mut Check<'_>, at: &KeyPath) -> ClientAuthentication {
        let secret = self
            .secret
            .map(|raw| resolve_secret(check, raw, &at.key("client_secret")));
        let key = self
            .key
            .map(|raw| resolve_secret(check, raw, &at.key("private_key")));
        let key_id = expand_optional(check, self.key_id, &at.key("key_id"));
        let excused = |key| check.source.is_excused(at, key);
        if excused("client_secret") || excused("private_key") || excused("client_authentication") {
            return ClientAuthentication::None;
        }
        if key.is_none() {
            let strangers = [
                ("algorithm", self.algorithm.is_some()),
                ("key_id", key_id.is_some()),
            ];
            for (name, present) in strangers {
                if present {
                    let (key, other) = (name, "private_key");
                    check.report(&at.key(name), Rule::Needs { key, other });
                }
            }
        }
        self.authentication(check, secret, key, key_id, at)
    }

    fn authentication(
        &self,
        check: &mut Check<'_>,
        secret: Option<SecretRef>,
        key: Option<SecretRef>,
        key_id: Option<String>,
        at: &KeyPath,
    ) -> ClientAuthentication {
        use raw::ClientAuthMethod;
        let place = at.key("client_authentication");
        let (rule, place) = match (self.method, secret, key) {
            (_, Some(_), Some(_)) => {
                let (key, other) = ("private_key", "client_secret");
                (Rule::NotWith { key, other }, at.key("private_key"))
            }
            (None | Some(ClientAuthMethod::ClientSecretBasic), Some(secret), None) => {
                return ClientAuthentication::SecretBasic(secret);
            }
            (Some(ClientAuthMethod::ClientSecretPost), Some(secret), None) => {
                return ClientAuthentication::SecretPost(secret);
            }
            (None | Some(ClientAuthMethod::PrivateKeyJwt), None, Some(key)) => {
                return ClientAuthentication::PrivateKeyJwt {
                    key,
                    algorithm: self.algorithm.map(|algorithm| name(algorithm).to_owned()),
                    key_id,
                };
            }
            (Some(ClientAuthMethod::None), None, None) => return ClientAuthentication::None,
            (None, None, None) if self.may_be_public => return ClientAuthentication::None,
            (None, None, None) => (Rule::Neither("client_secret", "private_key"), at.clone()),
            (Some(ClientAuthMethod::PrivateKeyJwt), _, None) => {
                let (key, other) = ("private_key_jwt", "private_key");
                (Rule::Needs { key, other }, place)
            }
            (
                Some(ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost),
                None,
                _,
            ) => {
                let (key, other) = ("client_authentication", "client_secret");
                (Rule::Needs { key, other }, place)
            }
            (Some(ClientAuthMethod::None), Some(_), None) => {
                let (key, other) = ("client_authentication: none", "client_secret");
                (Rule::NotWith { key, other }, place)
            }
            (Some(ClientAuthMethod::None), None, Some(_)) => {
                let (key, other) = ("client_authentication: none", "private_key");
                (Rule::NotWith { key, other }, place)
            }
        };
        check.report(&place, rule);
        ClientAuthentication::None
    }
}

/// Returns its name in JOSE (RFC 7518 §3.1).
fn name(algorithm: raw::SigningAlgorithm) -> &'static str {
    match algorithm {
        raw::SigningAlgorithm::Rs256 => "RS256",
        raw::SigningAlgorithm::Rs384 => "RS384",
        raw::SigningAlgorithm::Rs512 => "RS512",
        raw::SigningAlgorithm::Ps256 => "PS256",
        raw::SigningAlgorithm::Ps384 => "PS384",
        raw::SigningAlgorithm::Ps512 => "PS512",
        raw::SigningAlgorithm::Es256 => "ES256",
        raw::SigningAlgorithm::Es384 => "ES384",
        raw::SigningAlgorithm::EdDsa => "EdDSA",
    }
}
