//! Arguments → `context.input`. Only what policies read is parsed.

use cedar_policy::RestrictedExpression as Value;

use crate::config::InputReads;
use crate::json::{self, Object};
use crate::policy::input_types::{InputType, InputTypes};

/// Most levels of arguments.
const DEPTH: usize = 16;
/// Most values of the arguments that policies read.
const VALUES: usize = 10_000;
/// Most digits that an exponent may add to a number.
const EXPONENT: i32 = 32;
/// Most places behind the point of a decimal (Cedar, "decimal").
const PLACES: usize = 4;

/// Why arguments are not what policies can read. Nothing of their values is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputError {
    /// No object, or one that has a key twice.
    #[error("the arguments are not an object with each key once")]
    NotObject,
    /// A value of another type than the schema of the tool says.
    #[error("the argument `{0}` is not of the type that the tool's schema says")]
    OtherType(String),
    /// A number that policies cannot hold.
    #[error("the argument `{0}` is a number beyond 64 bits or four decimal places")]
    Number(String),
    /// An object that has a key twice.
    #[error("the argument `{0}` has a key twice")]
    Twice(String),
    /// More than is looked at.
    #[error("the argument `{0}` has too many values or levels for policies")]
    TooMuch(String),
}

/// Returns `context.input`: the members that are read, with the types of the tool's schema. `null` is
/// left out.
///
/// # Errors
/// A member that is read has a type or a number that policies cannot hold.
pub(super) fn input(
    arguments: Option<&str>,
    reads: &InputReads,
    types: &InputTypes,
) -> Result<Vec<(String, Value)>, InputError> {
    let arguments = match (reads, arguments) {
        (InputReads::Nothing, _) | (_, None) => return Ok(Vec::new()),
        (InputReads::Members(_) | InputReads::Whole, Some(arguments)) => arguments,
    };
    if arguments.trim() == "null" {
        return Ok(Vec::new());
    }
    let object = Object::parse(arguments).map_err(|_| InputError::NotObject)?;
    let mut left = VALUES;
    let mut members = Vec::new();
    for (name, text) in object.iter() {
        let is_read = match reads {
            InputReads::Nothing => false,
            InputReads::Members(names) => names.contains(name),
            InputReads::Whole => true,
        };
        if is_read {
            let mut reader = Reader {
                member: name,
                left: &mut left,
            };
            let value = reader.value(text, types.get(name), DEPTH)?;
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    Ok(members)
}

/// Reads one member.
struct Reader<'r> {
    member: &'r str,
    left: &'r mut usize,
}

impl Reader<'_> {
    fn value(
        &mut self,
        text: &str,
        kind: &InputType,
        depth: usize,
    ) -> Result<Option<Value>, InputError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let name = || self.member.to_owned();
        *self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| InputError::TooMuch(name()))?;
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| InputError::TooMuch(name()))?;
        let value = match (text.as_bytes().first(), kind) {
            (Some(b'n'), _) => return Ok(None),
            (Some(b'"'), InputType::Text | InputType::Any) => {
                let text = json::string(text).ok_or(InputError::NotObject)?;
                Value::new_string(text.into_owned())
            }
            (Some(b't' | b'f'), InputType::Truth | InputType::Any) => {
                Value::new_bool(text == "true")
            }
            (Some(b'-' | b'0'..=b'9'), InputType::Number) => {
                Value::new_decimal(self.decimal(text)?)
            }
            (Some(b'-' | b'0'..=b'9'), InputType::Integer) => Value::new_long(self.long(text)?),
            (Some(b'-' | b'0'..=b'9'), InputType::Any) => {
                if text.contains(['.', 'e', 'E']) {
                    Value::new_decimal(self.decimal(text)?)
                } else {
                    Value::new_long(self.long(text)?)
                }
            }
            (Some(b'['), InputType::List(items)) => self.list(text, items, depth)?,
            (Some(b'['), InputType::Any) => self.list(text, &InputType::Any, depth)?,
            (Some(b'{'), InputType::Record(types)) => self.record(text, types, depth)?,
            (Some(b'{'), InputType::Any) => self.record(text, &InputTypes::default(), depth)?,
            _ => return Err(InputError::OtherType(name())),
        };
        Ok(Some(value))
    }

    fn list(&mut self, text: &str, kind: &InputType, depth: usize) -> Result<Value, InputError> {
        let items = json::array(text).map_err(|_| InputError::NotObject)?;
        let mut values = Vec::with_capacity(items.len().min(*self.left));
        for item in items {
            values.extend(self.value(item, kind, depth)?);
        }
        Ok(Value::new_set(values))
    }

    fn record(
        &mut self,
        text: &str,
        types: &InputTypes,
        depth: usize,
    ) -> Result<Value, InputError> {
        let twice = || InputError::Twice(self.member.to_owned());
        let object = Object::parse(text).map_err(|_| twice())?;
        let mut members = Vec::with_capacity(object.len().min(*self.left));
        for (name, text) in object.iter() {
            let value = self.value(text, types.get(name), depth)?;
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
        Value::new_record(members).map_err(|_| InputError::Twice(self.member.to_owned()))
    }

    fn long(&self, text: &str) -> Result<i64, InputError> {
        let number = text.parse().ok().or_else(|| {
            // JSON Schema: 1.0 and 1e3 are integers too.
            let plain = plain_number(text)?;
            plain.strip_suffix(".0")?.parse().ok()
        });
        number.ok_or_else(|| InputError::Number(self.member.to_owned()))
    }

    fn decimal(&self, text: &str) -> Result<String, InputError> {
        let plain = plain_number(text).filter(|plain| fits_decimal(plain));
        plain.ok_or_else(|| InputError::Number(self.member.to_owned()))
    }
}

/// Returns a JSON number without exponent, with at least one and at most four places behind the
/// point; `None` if it needs more, or is far too large.
fn plain_number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{places}");
    if all.bytes().all(|digit| digit == b'0') {
        return Some("0.0".to_owned());
    }
    if exponent.abs() > EXPONENT || all.len() > 64 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let (whole, places) = match usize::try_from(point) {
        Ok(point) if point >= all.len() => (format!("{all:0<point$}"), String::new()),
        Ok(point) => {
            let (whole, places) = all.split_at_checked(point)?;
            (whole.to_owned(), places.to_owned())
        }
        Err(_) => {
            let zeros = usize::try_from(point.unsigned_abs()).ok()?;
            (String::new(), format!("{}{all}", "0".repeat(zeros)))
        }
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let places = places.trim_end_matches('0');
    let places = if places.is_empty() { "0" } else { places };
    (places.len() <= PLACES).then(|| format!("{sign}{whole}.{places}"))
}

/// Returns whether a number without exponent is a decimal of Cedar: 64 bits, in units of the fourth
/// place.
fn fits_decimal(plain: &str) -> bool {
    let Some((whole, places)) = plain.split_once('.') else {
        return false;
    };
    format!("{whole}{places:0<PLACES$}").parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_plainly() {
        for (text, plain) in [
            ("1", Some("1.0")),
            ("-1.50", Some("-1.5")),
            ("1e3", Some("1000.0")),
            ("12.5E-2", Some("0.125")),
            ("-0.0", Some("0.0")),
            ("1E-4", Some("0.0001")),
            ("1E-5", None),
            ("1.23456", None),
            ("1e99", None),
            ("0e99999", Some("0.0")),
            ("100.00000", Some("100.0")),
        ] {
            assert_eq!(plain_number(text).as_deref(), plain, "{text}");
        }
        assert!(fits_decimal("922337203685477.5807"));
        assert!(fits_decimal("-922337203685477.5808"));
        assert!(!fits_decimal("922337203685477.5808"));
    }

    fn read(arguments: &str, schema: &str) -> Result<usize, InputError> {
        let types = InputTypes::read(Some(schema), &InputReads::Whole);
        let members = input(Some(arguments), &InputReads::Whole, &types);
        members.map(|members| members.len())
    }

    #[test]
    fn a_value_of_another_type_is_an_error_and_null_is_absent() {
        let schema = r#"{"properties":{"n":{"type":"integer"},"d":{"type":"number"},"s":{"type":"string"}}}"#;
        assert_eq!(
            read(
                r#"{"n":1,"d":2,"s":"x","other":[1,"a",{"b":null}]}"#,
                schema
            ),
            Ok(4)
        );
        assert_eq!(read(r#"{"n":1.0,"d":null}"#, schema), Ok(1));
        let other = |name: &str| Err(InputError::OtherType(name.to_owned()));
        assert_eq!(read(r#"{"n":"1000"}"#, schema), other("n"));
        assert_eq!(read(r#"{"s":1}"#, schema), other("s"));
        let number = |name: &str| Err(InputError::Number(name.to_owned()));
        assert_eq!(read(r#"{"n":1.5}"#, schema), number("n"));
        assert_eq!(read(r#"{"n":9223372036854775808}"#, schema), number("n"));
        assert_eq!(read(r#"{"d":0.00001}"#, schema), number("d"));
        assert_eq!(
            read(r#"{"n":1,"\u006e":2}"#, schema),
            Err(InputError::NotObject)
        );
        let twice = r#"{"o":{"a":1,"a":2}}"#;
        assert_eq!(read(twice, schema), Err(InputError::Twice("o".to_owned())));
        let deep = format!("{{\"o\":{}1{}}}", "[".repeat(20), "]".repeat(20));
        assert_eq!(
            read(&deep, schema),
            Err(InputError::TooMuch("o".to_owned()))
        );
    }

    #[test]
    fn what_no_policy_reads_is_not_looked_at() {
        let reads = InputReads::Members([Box::from("a")].into());
        let types = InputTypes::default();
        let members = input(Some(r#"{"a":1,"b":1e999}"#), &reads, &types).unwrap();
        assert_eq!(members.len(), 1);
        assert!(
            input(Some("no json"), &InputReads::Nothing, &types)
                .unwrap()
                .is_empty()
        );
    }
}
