//! How an OAuth client proves who it is.

use super::Check;
use super::http::secret_ref;
use super::upstream::optional;
use crate::config::rules::Rule;
use crate::config::{ClientAuthentication, SecretRef, raw};
use crate::document::path::KeyPath;

/// The keys that say how a client proves who it is.
pub(super) struct ClientProof<'r> {
    pub(super) method: Option<raw::Method>,
    pub(super) secret: Option<&'r raw::Secret>,
    pub(super) key: Option<&'r raw::Secret>,
    pub(super) algorithm: Option<raw::Algorithm>,
    pub(super) key_id: Option<&'r String>,
    pub(super) may_be_public: bool,
}

impl ClientProof<'_> {
    pub(super) fn checked(self, check: &mut Check<'_>, at: &KeyPath) -> ClientAuthentication {
        let secret = self
            .secret
            .map(|raw| secret_ref(check, raw, &at.key("client_secret")));
        let key = self
            .key
            .map(|raw| secret_ref(check, raw, &at.key("private_key")));
        let key_id = optional(check, self.key_id, &at.key("key_id"));
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
        use raw::Method;
        let place = at.key("client_authentication");
        let (rule, place) = match (self.method, secret, key) {
            (_, Some(_), Some(_)) => {
                let (key, other) = ("private_key", "client_secret");
                (Rule::NotWith { key, other }, at.key("private_key"))
            }
            (None | Some(Method::ClientSecretBasic), Some(secret), None) => {
                return ClientAuthentication::SecretBasic(secret);
            }
            (Some(Method::ClientSecretPost), Some(secret), None) => {
                return ClientAuthentication::SecretPost(secret);
            }
            (None | Some(Method::PrivateKeyJwt), None, Some(key)) => {
                return ClientAuthentication::PrivateKeyJwt {
                    key,
                    algorithm: self.algorithm.map(|algorithm| name(algorithm).to_owned()),
                    key_id,
                };
            }
            (Some(Method::None), None, None) => return ClientAuthentication::None,
            (None, None, None) if self.may_be_public => return ClientAuthentication::None,
            (None, None, None) => (Rule::Neither("client_secret", "private_key"), at.clone()),
            (Some(Method::PrivateKeyJwt), _, None) => {
                let (key, other) = ("private_key_jwt", "private_key");
                (Rule::Needs { key, other }, place)
            }
            (Some(Method::ClientSecretBasic | Method::ClientSecretPost), None, _) => {
                let (key, other) = ("client_authentication", "client_secret");
                (Rule::Needs { key, other }, place)
            }
            (Some(Method::None), Some(_), None) => {
                let (key, other) = ("client_authentication: none", "client_secret");
                (Rule::NotWith { key, other }, place)
            }
            (Some(Method::None), None, Some(_)) => {
                let (key, other) = ("client_authentication: none", "private_key");
                (Rule::NotWith { key, other }, place)
            }
        };
        check.report(&place, rule);
        ClientAuthentication::None
    }
}

/// As JOSE calls it (RFC 7518 §3.1).
fn name(algorithm: raw::Algorithm) -> &'static str {
    match algorithm {
        raw::Algorithm::Rs256 => "RS256",
        raw::Algorithm::Rs384 => "RS384",
        raw::Algorithm::Rs512 => "RS512",
        raw::Algorithm::Ps256 => "PS256",
        raw::Algorithm::Ps384 => "PS384",
        raw::Algorithm::Ps512 => "PS512",
        raw::Algorithm::Es256 => "ES256",
        raw::Algorithm::Es384 => "ES384",
        raw::Algorithm::EdDsa => "EdDSA",
    }
}
