//! `json::Object` beside `serde_json`, which reads the same text in ways of its own.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use weir::json::{self, Object, ObjectError};

/// Most members that are edited one by one: edits cost a pass over the object each.
const EDITED: usize = 8;

/// Holds any text to the laws of an object.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert_eq!(json::quote(text), Value::from(text).to_string());
    assert_eq!(json::string(&json::quote(text)).as_deref(), Some(text));
    items(text);
    match Object::parse(text) {
        Ok(object) => accepted(text, &object),
        Err(error) => refused(text, &error),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The members of an object as `serde_json` reads them, keys as often as they occur.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Each).map(Self)
    }
}

fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let members = serde_json::from_str::<Members<'_>>(text).ok()?.0;
    let members = members.into_iter().map(|(key, value)| (key, value.get()));
    Some(members.collect())
}

fn has_twice(members: &[(String, &str)], key: &str) -> bool {
    members.iter().filter(|(other, _)| other == key).count() > 1
}

fn refused(text: &str, error: &ObjectError) {
    match error {
        ObjectError::Syntax(_) => assert!(members(text).is_none()),
        ObjectError::NotObject => {
            assert!(is_json(text), "said to be JSON");
            assert!(!text.trim_start().starts_with('{'));
        }
        ObjectError::Duplicate(start) => {
            let members = members(text).expect("said to be an object");
            let twice = |(key, _): &(String, &str)| {
                key.starts_with(start.as_str()) && has_twice(&members, key)
            };
            assert!(members.iter().any(twice));
        }
    }
}

fn accepted(text: &str, object: &Object<'_>) {
    let members = members(text).expect("an object");
    assert!(
        members.iter().all(|(key, _)| !has_twice(&members, key)),
        "a key twice"
    );
    same(object, &members);
    assert_eq!(object.to_text(), without_space(text), "bytes are kept");
    for (key, value) in &members {
        assert_eq!(object.get(key), Some(*value));
        assert_eq!(object.borrowed(key), Some(*value));
        assert_eq!(json::is_object(value), value.trim_start().starts_with('{'));
        let string = serde_json::from_str::<String>(value).ok();
        assert_eq!(object.string(key).as_deref(), string.as_deref());
    }
    read_whole(text, &members);
    let (head, tail) = members.split_at(members.len().min(EDITED));
    for (key, _) in head.iter().chain(tail.last()) {
        edited(object, &members, key);
    }
}

/// The object has these members in this order, and so has what it is written as.
fn same(object: &Object<'_>, members: &[(String, &str)]) {
    let of = |object: &Object<'_>| -> Vec<(String, String)> {
        let owned = object
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        owned.collect()
    };
    let expected: Vec<_> = members
        .iter()
        .map(|(key, value)| (key.clone(), (*value).to_owned()))
        .collect();
    assert_eq!(of(object), expected);
    assert_eq!(object.len(), members.len());
    let written = object.to_text();
    let again = Object::parse(&written).expect("what is written is read");
    assert_eq!(of(&again), expected);
    assert_eq!(again.to_text(), written);
}

fn edited(object: &Object<'_>, members: &[(String, &str)], key: &str) {
    let others: Vec<_> = members
        .iter()
        .filter(|(other, _)| other != key)
        .cloned()
        .collect();
    let mut removed = object.clone();
    assert!(removed.remove(key) && !removed.remove(key) && !removed.contains(key));
    same(&removed, &others);
    let mut kept = object.clone();
    kept.retain(|other| other != key);
    same(&kept, &others);

    let mut changed = object.clone();
    changed.set(key, "[1e400]");
    let replaced: Vec<_> = members
        .iter()
        .map(|(other, value)| {
            let value = if other == key { "[1e400]" } else { *value };
            (other.clone(), value)
        })
        .collect();
    same(&changed, &replaced);
    assert_eq!(changed.borrowed(key), Some("[1e400]"));

    // A name that needs escapes, and is not taken: it is longer than all that are.
    let new = format!("\"\\\n{}", "\u{1}".repeat(object.to_text().len()));
    let mut longer = removed;
    longer.set(&new, "null".to_owned());
    let mut more = others;
    more.push((new.clone(), "null"));
    same(&longer, &more);
    assert_eq!(longer.borrowed(&new), None, "it was not in the text");
}

/// Returns what `serde_json` makes of the whole text. It refuses three things that JSON allows.
fn read_whole(text: &str, members: &[(String, &str)]) {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) => {
            let expected = members.iter().map(|(key, _)| key);
            assert!(map.keys().eq(expected));
            for (key, value) in members {
                assert_eq!(map.get(key), serde_json::from_str(value).ok().as_ref());
            }
        }
        Ok(other) => panic!("{other} is no object"),
        Err(error) => {
            let error = error.to_string();
            let known = [
                "number out of range",
                "recursion limit",
                "surrogate",
                "hex escape",
            ];
            assert!(known.iter().any(|known| error.contains(known)), "{error}");
        }
    }
}

/// The text without white space between the tokens of the outermost object or array.
fn without_space(text: &str) -> String {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let outside = |c: &char| {
        let begins = !quoted && matches!(c, '{' | '[');
        let ends = !quoted && matches!(c, '}' | ']');
        depth = depth + usize::from(begins) - usize::from(ends);
        let drop = !quoted && depth <= 1 && matches!(c, ' ' | '\t' | '\r' | '\n');
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        !drop
    };
    text.chars().filter(outside).collect()
}

fn items(text: &str) {
    let expected = serde_json::from_str::<Vec<&RawValue>>(text);
    let items = json::array(text);
    assert_eq!(items.is_ok(), expected.is_ok());
    if let Ok(items) = items {
        assert_eq!(format!("[{}]", items.join(",")), without_space(text));
        assert!(items.into_iter().all(is_json));
    }
}
