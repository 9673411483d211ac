//! Clients of OAuth 2 authorization servers.

use indexmap::IndexMap;
use url::Url;

use super::check::Check;
use super::client_proof::ClientProof;
use super::secret_values::resolve_secret;
use super::target::EndpointContext;
use super::values::{
    check_lower_case, check_scopes, check_url, expand_map, expand_optional, expand_required, host,
};
use crate::config::raw::forms::ScalarText;
use crate::config::rules::{Rule, UrlError};
use crate::config::{
    Auth, AuthorizationCode, ClientAuthentication, ClientCredentials, ExchangeSubject, OAuthClient,
    Registration, SecretRef, TokenExchange, TokenParameters, TokenServer, raw,
};
use crate::document::path::KeyPath;

/// Parameters of token requests that weir sets from keys of their own.
const OWN: [&str; 15] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "audience",
    "resource",
    "code",
    "redirect_uri",
    "refresh_token",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
];
/// The default type of the tokens that are exchanged (RFC 8693 §3).
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The default type of a caller's token.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// `auth: { type: oauth2_client_credentials }`
pub(super) fn check_client_credentials(
    check: &mut Check<'_>,
    raw: &raw::ClientCredentials,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    let token = check_token(
        check,
        raw.scopes.as_ref(),
        raw.audience.as_ref(),
        raw.resource.as_ref(),
        raw.parameters.as_ref(),
        at,
    );
    let proof = ClientProof {
        method: raw.client_authentication,
        secret: raw.client_secret.as_ref(),
        key: raw.private_key.as_ref(),
        algorithm: raw.algorithm,
        key_id: raw.key_id.as_ref(),
        may_be_public: false,
    };
    let authentication = proof.check(check, at);
    let client = check_client(
        check,
        ServerKeys {
            token_url: raw.token_url.as_ref(),
            issuer: raw.issuer.as_ref(),
            client_id: &raw.client_id,
            allowed_hosts: raw.allowed_hosts.as_ref(),
        },
        authentication,
        context,
        at,
    );
    let Some(client) = client else {
        return Auth::None;
    };
    Auth::ClientCredentials(Box::new(ClientCredentials { client, token }))
}

/// `auth: { type: oauth2_token_exchange }`
pub(super) fn check_token_exchange(
    check: &mut Check<'_>,
    raw: &raw::TokenExchange,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    let token = check_token(
        check,
        raw.scopes.as_ref(),
        raw.audience.as_ref(),
        raw.resource.as_ref(),
        raw.parameters.as_ref(),
        at,
    );
    let proof = ClientProof {
        method: raw.client_authentication,
        secret: raw.client_secret.as_ref(),
        key: raw.private_key.as_ref(),
        algorithm: raw.algorithm,
        key_id: raw.key_id.as_ref(),
        may_be_public: false,
    };
    let authentication = proof.check(check, at);
    let subject = check_subject(check, raw, at);
    let subject_type = check_token_type(
        check,
        raw.subject_token_type.as_ref(),
        "subject_token_type",
        at,
    );
    let actor_token = check_actor(check, raw, at);
    let requested = raw.requested_token_type.as_ref();
    let requested_token_type = check_token_type(check, requested, "requested_token_type", at);
    let client = check_client(
        check,
        ServerKeys {
            token_url: raw.token_url.as_ref(),
            issuer: raw.issuer.as_ref(),
            client_id: &raw.client_id,
            allowed_hosts: raw.allowed_hosts.as_ref(),
        },
        authentication,
        context,
        at,
    );
    let (Some(client), Some(subject)) = (client, subject) else {
        return Auth::None;
    };
    Auth::TokenExchange(Box::new(TokenExchange {
        client,
        token,
        subject_token_type: subject_type.unwrap_or_else(|| match subject {
            ExchangeSubject::Own(_) => JWT.to_owned(),
            ExchangeSubject::Caller => ACCESS_TOKEN.to_owned(),
        }),
        subject,
        actor_token,
        requested_token_type,
    }))
}

/// Checks whose token is exchanged.
fn check_subject(
    check: &mut Check<'_>,
    raw: &raw::TokenExchange,
    at: &KeyPath,
) -> Option<ExchangeSubject> {
    let (key, other) = ("subject_token", "subject");
    let own = raw.subject_token.as_ref();
    let own = own.map(|token| resolve_secret(check, token, &at.key(key)));
    match (own, raw.subject) {
        (Some(_), Some(raw::ExchangeSubject::Caller)) => {
            check.report(&at.key(key), Rule::NotWith { key, other });
            None
        }
        (Some(own), None) => Some(ExchangeSubject::Own(own)),
        (None, Some(raw::ExchangeSubject::Caller)) => Some(ExchangeSubject::Caller),
        (None, None) => {
            if !check.source.is_excused(at, key) && !check.source.is_excused(at, other) {
                check.report(at, Rule::Neither(key, other));
            }
            None
        }
    }
}

/// Checks the token of the acting party, and its type.
fn check_actor(
    check: &mut Check<'_>,
    raw: &raw::TokenExchange,
    at: &KeyPath,
) -> Option<(SecretRef, String)> {
    let kind = check_token_type(check, raw.actor_token_type.as_ref(), "actor_token_type", at);
    let Some(actor) = &raw.actor_token else {
        if kind.is_some() && !check.source.is_excused(at, "actor_token") {
            let (key, other) = ("actor_token_type", "actor_token");
            check.report(&at.key(key), Rule::Needs { key, other });
        }
        return None;
    };
    let actor = resolve_secret(check, actor, &at.key("actor_token"));
    Some((actor, kind.unwrap_or_else(|| JWT.to_owned())))
}

fn check_token_type(
    check: &mut Check<'_>,
    raw: Option<&String>,
    key: &'static str,
    at: &KeyPath,
) -> Option<String> {
    expand_optional(check, raw, &at.key(key))
}

/// `auth: { type: oauth2_authorization_code }`
pub(super) fn check_authorization_code(
    check: &mut Check<'_>,
    raw: &raw::AuthorizationCode,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Auth {
    if !context.has_state {
        check.report(at, Rule::NeedsState);
    }
    let issuer = raw
        .issuer
        .as_ref()
        .and_then(|text| check_issuer(check, text, context, &at.key("issuer")));
    let client_id = expand_optional(check, raw.client_id.as_ref(), &at.key("client_id"));
    let proof = ClientProof {
        method: raw.client_authentication,
        secret: raw.client_secret.as_ref(),
        key: None,
        algorithm: None,
        key_id: None,
        may_be_public: true,
    };
    let authentication = proof.check(check, at);
    let document = raw.client_metadata_url.as_ref();
    let document = document
        .and_then(|text| check_server_url(check, text, context, &at.key("client_metadata_url")));
    let client = check_registration(check, raw, client_id, document, authentication, at);
    let port = raw.redirect_port.map_or(Ok(0), |port| {
        u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or(Rule::Range {
                least: 1,
                most: u64::from(u16::MAX),
            })
    });
    Auth::AuthorizationCode(Box::new(AuthorizationCode {
        issuer,
        client,
        scopes: check_scopes(check, raw.scopes.as_ref(), &at.key("scopes")),
        redirect_port: check.or(&at.key("redirect_port"), port, 0),
        allowed_hosts: check_hosts(check, raw.allowed_hosts.as_ref(), at),
        allow_plain_http: context.allow_plain,
    }))
}

/// Checks how weir is registered at the authorization server.
fn check_registration(
    check: &mut Check<'_>,
    raw: &raw::AuthorizationCode,
    client_id: Option<String>,
    document: Option<Url>,
    authentication: ClientAuthentication,
    at: &KeyPath,
) -> Registration {
    match (client_id, document) {
        (Some(_), Some(_)) => {
            let (key, other) = ("client_metadata_url", "client_id");
            check.report(&at.key(key), Rule::NotWith { key, other });
            Registration::Dynamic
        }
        (Some(client_id), None) => Registration::Known {
            client_id,
            authentication,
        },
        (None, document) => {
            let strangers = [
                ("client_secret", raw.client_secret.is_some()),
                ("client_authentication", raw.client_authentication.is_some()),
            ];
            for (key, present) in strangers {
                if present && !check.source.is_excused(at, "client_id") {
                    let other = "client_id";
                    check.report(&at.key(key), Rule::Needs { key, other });
                }
            }
            document.map_or(Registration::Dynamic, Registration::Document)
        }
    }
}

/// The keys that name the token server and the client.
struct ServerKeys<'r> {
    token_url: Option<&'r String>,
    issuer: Option<&'r String>,
    client_id: &'r str,
    allowed_hosts: Option<&'r Vec<String>>,
}

fn check_client(
    check: &mut Check<'_>,
    raw: ServerKeys<'_>,
    authentication: ClientAuthentication,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Option<OAuthClient> {
    let client_id = expand_required(check, raw.client_id, &at.key("client_id"));
    let allowed_hosts = check_hosts(check, raw.allowed_hosts, at);
    let server = match (raw.token_url, raw.issuer) {
        (Some(url), issuer) => {
            if issuer.is_some() {
                let (key, other) = ("issuer", "token_url");
                check.report(&at.key(key), Rule::NotWith { key, other });
            }
            TokenServer::TokenUrl(check_server_url(check, url, context, &at.key("token_url"))?)
        }
        (None, Some(text)) => {
            TokenServer::Issuer(check_issuer(check, text, context, &at.key("issuer"))?)
        }
        (None, None) => {
            let excused = |key| check.source.is_excused(at, key);
            if !excused("token_url") && !excused("issuer") {
                check.report(at, Rule::Neither("token_url", "issuer"));
            }
            return None;
        }
    };
    Some(OAuthClient {
        server,
        client_id,
        authentication,
        allowed_hosts,
        allow_plain_http: context.allow_plain,
    })
}

fn check_token(
    check: &mut Check<'_>,
    raw_scopes: Option<&Vec<String>>,
    audience: Option<&String>,
    resource: Option<&String>,
    parameters: Option<&IndexMap<String, ScalarText>>,
    at: &KeyPath,
) -> TokenParameters {
    let place = at.key("resource");
    // A name and not a place: nothing is sent there (RFC 8707 §2).
    let resource = expand_optional(check, resource, &place).and_then(|text| {
        let url = Url::parse(&text).map_err(UrlError::Syntax);
        let url = check.ok(&place, url)?;
        if url.fragment().is_some() {
            check.report(&place, UrlError::Fragment);
        }
        Some(url)
    });
    let place = at.key("parameters");
    for key in parameters.into_iter().flat_map(IndexMap::keys) {
        if OWN.contains(&key.as_str()) {
            check.report(&place.key(key), Rule::OwnParameter);
        }
    }
    TokenParameters {
        scopes: check_scopes(check, raw_scopes, &at.key("scopes")),
        audience: expand_optional(check, audience, &at.key("audience")),
        resource,
        parameters: expand_map(check, parameters, &place),
    }
}

fn check_hosts(check: &mut Check<'_>, raw: Option<&Vec<String>>, at: &KeyPath) -> Vec<String> {
    check_lower_case(check, raw.cloned(), &at.key("allowed_hosts"), host)
}

fn check_issuer(
    check: &mut Check<'_>,
    text: &str,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Option<Url> {
    let url = check_server_url(check, text, context, at)?;
    if url.query().is_some() {
        check.report(at, UrlError::Query);
    }
    Some(url)
}

fn check_server_url(
    check: &mut Check<'_>,
    text: &str,
    context: EndpointContext<'_>,
    at: &KeyPath,
) -> Option<Url> {
    check_url(check, text, context.allow_plain, at)
}
