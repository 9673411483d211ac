//! The identity that a token proves, with its claims as tags.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::token::ClaimSet;
use crate::authentication::refusal::Refusal;
use crate::caller::{Identity, Principal};
use crate::secret::Secret;

/// The longest subject and client, in bytes. OpenID Connect Core §2 allows subjects of 255.
const MAX_NAME: usize = 1024;
/// The most claims, those inside of objects included.
const MAX_TAGS: usize = 512;
/// The most bytes of all tags. An object inside of objects counts once for each of them.
const MAX_TAG_BYTES: usize = 64 * 1024;
/// The deepest objects: above it, a chain of ten actors (`act`, RFC 8693 §4.1) fits.
const MAX_DEPTH: usize = 12;

const CLAIMS: &str = "the token has more claims than this server reads";
const SUBJECT: &str = "the token has no usable subject";

/// Makes the identity of a token that was accepted. `end` is when it ends.
///
/// # Errors
/// It has no subject, or claims beyond the bounds. None is left out: a policy that forbids something
/// by a claim must see it.
pub(super) fn identity(
    token: &str,
    claims: &ClaimSet,
    issuer: &str,
    end: SystemTime,
) -> Result<Identity, Refusal> {
    let Some(subject) = claims.text("sub") else {
        let reason = "the token has no `sub`, or it is not text";
        return Err(Refusal::invalid_token(SUBJECT, reason));
    };
    let client = claims.client();
    if subject.len() > MAX_NAME || client.is_some_and(|client| client.len() > MAX_NAME) {
        let reason = format!("its subject or client has more than {MAX_NAME} bytes");
        return Err(Refusal::invalid_token(SUBJECT, reason));
    }
    Ok(Identity {
        issuer: Some(issuer.into()),
        client: client.map(Box::from),
        scopes: claims.scopes().into_iter().map(Box::from).collect(),
        tags: tags(claims)?,
        expires: Some(end),
        token: Some(Secret::new(token)),
        ..Identity::new(Principal::OAuthUser, subject)
    })
}

/// Returns the claims as policies read them, see [`Identity::tags`].
fn tags(claims: &ClaimSet) -> Result<BTreeMap<Box<str>, Box<str>>, Refusal> {
    let mut tags = TagWriter::default();
    // Claims first: a path into an object does not replace the claim with its name.
    for (name, value) in &claims.0 {
        tags.add(name, value)?;
    }
    for (name, value) in &claims.0 {
        if let Value::Object(members) = value {
            tags.add_members(name, members, 1)?;
        }
    }
    Ok(tags.tags)
}

#[derive(Default)]
struct TagWriter {
    tags: BTreeMap<Box<str>, Box<str>>,
    bytes: usize,
}

impl TagWriter {
    fn add(&mut self, path: &str, value: &Value) -> Result<(), Refusal> {
        if self.tags.contains_key(path) {
            return Ok(());
        }
        let text: Box<str> = match value {
            Value::String(text) => text.as_str().into(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => value.to_string().into(),
        };
        self.bytes += path.len() + text.len();
        self.tags.insert(path.into(), text);
        if self.tags.len() > MAX_TAGS || self.bytes > MAX_TAG_BYTES {
            let reason = format!(
                "its claims, with those inside of objects, are more than {MAX_TAGS} or {} KiB",
                MAX_TAG_BYTES / 1024
            );
            return Err(Refusal::invalid_token(CLAIMS, reason));
        }
        Ok(())
    }

    fn add_members(
        &mut self,
        path: &str,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            let reason = format!("its claims are objects in objects, deeper than {MAX_DEPTH}");
            return Err(Refusal::invalid_token(CLAIMS, reason));
        }
        for (name, value) in members {
            let path = format!("{path}.{name}");
            self.add(&path, value)?;
            if let Value::Object(members) = value {
                self.add_members(&path, members, depth + 1)?;
            }
        }
        Ok(())
    }
}
