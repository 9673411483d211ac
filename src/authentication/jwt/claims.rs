//! The content of claims: looked up by name or path, as text, as lists, as times.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::token::ClaimSet;

impl ClaimSet {
    /// Returns a claim that is text and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// Returns a claim by its name, or by a dotted path if no claim has that name. Names may have
    /// dots of their own on every level: the exact one wins.
    pub(super) fn at_path(&self, path: &str) -> Option<&Value> {
        at_path(&self.0, path)
    }

    /// Returns whether the issuer left a claim out because there is too much of it, and names a place
    /// to ask instead (`_claim_names`, OpenID Connect Core §5.6.2). Microsoft Entra does so with more
    /// than 200 groups.
    pub(super) fn is_elsewhere(&self, name: &str) -> bool {
        let elsewhere = self.0.get("_claim_names").and_then(Value::as_object);
        elsewhere.is_some_and(|names| names.contains_key(name))
            || (name == "groups" && self.0.get("hasgroups") == Some(&Value::Bool(true)))
    }

    /// Returns the scopes: `scope`, else `scp`, either a text with spaces (RFC 9068 §2.2.3) or a list
    /// (Okta).
    pub(super) fn scopes(&self) -> Vec<&str> {
        let of = |value: &'_ Value| -> bool { value.is_string() || value.is_array() };
        let written = ["scope", "scp"]
            .into_iter()
            .filter_map(|name| self.0.get(name));
        match written.into_iter().find(|value| of(value)) {
            Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the client that the token was issued to.
    pub(super) fn client(&self) -> Option<&str> {
        let names = ["client_id", "azp", "appid", "cid"];
        names.into_iter().find_map(|name| self.text(name))
    }

    /// Returns the audiences: one text or a list (RFC 7519 §4.1.3).
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns a time: seconds since 1970, whole or not (`NumericDate`, RFC 7519 §2).
    ///
    /// # Errors
    /// It is no number, or of a time that a clock cannot show.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<SystemTime>, String> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let seconds = value.as_f64().map(Duration::try_from_secs_f64);
        let time = seconds.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since.ok()?));
        match time {
            Some(time) => Ok(Some(time)),
            None => Err(format!("`{name}` is not a number of seconds since 1970")),
        }
    }
}

fn at_path<'v>(members: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(found) = members.get(path) {
        return Some(found);
    }
    let dots = path.match_indices('.');
    dots.filter_map(|(at, _)| {
        let inner = members.get(path.get(..at)?)?.as_object()?;
        at_path(inner, path.get(at + 1..)?)
    })
    .next()
}
