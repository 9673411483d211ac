//! JSON text → a value that a schema is applied to, within bounds: one pass, and no duplicate keys.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most of everything in a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueLimits {
    /// Objects and lists inside each other.
    pub(super) depth: usize,
    /// Members and items at all levels.
    pub(super) values: usize,
    /// Bytes of one text, in UTF-8; also of a name.
    pub(super) string: usize,
}

/// A value, and how much there is of it.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) value: Value,
    /// Objects and lists inside each other.
    pub(super) depth: usize,
    /// Members and items at all levels, and the value itself.
    pub(super) values: usize,
}

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nested deeper than allowed.
    #[error("there are more than {0} objects and lists inside each other")]
    Depth(usize),
    /// More values than allowed.
    #[error("there are more than {0} values")]
    Values(usize),
    /// A longer text than allowed.
    #[error("a text has more than {0} bytes")]
    Text(usize),
    /// A key twice: two readers may read it differently.
    #[error("an object has a key twice")]
    Duplicate,
    /// A number that no common type holds.
    #[error("a number is too large")]
    Number,
}

/// Reads JSON text that was found to be JSON before.
///
/// # Errors
/// It exceeds a limit, or cannot be read the same by everybody.
pub(super) fn read(text: &str, limits: ValueLimits) -> Result<Measured, ValueError> {
    let mut progress = Progress {
        limits,
        left: limits.values,
        deepest: 0,
        error: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let reader = Reader {
        progress: &mut progress,
        depth: 0,
    };
    match reader.deserialize(&mut deserializer) {
        Ok(value) => Ok(Measured {
            value,
            depth: progress.deepest,
            values: limits.values - progress.left + 1,
        }),
        // All that the parser itself can still refuse is a number beyond 64-bit floats.
        Err(_) => Err(progress.error.unwrap_or(ValueError::Number)),
    }
}

struct Progress {
    limits: ValueLimits,
    /// How many more values there may be.
    left: usize,
    deepest: usize,
    error: Option<ValueError>,
}

impl Progress {
    fn refuse<E: serde::de::Error>(&mut self, error: ValueError) -> E {
        self.error = Some(error);
        E::custom("refused")
    }

    fn take<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.refuse(ValueError::Values(self.limits.values))),
        }
    }

    fn check_text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        match text.len() > self.limits.string {
            true => Err(self.refuse(ValueError::Text(self.limits.string))),
            false => Ok(()),
        }
    }
}

/// Reads one value.
struct Reader<'p> {
    progress: &'p mut Progress,
    /// How many objects and lists are around it.
    depth: usize,
}

impl Reader<'_> {
    /// Returns the depth inside this object or list.
    fn enter<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        let inside = self.depth + 1;
        if inside > self.progress.limits.depth {
            let most = self.progress.limits.depth;
            return Err(self.progress.refuse(ValueError::Depth(most)));
        }
        self.progress.deepest = self.progress.deepest.max(inside);
        Ok(inside)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| self.progress.refuse(ValueError::Number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.progress.check_text(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut items = Vec::new();
        loop {
            let item = Reader {
                progress: self.progress,
                depth,
            };
            let Some(item) = seq.next_element_seed(item)? else {
                return Ok(Value::Array(items));
            };
            self.progress.take()?;
            items.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.progress.take()?;
            self.progress.check_text(&key)?;
            let value = map.next_value_seed(Reader {
                progress: self.progress,
                depth,
            })?;
            if members.insert(key, value).is_some() {
                return Err(self.progress.refuse(ValueError::Duplicate));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ValueLimits = ValueLimits {
        depth: 3,
        values: 6,
        string: 4,
    };

    #[test]
    fn a_value_is_read_as_serde_json_reads_it_and_measured() {
        let text = r#" {"a":[1,-2,3.5,null],"b":"\u00e9é"} "#;
        let read = read(text, LIMITS).unwrap();
        assert_eq!(read.value, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!((read.depth, read.values), (2, 7));
    }

    #[test]
    fn what_exceeds_a_limit_or_has_a_key_twice_is_refused() {
        for (text, expected) in [
            ("[[[[]]]]", ValueError::Depth(3)),
            ("[1,2,3,4,5,6,7]", ValueError::Values(6)),
            (r#"{"a":[1,2,3,4,5,6]}"#, ValueError::Values(6)),
            (r#"{"a":"12345"}"#, ValueError::Text(4)),
            (r#"{"abcde":1}"#, ValueError::Text(4)),
            (r#"{"a":{"b":1,"\u0062":2}}"#, ValueError::Duplicate),
            ("[1e400]", ValueError::Number),
        ] {
            assert_eq!(read(text, LIMITS).unwrap_err(), expected, "{text}");
        }
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(read(&deep, LIMITS).unwrap_err(), ValueError::Depth(3));
    }
}
