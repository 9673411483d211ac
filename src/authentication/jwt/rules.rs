//! Which tokens of an issuer are accepted: one entry of `listen.auth.jwt`.

use std::time::SystemTime;

use serde_json::Value;

use super::token::{ClaimSet, excerpt};
use crate::authentication::refusal::{Refusal, RefusalKind};
use crate::config::{AudienceRule, ClaimRule, JwtIssuer};

const ENDED: &str = "the token has expired";
const EARLY: &str = "the token is not valid yet";
const TIMES: &str = "the token has no usable expiration time";
const AUDIENCE: &str = "the token is for another audience";
const CLAIMS: &str = "the token does not meet the requirements of this server";

/// The longest reason of several entries, in bytes.
const MAX_REASON: usize = 2048;

/// The rules of one entry.
#[derive(Debug)]
pub(super) struct TokenRules {
    /// The key path of the entry: `listen.auth.jwt[0]`.
    place: String,
    entry: JwtIssuer,
    /// The audiences of which one is needed; `None` if they do not matter.
    audiences: Option<Vec<String>>,
}

impl TokenRules {
    /// Makes the rules of the entry with this index. `public_url` is the default audience; without
    /// one, an entry that needs it accepts no token.
    pub(super) fn new(index: usize, entry: &JwtIssuer, public_url: Option<&str>) -> Self {
        let audiences = match &entry.audience {
            AudienceRule::PublicUrl => Some(public_url.into_iter().map(str::to_owned).collect()),
            AudienceRule::OneOf(audiences) => Some(audiences.clone()),
            AudienceRule::Any => None,
        };
        Self {
            place: format!("listen.auth.jwt[{index}]"),
            entry: entry.clone(),
            audiences,
        }
    }

    /// Judges the claims of a token whose signature is verified. Returns when the token ends, leeway
    /// included.
    ///
    /// # Errors
    /// It does not meet the rules. Scopes are looked at last: only a token that is right in all else
    /// is short of them.
    pub(super) fn judge(&self, claims: &ClaimSet, now: SystemTime) -> Result<SystemTime, Refusal> {
        let end = self.check_times(claims, now)?;
        self.check_audience(claims)?;
        self.check_client(claims)?;
        for (name, rule) in &self.entry.claims {
            check_claim(claims, name, rule)
                .map_err(|reason| self.refuse(CLAIMS, &format!("claims.{name}"), &reason))?;
        }
        self.check_scopes(claims)?;
        Ok(end)
    }

    /// Returns whether a refusal is of a token that is not valid yet.
    pub(super) fn is_early(refusal: &Refusal) -> bool {
        refusal.kind == RefusalKind::InvalidToken(EARLY)
    }

    fn refuse(&self, public: &'static str, key: &str, reason: &str) -> Refusal {
        let place = &self.place;
        Refusal::invalid_token(public, format!("`{place}.{key}`: {reason}"))
    }

    /// Checks `exp`, `nbf` and `iat` (RFC 7519 §4.1).
    fn check_times(&self, claims: &ClaimSet, now: SystemTime) -> Result<SystemTime, Refusal> {
        let time = |name| {
            let time = claims.time(name);
            time.map_err(|reason| Refusal::invalid_token(TIMES, reason))
        };
        let leeway = self.entry.leeway;
        let end = time("exp")?.and_then(|end| end.checked_add(leeway));
        let Some(end) = end else {
            return Err(Refusal::invalid_token(TIMES, "the token has no `exp`"));
        };
        if now >= end {
            let reason = format!("the token ended {} ago", ago(end - leeway, now));
            return Err(Refusal::invalid_token(ENDED, reason));
        }
        for name in ["nbf", "iat"] {
            let begin = time(name)?;
            // A time that is far off does not fit into a clock with the leeway.
            if let Some(begin) = begin
                && now.checked_add(leeway).is_some_and(|now| begin > now)
            {
                let reason = format!("`{name}` is {} ahead of this clock", ago(now, begin));
                return Err(Refusal::invalid_token(EARLY, reason));
            }
        }
        Ok(end)
    }

    fn check_audience(&self, claims: &ClaimSet) -> Result<(), Refusal> {
        let Some(accepted) = &self.audiences else {
            return Ok(());
        };
        let audiences = claims.audiences();
        if audiences
            .iter()
            .any(|one| accepted.iter().any(|other| one == other))
        {
            return Ok(());
        }
        let reason = match audiences.is_empty() {
            true => "the token has no `aud`; for an issuer without audiences (Amazon Cognito), write `clients`".to_owned(),
            false => format!("`aud` is {}", excerpt(&audiences.join(", "))),
        };
        Err(self.refuse(AUDIENCE, "audiences", &reason))
    }

    fn check_client(&self, claims: &ClaimSet) -> Result<(), Refusal> {
        let accepted = &self.entry.clients;
        let client = claims.client();
        if accepted.is_empty()
            || client.is_some_and(|client| accepted.iter().any(|one| one == client))
        {
            return Ok(());
        }
        let reason = match client {
            None => "the token names no client".to_owned(),
            Some(client) => format!("the token was issued to the client {}", excerpt(client)),
        };
        Err(self.refuse(CLAIMS, "clients", &reason))
    }

    fn check_scopes(&self, claims: &ClaimSet) -> Result<(), Refusal> {
        let (one_of, all) = (&self.entry.scopes, &self.entry.all_scopes);
        if one_of.is_empty() && all.is_empty() {
            return Ok(());
        }
        let granted = claims.scopes();
        let has = |scope: &String| granted.contains(&scope.as_str());
        let one = one_of.iter().find(|one| has(one)).or(one_of.first());
        if all.iter().chain(one).all(has) {
            return Ok(());
        }
        // Those that were granted too: not every client adds what it has to what it is asked for.
        let one = one.filter(|one| !all.contains(one));
        let needed: Vec<&str> = all.iter().chain(one).map(String::as_str).collect();
        let lacks: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|scope| !granted.contains(scope))
            .collect();
        let reason = format!(
            "`{}`: the token has the scopes [{}] and lacks {}",
            self.place,
            excerpt(&granted.join(" ")),
            lacks.join(" "),
        );
        let needed = needed.into_iter().map(Box::from).collect();
        Err(Refusal::new(
            RefusalKind::InsufficientScope { needed },
            reason,
        ))
    }
}

/// Returns the refusal of two that is nearer to an acceptance, with the reasons of both.
pub(super) fn nearer(one: Option<Refusal>, other: Refusal) -> Refusal {
    let Some(one) = one else {
        return other;
    };
    let rank = |refusal: &Refusal| match refusal.kind {
        RefusalKind::InsufficientScope { .. } => 2,
        RefusalKind::Unavailable => 1,
        RefusalKind::MissingCredential | RefusalKind::Malformed | RefusalKind::InvalidToken(_) => 0,
    };
    let (near, far) = match rank(&other) > rank(&one) {
        true => (other, one),
        false => (one, other),
    };
    if near.reason.len() + far.reason.len() > MAX_REASON {
        return near;
    }
    let reason = format!("{}; {}", near.reason, far.reason);
    Refusal::new(near.kind, reason)
}

/// Returns the seconds between two times, for operators.
fn ago(earlier: SystemTime, later: SystemTime) -> String {
    let passed = later.duration_since(earlier).unwrap_or_default();
    format!("{} s", passed.as_secs())
}

/// Checks one claim, by the rules of AgentCore: `equals` is for text, `contains` and `contains_any`
/// are for lists. Returns why it does not meet the rule.
fn check_claim(claims: &ClaimSet, name: &str, rule: &ClaimRule) -> Result<(), String> {
    let Some(value) = claims.at_path(name) else {
        return Err(match claims.is_elsewhere(name) {
            true => "not known: the issuer left the claim out because it is too long, and names a place to ask instead (`_claim_names`)".to_owned(),
            false => "the token has no such claim".to_owned(),
        });
    };
    let holds = match (rule, value) {
        (ClaimRule::Equals(wanted), Value::String(text)) => wanted == text,
        (ClaimRule::Equals(wanted), Value::Number(number)) => *wanted == number.to_string(),
        (ClaimRule::Equals(wanted), Value::Bool(truth)) => *wanted == truth.to_string(),
        (ClaimRule::Equals(_), Value::Array(_)) => {
            return Err("it is a list: `contains` is for lists".to_owned());
        }
        (ClaimRule::Contains(wanted), Value::Array(items)) => has_text(items, wanted),
        (ClaimRule::ContainsAny(wanted), Value::Array(items)) => {
            wanted.iter().any(|wanted| has_text(items, wanted))
        }
        (ClaimRule::Contains(_) | ClaimRule::ContainsAny(_), Value::String(_)) => {
            return Err("it is text and not a list: `equals` is for text".to_owned());
        }
        (ClaimRule::Equals(_), Value::Null | Value::Object(_))
        | (
            ClaimRule::Contains(_) | ClaimRule::ContainsAny(_),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_),
        ) => return Err("it is neither text nor a list".to_owned()),
    };
    match holds {
        true => Ok(()),
        false => Err(format!("it is {}", excerpt(&value.to_string()))),
    }
}

fn has_text(items: &[Value], wanted: &str) -> bool {
    items.iter().any(|item| item.as_str() == Some(wanted))
}
