//! Claims as policies read them.

use std::collections::BTreeMap;

use crate::json::{self, Object};

/// Most tags of an identity; further claims are left out.
const MOST: usize = 512;
/// Most levels of objects whose members are tags of their own.
const DEPTH: usize = 8;

/// Returns the claims of a JSON object as tags: text as it is, numbers and booleans as text, arrays
/// and objects as compact JSON. Members of objects are tags too, under dotted paths:
/// `realm_access.roles`. `null` is no tag. A claim that is written with dots itself wins over a path.
#[must_use]
pub fn tags_of(claims: &Object<'_>) -> BTreeMap<Box<str>, Box<str>> {
    let mut tags = BTreeMap::new();
    add(claims, "", DEPTH, &mut tags);
    tags
}

fn add(claims: &Object<'_>, path: &str, depth: usize, tags: &mut BTreeMap<Box<str>, Box<str>>) {
    let mut nested = Vec::new();
    for (name, value) in claims.iter() {
        if tags.len() >= MOST {
            return;
        }
        let value = value.trim_matches([' ', '\t', '\r', '\n']);
        let text = match value.as_bytes().first() {
            Some(b'"') => json::string(value).map(Into::into),
            Some(b'{' | b'[') => compact(value),
            Some(b'n') | None => None,
            Some(_) => Some(value.into()),
        };
        let name = match path {
            "" => Box::from(name),
            path => format!("{path}.{name}").into_boxed_str(),
        };
        if depth > 0 && json::is_object(value) {
            nested.push((name.clone(), value));
        }
        if let Some(text) = text {
            tags.entry(name).or_insert(text);
        }
    }
    for (path, value) in nested {
        if let Ok(inner) = Object::parse(value) {
            add(&inner, &path, depth - 1, tags);
        }
    }
}

/// Returns JSON without blanks, its texts written in one way.
fn compact(value: &str) -> Option<Box<str>> {
    let value: serde_json::Value = serde_json::from_str(value).ok()?;
    Some(value.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_texts_and_nested_ones_have_paths() {
        let claims = r#"{"sub":"a\u0062","n": 12345678901234567890123 ,"b":true,"z":null,
            "cognito:groups": [ "admins", "\u006fps" ],
            "realm_access":{"roles":["r"],"x":{"y":1}},"realm_access.roles":"own"}"#;
        let tags = tags_of(&Object::parse(claims).unwrap());
        let tags: Vec<_> = tags.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(
            tags,
            [
                ("b", "true"),
                ("cognito:groups", r#"["admins","ops"]"#),
                ("n", "12345678901234567890123"),
                ("realm_access", r#"{"roles":["r"],"x":{"y":1}}"#),
                ("realm_access.roles", "own"),
                ("realm_access.x", r#"{"y":1}"#),
                ("realm_access.x.y", "1"),
                ("sub", "ab"),
            ]
        );
    }

    #[test]
    fn their_number_is_bounded() {
        let mut claims = Object::new();
        let names: Vec<_> = (0..2 * MOST).map(|number| number.to_string()).collect();
        for name in &names {
            claims.set(name, "1");
        }
        assert_eq!(tags_of(&claims).len(), MOST);
    }
}
