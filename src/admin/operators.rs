//! Operators that log in as callers do: `admin.auth`.

use std::sync::Arc;

use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::admin::response::json_response;
use crate::admin::sender::AdminSender;
use crate::authentication::{CurrentAuthenticator, Refusal, RefusalKind};
use crate::caller::{Caller, CallerConnection};
use crate::config::{AdminRoles, ClaimRule, OperatorRule};
use crate::protocol::origin::OriginError;

/// The answer to a request without a credential.
const CREDENTIAL_NEEDED: &str = "this needs a credential of `listen.auth` that `admin.auth` gives a role, or the admin token, which \
     `weir admin-token` prints, as `Authorization: Bearer`";
/// After how many seconds a credential that could not be checked may be sent again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The callers that are operators, and how they are authenticated.
pub(super) struct Operators {
    roles: AdminRoles,
    callers: Arc<CurrentAuthenticator>,
}

impl Operators {
    pub(super) fn new(roles: AdminRoles, callers: Arc<CurrentAuthenticator>) -> Self {
        Self { roles, callers }
    }

    /// Lets a request in whose sender has the role that it needs, and returns the sender. `origin` is
    /// the verdict on `Host` and `Origin`.
    ///
    /// # Errors
    /// The sender has no such role: the answer.
    pub(super) async fn admit(
        &self,
        request: &Parts,
        origin: Result<(), OriginError>,
    ) -> Result<AdminSender, Box<Response>> {
        let connection = request.extensions.get::<Arc<CallerConnection>>();
        let Some((authenticator, connection)) = self.callers.load_full().zip(connection) else {
            return Err(Box::new(respond(&Refusal::missing().kind)));
        };
        // A web page can send the headers of a platform from the platform's own address; a token or
        // a key it does not know.
        if authenticator.settings().platform.is_some()
            && let Err(error) = origin
        {
            let error = json!({ "error": error.to_string() });
            return Err(Box::new(json_response(StatusCode::FORBIDDEN, &error)));
        }
        match authenticator.authenticate(request, connection).await {
            Ok(caller) => self.check_role(request, &caller),
            Err(refusal) => {
                if refusal.kind != RefusalKind::MissingCredential {
                    let reason = &*refusal.reason;
                    tracing::warn!(reason, "operator not authenticated");
                }
                Err(Box::new(respond(&refusal.kind)))
            }
        }
    }

    fn check_role(&self, request: &Parts, caller: &Caller) -> Result<AdminSender, Box<Response>> {
        let AdminRoles { read, write } = &self.roles;
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let has = |rules: &[OperatorRule]| rules.iter().any(|rule| fits(rule, caller));
        let may = has(write) || (reads && has(read));
        let subject = caller.subject().unwrap_or_default();
        let (method, path) = (&request.method, request.uri.path());
        if may {
            if !reads {
                tracing::info!(subject, %method, path, "an operator changes something");
            }
            let subject = caller.subject().map(Arc::from);
            return Ok(AdminSender { subject });
        }
        tracing::warn!(subject, %method, path, "a caller without the role asks the admin listener");
        let error = match reads {
            true => "no rule of `admin.auth.read` or `admin.auth.write` is met",
            false => "no rule of `admin.auth.write` is met",
        };
        let answer = json_response(StatusCode::FORBIDDEN, &json!({ "error": error }));
        Err(Box::new(answer))
    }
}

/// Makes the answer to a refused credential. What is wrong with it is in the log.
fn respond(kind: &RefusalKind) -> Response {
    let text = match *kind == RefusalKind::MissingCredential {
        true => CREDENTIAL_NEEDED,
        false => kind.description(),
    };
    let mut answer = json_response(kind.status(), &json!({ "error": text }));
    let challenge = match kind.error() {
        None => HeaderValue::try_from("Bearer"),
        Some(error) => HeaderValue::try_from(format!("Bearer error=\"{error}\"")),
    };
    let headers = answer.headers_mut();
    if *kind == RefusalKind::Unavailable {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    } else if let Ok(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// Returns whether a caller meets all of a rule.
fn fits(rule: &OperatorRule, caller: &Caller) -> bool {
    let OperatorRule {
        kind,
        issuer,
        subjects,
        scopes,
        claims,
    } = rule;
    let identity = caller.identity();
    let is_one = |texts: &[String], text: &str| texts.iter().any(|one| one == text);
    identity.principal == *kind
        && (issuer.is_none() || issuer.as_deref() == identity.issuer.as_deref())
        && (subjects.is_empty() || is_one(subjects, &identity.subject))
        && (scopes.is_empty() || identity.scopes.iter().any(|scope| is_one(scopes, scope)))
        && claims.iter().all(|(name, rule)| {
            let tag = identity.tags.get(name.as_str());
            tag.is_some_and(|text| holds(rule, text))
        })
}

/// Returns whether a tag meets a rule. A list is a tag as its JSON text.
fn holds(rule: &ClaimRule, tag: &str) -> bool {
    let has = |wanted: &[&str]| {
        let items: Vec<Value> = serde_json::from_str(tag).unwrap_or_default();
        let mut texts = items.iter().filter_map(Value::as_str);
        texts.any(|text| wanted.contains(&text))
    };
    match rule {
        ClaimRule::Equals(wanted) => tag == wanted,
        ClaimRule::Contains(wanted) => has(&[wanted.as_str()]),
        ClaimRule::ContainsAny(wanted) => {
            has(&wanted.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::caller::{Identity, Principal};

    fn caller(principal: Principal, issuer: Option<&str>) -> Caller {
        let tags = [("groups", r#"["ops","dev"]"#), ("team", "a"), ("n", "7")];
        Caller::new(Identity {
            issuer: issuer.map(Box::from),
            scopes: ["weir/read", "mcp"].map(Box::from).into(),
            tags: tags.map(|(name, tag)| (name.into(), tag.into())).into(),
            ..Identity::new(principal, "root")
        })
    }

    fn rule(kind: Principal) -> OperatorRule {
        OperatorRule {
            kind,
            issuer: None,
            subjects: Vec::new(),
            scopes: Vec::new(),
            claims: IndexMap::new(),
        }
    }

    #[test]
    fn a_rule_is_met_by_callers_that_meet_all_of_it() {
        let user = || caller(Principal::OAuthUser, Some("https://a"));
        let of_user = || rule(Principal::OAuthUser);
        let subjects = vec!["x".to_owned(), "root".to_owned()];
        let by_subject = OperatorRule {
            subjects,
            ..of_user()
        };
        assert!(fits(&by_subject, &user()));
        for other in [Principal::ApiKey, Principal::IamEntity, Principal::Local] {
            assert!(!fits(&by_subject, &caller(other, None)), "{other:?}");
        }
        let by_issuer = |issuer: &str| OperatorRule {
            issuer: Some(issuer.to_owned()),
            ..by_subject.clone()
        };
        assert!(fits(&by_issuer("https://a"), &user()));
        assert!(!fits(&by_issuer("https://a/"), &user()));
        assert!(!fits(
            &by_issuer("https://a"),
            &caller(Principal::OAuthUser, None)
        ));
        let by_scope = |scope: &str| OperatorRule {
            scopes: vec![scope.to_owned()],
            ..by_subject.clone()
        };
        assert!(fits(&by_scope("weir/read"), &user()));
        assert!(!fits(&by_scope("weir"), &user()));
    }

    #[test]
    fn claims_are_compared_as_text_and_lists_by_their_items() {
        let contains = |text: &str| ClaimRule::Contains(text.to_owned());
        let equals = |text: &str| ClaimRule::Equals(text.to_owned());
        let any = |texts: [&str; 2]| ClaimRule::ContainsAny(texts.map(str::to_owned).into());
        let table = [
            ("groups", contains("ops"), true),
            ("groups", contains("op"), false),
            ("groups", any(["x", "dev"]), true),
            ("groups", any(["x", "y"]), false),
            ("groups", equals("ops"), false),
            ("team", equals("a"), true),
            ("team", equals("A"), false),
            ("team", contains("a"), false),
            ("n", equals("7"), true),
            ("other", equals(""), false),
        ];
        for (name, claim, expected) in table {
            let rule = OperatorRule {
                claims: [(name.to_owned(), claim.clone())].into(),
                ..rule(Principal::ApiKey)
            };
            let met = fits(&rule, &caller(Principal::ApiKey, None));
            assert_eq!(met, expected, "{name} {claim:?}");
        }
    }
}
