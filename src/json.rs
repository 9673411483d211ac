//! A JSON object one level deep: members in order, values as the bytes that arrived.
//!
//! Every message that weir relays is read through [`Object`]. A value is interpreted only where a
//! decision needs it, so unknown fields, big integers, `1e400`, escaped text and key order survive.
//! Replacing, inserting or removing a member leaves the bytes of every other member alone.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use foldhash::HashSet;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most members for which duplicate keys are found by comparing pairs; with more, by a hash set.
const PAIRWISE: usize = 12;

/// Why bytes are not a JSON object that weir accepts.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The bytes are not JSON.
    #[error("not JSON")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
    /// A key occurs twice. Two parsers may read such a message differently, so weir refuses it.
    #[error("duplicate key `{0}`")]
    Duplicate(String),
}

/// A JSON object whose member values are kept as raw text.
///
/// Keys are unique (compared after unescaping) and keep their spelling.
#[derive(Clone, Debug, Default)]
pub struct Object<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Clone, Debug)]
struct Member<'a> {
    /// The key as it is compared: unescaped.
    key: Cow<'a, str>,
    /// The key as it is written: a JSON string with its quotes. Empty when it is `key` in quotes.
    spelled: &'a str,
    value: Cow<'a, str>,
}

impl<'a> Object<'a> {
    /// Makes an object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one JSON object and nothing after it. Nesting is not followed, so depth costs no
    /// stack.
    ///
    /// # Errors
    /// The text is not JSON, not an object, or has a key twice.
    pub fn parse(text: &'a str) -> Result<Self, ObjectError> {
        let text = without_bom(text);
        let is_object = text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('{');
        let object = serde_json::from_str::<Self>(text).map_err(|error| {
            if is_object {
                return ObjectError::Syntax(error);
            }
            // Parsing stopped at the first character, before the rest of the text was checked.
            match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => ObjectError::NotObject,
                Err(error) => ObjectError::Syntax(error),
            }
        })?;
        object.refuse_duplicates()?;
        Ok(object)
    }

    fn refuse_duplicates(&self) -> Result<(), ObjectError> {
        let twice = if self.members.len() <= PAIRWISE {
            let mut rest = self.members.as_slice();
            let mut twice = None;
            while let Some((first, others)) = rest.split_first() {
                if others.iter().any(|other| other.key == first.key) {
                    twice = Some(first);
                    break;
                }
                rest = others;
            }
            twice
        } else {
            let mut seen = HashSet::default();
            self.members
                .iter()
                .find(|member| !seen.insert(member.key.as_ref()))
        };
        match twice {
            Some(member) => Err(ObjectError::Duplicate(
                member.key.chars().take(64).collect(),
            )),
            None => Ok(()),
        }
    }

    /// Returns the raw JSON text of a member, exactly as it arrived.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members
            .iter()
            .find(|member| member.key == key)
            .map(|member| member.value.as_ref())
    }

    /// Returns the raw JSON text of a member with the lifetime of the parsed text, if the member
    /// was not replaced.
    #[must_use]
    pub fn borrowed(&self, key: &str) -> Option<&'a str> {
        self.members
            .iter()
            .find(|member| member.key == key)
            .and_then(|member| match member.value {
                Cow::Borrowed(text) => Some(text),
                Cow::Owned(_) => None,
            })
    }

    /// Returns a member that is a JSON string, unescaped; `None` if it is absent or no string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).and_then(string)
    }

    /// Returns whether there is such a member.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    /// Returns the raw JSON text of an optional member; `None` if it is absent or `null`, which
    /// means the same: many writers have no other way to leave a member out.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|text| *text != "null")
    }

    /// Returns whether there is such a member and it is not `null`.
    #[must_use]
    pub fn has_value(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Reads an optional member that is an object; `None` if it [has nothing](says_nothing).
    ///
    /// # Errors
    /// It is something else, or has a key twice.
    pub fn object(&self, key: &str) -> Result<Option<Object<'a>>, ObjectError> {
        let text = self.borrowed(key).filter(|text| !says_nothing(text));
        text.map(Object::parse).transpose()
    }

    /// Replaces the value of a member in its place, or appends the member. `value` is JSON text.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.members.iter_mut().find(|member| member.key == key) {
            Some(member) => member.value = value,
            None => self.members.push(Member {
                key: Cow::Borrowed(key),
                spelled: "",
                value,
            }),
        }
    }

    /// Replaces the value of a member, if there is one. `value` is JSON text.
    pub fn replace(&mut self, key: &str, value: String) {
        if let Some(member) = self.members.iter_mut().find(|member| member.key == key) {
            member.value = Cow::Owned(value);
        }
    }

    /// Returns the object with text of its own.
    #[must_use]
    pub fn into_owned(self) -> Object<'static> {
        let members = self.members.into_iter().map(|member| Member {
            key: Cow::Owned(member.key.into_owned()),
            spelled: "",
            value: Cow::Owned(member.value.into_owned()),
        });
        Object {
            members: members.collect(),
        }
    }

    /// Removes a member and returns whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.key != key);
        self.members.len() != before
    }

    /// Removes those of the members with these keys that are `null`.
    pub fn remove_nulls(&mut self, keys: &[&str]) {
        self.members
            .retain(|member| member.value != "null" || !keys.contains(&member.key.as_ref()));
    }

    /// Keeps the members for which `change` returns a value, with that value, as JSON text.
    pub fn map_values(&mut self, change: impl Fn(&str) -> Option<&str>) {
        self.members
            .retain_mut(|member| match change(&member.value) {
                None => false,
                Some(value) if value == member.value => true,
                Some(value) => {
                    member.value = Cow::Owned(value.to_owned());
                    true
                }
            });
    }

    /// Keeps the members for whose key (unescaped) `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.members.retain(|member| keep(&member.key));
    }

    /// Returns the members in order: key (unescaped) and raw value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members
            .iter()
            .map(|member| (member.key.as_ref(), member.value.as_ref()))
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Appends the object as JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(
            self.members
                .iter()
                .map(|m| m.key.len() + m.value.len() + 4)
                .sum::<usize>()
                + 2,
        );
        out.push(b'{');
        for (at, member) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if member.spelled.is_empty() {
                write_string(&member.key, out);
            } else {
                out.extend_from_slice(member.spelled.as_bytes());
            }
            out.push(b':');
            out.extend_from_slice(member.value.as_bytes());
        }
        out.push(b'}');
    }

    /// Returns the object as JSON text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        // Every piece came from a `str`, so this is valid UTF-8 and the fallback changes nothing.
        String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Object<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(6);
                while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                    let spelled = key.get();
                    let key = string(spelled).ok_or_else(|| {
                        de::Error::custom("a key has an escape that is no character")
                    })?;
                    members.push(Member {
                        key,
                        spelled,
                        value: Cow::Borrowed(value.get()),
                    });
                }
                Ok(Object { members })
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

/// Returns whether the value of an optional member that is an object says nothing: it is `null`, or
/// `[]`, which PHP writes for an object without members.
#[must_use]
pub fn says_nothing(text: &str) -> bool {
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    text == "null" || inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Returns the text without a byte order mark before it, which a parser of JSON may ignore
/// (RFC 8259 §8.1).
#[must_use]
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Cuts a byte order mark off the front of a message.
#[must_use]
pub fn cut_bom(message: Bytes) -> Bytes {
    match message.starts_with("\u{feff}".as_bytes()) {
        true => message.slice(3..),
        false => message,
    }
}

/// Returns the items of a JSON array as raw text.
///
/// # Errors
/// The text is not a JSON array.
pub fn array(text: &str) -> Result<Vec<&str>, serde_json::Error> {
    array_up_to(text, usize::MAX)
}

/// Returns at most the first `most` items of a JSON array; the rest only has to be JSON.
///
/// # Errors
/// The text is not a JSON array.
pub fn array_up_to(text: &str, most: usize) -> Result<Vec<&str>, serde_json::Error> {
    struct Each(usize);
    impl<'de> Visitor<'de> for Each {
        type Value = Vec<&'de str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while items.len() < self.0 {
                match seq.next_element::<&'de RawValue>()? {
                    Some(item) => items.push(item.get()),
                    None => return Ok(items),
                }
            }
            while seq.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(items)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let items = deserializer.deserialize_seq(Each(most))?;
    deserializer.end()?;
    Ok(items)
}

/// Returns the strings of a JSON array, without its other items; none if the text is no array.
#[must_use]
pub fn strings(text: Option<&str>) -> Vec<Cow<'_, str>> {
    let items = text.and_then(|text| array(text).ok()).unwrap_or_default();
    items.into_iter().filter_map(string).collect()
}

/// Returns the text of a JSON string, unescaped; `None` if the JSON text is not a string.
#[must_use]
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Returns a string as JSON text.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Returns a text escaped like the inside of a JSON string, without quotes.
#[must_use]
pub fn escape(text: &str) -> String {
    let quoted = quote(text);
    let inside = quoted.get(1..quoted.len().saturating_sub(1));
    inside.unwrap_or_default().to_owned()
}

/// Appends a string as JSON text.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\');
    // Whole pieces, without a decision at each byte: the compiler looks at many of them at once.
    let are_plain = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_plain(byte));
    if text.as_bytes().chunks(64).all(are_plain) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing a `str` to a `Vec` cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Returns whether the JSON text is an object, by its first character.
#[must_use]
pub fn is_object(text: &str) -> bool {
    text.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_keep_their_bytes() {
        let text = r#"{"b":1e400,"a":12345678901234567890123,"\u0061x":"\u00e9\/","n":{ "x" : [1, 2] },"z":null}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.to_text(), text);
        assert_eq!(object.get("b"), Some("1e400"));
        assert_eq!(object.get("ax"), Some(r#""\u00e9\/""#));
        assert_eq!(object.string("ax").as_deref(), Some("é/"));
    }

    #[test]
    fn an_edit_touches_one_member() {
        let mut object = Object::parse(r#"{"id":7, "x":  {"id":1} ,"m":"\u0041"}"#).unwrap();
        object.set("id", "\"a\"");
        object.set("new", "[]");
        assert!(object.remove("m"));
        assert_eq!(object.to_text(), r#"{"id":"a","x":{"id":1},"new":[]}"#);
    }

    #[test]
    fn a_key_twice_is_refused_however_it_is_spelled() {
        assert!(
            matches!(Object::parse(r#"{"id":1,"\u0069d":2}"#), Err(ObjectError::Duplicate(key)) if key == "id")
        );
        let many = (0..40)
            .map(|n| format!("\"k{n}\":0"))
            .chain(["\"k7\":1".to_owned()])
            .collect::<Vec<_>>()
            .join(",");
        assert!(
            matches!(Object::parse(&format!("{{{many}}}")), Err(ObjectError::Duplicate(key)) if key == "k7")
        );
    }

    #[test]
    fn what_is_no_object_says_so() {
        assert!(matches!(Object::parse("[1]"), Err(ObjectError::NotObject)));
        assert!(matches!(Object::parse("7"), Err(ObjectError::NotObject)));
        assert!(matches!(
            Object::parse("{\"a\":"),
            Err(ObjectError::Syntax(_))
        ));
        assert!(matches!(Object::parse("{} x"), Err(ObjectError::Syntax(_))));
        assert!(matches!(Object::parse(""), Err(ObjectError::Syntax(_))));
        for text in ["[1", "7 x", "\"a\" {}", "null,", "[{\"a\":}]"] {
            assert!(
                matches!(Object::parse(text), Err(ObjectError::Syntax(_))),
                "{text} is not JSON"
            );
        }
        assert!(matches!(
            Object::parse(r#"{"\ud800":1}"#),
            Err(ObjectError::Syntax(_))
        ));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(
            "{{\"a\":{}{}}}",
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert_eq!(Object::parse(&deep).unwrap().len(), 1);
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1e400".to_owned()),
            Just("-0.0E-7".to_owned()),
            "[1-9][0-9]{0,30}",
            any::<String>().prop_map(|text| quote(&text)),
            "[a-z]{0,4}".prop_map(|text| format!("\"\\u00e9{text}\\/\"")),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|members| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(k, v)| format!("{} : {v}", quote(k)))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_round_trips(members in prop::collection::btree_map(any::<String>(), any_json(), 0..20)) {
            let text = format!("{{{}}}", members.iter().map(|(k, v)| format!("{}:{v}", quote(k))).collect::<Vec<_>>().join(","));
            let object = Object::parse(&text).unwrap();
            prop_assert_eq!(&object.to_text(), &text);
            for (key, value) in &members {
                prop_assert_eq!(object.get(key), Some(value.as_str()));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(text in any::<String>()) {
            let _ = Object::parse(&text);
            let _ = array(&text);
        }
    }
}
