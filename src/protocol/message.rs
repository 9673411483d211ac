//! The JSON-RPC envelope: what kind of message this is, and nothing about what it says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;

use bytes::Bytes;

use crate::json::{self, Object, ObjectError};
use crate::protocol::bounds::{ID_BYTES, METHOD_BYTES};
use crate::protocol::error::Fault;
use crate::protocol::{meta, method};

/// To copy fewer bytes costs less than to send pieces.
const LARGE: usize = 64 << 10;

/// A JSON-RPC id as its JSON text: a string or an integer, kept as it was spelled.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// Takes JSON text. `None` unless it is a string or an integer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let integer = || {
            let digits = text.strip_prefix('-').unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_one = text.len() <= ID_BYTES && (text.starts_with('"') || integer());
        is_one.then(|| Self(text.into()))
    }

    /// The id as JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns whether two ids are the same but for how they are spelled: `7` and `"7"`, `"a"` and
    /// `"\u0061"`. Peers that keep ids as keys of an object send a number back as a string.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self == other || self.value() == other.value()
    }

    fn value(&self) -> Cow<'_, str> {
        json::string(&self.0).unwrap_or(Cow::Borrowed(&self.0))
    }
}

/// Finds what is known of a request by its id: under the same spelling, else under another.
#[must_use]
pub fn find_alike<'m, T, S: BuildHasher>(
    known: &'m HashMap<Id, T, S>,
    id: &Id,
) -> Option<(&'m Id, &'m T)> {
    let exactly = known.get_key_value(id);
    let spelled = |text: String| known.get_key_value(&Id(text.into()));
    // All other spellings have an escape, and are looked for one by one.
    let escaped = || {
        let mut known = known.iter().filter(|(other, _)| other.0.contains('\\'));
        known.find(|(other, _)| other.is_alike(id))
    };
    let value = || id.value().into_owned();
    exactly
        .or_else(|| spelled(value()))
        .or_else(|| spelled(json::quote(&value())))
        .or_else(escaped)
}

/// Reads a number that weir gave, as a peer sends it back: an id, a progress token, a subscription
/// id. Peers that keep ids as keys of an object make `"7"` of 7, and those that read numbers as
/// floating point make 7.0 of it. `None` if it is no such number.
#[must_use]
pub fn read_number(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let text = json::string(text).unwrap_or(Cow::Borrowed(text));
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    // Weir's numbers are far below 2^53, up to which every integer is exact.
    let number: f64 = text.parse().ok()?;
    let is_whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
    is_whole.then(|| format!("{number:.0}").parse().ok())?
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One JSON-RPC message, read as far as its envelope.
#[derive(Debug)]
pub enum Message<'a> {
    /// A request: wants a response with the same id.
    Request(Request<'a>),
    /// A notification: wants nothing.
    Notification(Notification<'a>),
    /// A response to a request.
    Response(Response<'a>),
}

/// A request, read as far as routing needs: keys are unique in the envelope, in `params` and in `_meta`.
#[derive(Debug)]
pub struct Request<'a> {
    /// The sender's id.
    pub id: Id,
    /// The method, unescaped.
    pub method: Cow<'a, str>,
    /// The params, one level deep. No params, `null`, `[]` and empty params are the same (JSON-RPC 2.0
    /// §4.2, [`json::says_nothing`]).
    pub params: Object<'a>,
    /// `params._meta`, one level deep, if it says anything.
    pub meta: Option<Object<'a>>,
    /// The text of `params` as it arrived, if there are any.
    pub raw_params: Option<&'a str>,
}

/// A notification's envelope.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The method, unescaped.
    pub method: Cow<'a, str>,
    /// The whole envelope, to be edited and sent on.
    pub envelope: Object<'a>,
}

impl Notification<'_> {
    /// Returns the id of the request that a `notifications/cancelled` is about.
    #[must_use]
    pub fn cancelled_id(&self) -> Option<Id> {
        let params = Object::parse(self.envelope.borrowed("params")?).ok()?;
        Id::parse(params.get("requestId")?)
    }
}

/// A response's envelope.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id as JSON text, or `None` where the sender had none (`null` or absent). Some servers answer
    /// with an id of their own; over HTTP the exchange says what is answered, not the id.
    pub id: Option<&'a str>,
    /// The result or the error.
    pub outcome: Outcome<'a>,
}

/// The two kinds of response, as raw JSON text.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The `result` member.
    Result(&'a str),
    /// The `error` member.
    Error(&'a str),
}

impl Outcome<'_> {
    /// Returns the name of the member.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Result(_) => "result",
            Self::Error(_) => "error",
        }
    }
}

/// The error of an invalid message, and the id to answer with if the message had one.
#[derive(Debug)]
pub struct MessageError {
    /// The id of the request.
    pub id: Option<Id>,
    /// The error.
    pub fault: Fault,
}

impl MessageError {
    /// Returns the error of a message whose id is unknown.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { id: None, fault }
    }
}

/// The most messages of one array.
const MOST_IN_BATCH: usize = 10_000;

/// Splits several messages in one array (2025-03-26 `basic/index.mdx#batching`), as an upstream may
/// send them.
///
/// # Errors
/// The text is not a JSON array, or there are more than 10,000 messages in it: why, for operators.
pub fn split_batch(text: &str) -> Result<Vec<&str>, &'static str> {
    match json::array_up_to(text, MOST_IN_BATCH + 1) {
        Ok(items) if items.len() > MOST_IN_BATCH => Err("an array of more than 10,000 messages"),
        Ok(items) => Ok(items),
        Err(_) => Err("not JSON"),
    }
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// A [`MessageError`] with the code JSON-RPC gives: -32700 for what is not JSON, -32600 for what is not
    /// a message of JSON-RPC 2.0. The id is in it where the message had a usable one.
    pub fn parse(text: &'a str) -> Result<Self, MessageError> {
        let envelope = Object::parse(text).map_err(|error| match error {
            ObjectError::Syntax(_) => MessageError::new(Fault::Parse),
            ObjectError::NotObject => {
                MessageError::new(Fault::Invalid("a message is a JSON object"))
            }
            ObjectError::Duplicate(key) => MessageError::new(Fault::DuplicateKey(key)),
        })?;
        let id = match envelope.borrowed("id") {
            None => Ok(None),
            Some(text) => Id::parse(text).map(Some).ok_or(text),
        };
        let echo = |fault| MessageError {
            id: id.clone().ok().flatten(),
            fault,
        };
        if envelope.string("jsonrpc").as_deref() != Some("2.0") {
            return Err(echo(Fault::Invalid("`jsonrpc` must be \"2.0\"")));
        }
        if let Some(method) = envelope.borrowed("method") {
            let method = read_method(method, &envelope).map_err(echo)?;
            return Self::of_method(method, id, envelope);
        }
        let outcome = match (envelope.borrowed("result"), envelope.borrowed("error")) {
            (Some(result), None | Some("null")) => Outcome::Result(result),
            (None | Some("null"), Some(error)) => Outcome::Error(error),
            _ => {
                return Err(echo(Fault::Invalid(
                    "a message has a `method`, a `result` or an `error`",
                )));
            }
        };
        let id = envelope.borrowed("id").filter(|text| *text != "null");
        Ok(Self::Response(Response { id, outcome }))
    }

    /// Returns the message with this method. `id` is the text of an id that is not valid, or the id.
    fn of_method(
        method: Cow<'a, str>,
        id: Result<Option<Id>, &str>,
        mut envelope: Object<'a>,
    ) -> Result<Self, MessageError> {
        match id {
            // Writers that cannot leave a member out write `null` for the id of a notification.
            Err("null") if method.starts_with(method::NOTIFICATIONS) => {
                envelope.remove("id");
                Ok(Self::Notification(Notification { method, envelope }))
            }
            Ok(Some(id)) => {
                let (params, meta) = insides(&envelope).map_err(|fault| MessageError {
                    id: Some(id.clone()),
                    fault,
                })?;
                Ok(Self::Request(Request {
                    id,
                    method,
                    params,
                    meta,
                    raw_params: envelope.borrowed("params"),
                }))
            }
            Ok(None) => Ok(Self::Notification(Notification { method, envelope })),
            Err(text) => Err(MessageError::new(Fault::Invalid(match text.len() {
                bytes if bytes > ID_BYTES => "`id` has more than 1,024 bytes",
                _ => "`id` must be a string or an integer",
            }))),
        }
    }
}

/// Reads the method of a message, and checks that its params are an object.
fn read_method<'a>(method: &'a str, envelope: &Object<'_>) -> Result<Cow<'a, str>, Fault> {
    let method = json::string(method).ok_or(Fault::Invalid("`method` must be a string"))?;
    if method.len() > METHOD_BYTES {
        return Err(Fault::Invalid("`method` has more than 256 bytes"));
    }
    let is_odd = |params: &str| !json::is_object(params) && !json::says_nothing(params);
    if envelope.get("params").is_some_and(is_odd) {
        return Err(Fault::Envelope("`params` must be an object"));
    }
    Ok(method)
}

/// `params` and `params._meta`, where two readers could not differ about them.
fn insides<'a>(envelope: &Object<'a>) -> Result<(Object<'a>, Option<Object<'a>>), Fault> {
    let fault = |error, what: &'static str| match error {
        ObjectError::Duplicate(key) => Fault::DuplicateKey(key),
        ObjectError::Syntax(_) | ObjectError::NotObject => Fault::Envelope(what),
    };
    let params = envelope.object("params");
    let params = params.map_err(|error| fault(error, "`params` must be an object"))?;
    let params = params.unwrap_or_default();
    let meta = params.object("_meta");
    let meta = meta.map_err(|error| fault(error, "`_meta` must be an object"))?;
    // Each progress notification repeats it.
    let token = meta
        .as_ref()
        .and_then(|meta| meta.get(meta::PROGRESS_TOKEN));
    if token.is_some_and(|token| token.len() > ID_BYTES) {
        return Err(Fault::Envelope("`progressToken` has more than 1,024 bytes"));
    }
    Ok((params, meta))
}

/// A successful response as bytes; `result` is JSON text and is copied as it is.
#[must_use]
pub fn result(id: &Id, result: &str) -> Bytes {
    let mut out = Vec::with_capacity(result.len() + id.as_json().len() + 40);
    begin_result(id, &mut out);
    out.extend_from_slice(result.as_bytes());
    out.push(b'}');
    out.into()
}

/// A successful response in pieces. A large `result` that is a part of `received` is not copied: it is
/// that part, and what counts for those bytes goes on to count.
#[must_use]
pub fn result_of(id: &Id, result: &str, received: &Bytes) -> Vec<Bytes> {
    match part_of(received, result) {
        Some(part) if part.len() >= LARGE => {
            let mut begin = Vec::with_capacity(id.as_json().len() + 40);
            begin_result(id, &mut begin);
            vec![begin.into(), part, Bytes::from_static(b"}")]
        }
        _ => vec![self::result(id, result)],
    }
}

/// Returns the part of `whole` that this text is, if it is one.
fn part_of(whole: &Bytes, text: &str) -> Option<Bytes> {
    let begin = text.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = begin.checked_add(text.len())?;
    (end <= whole.len()).then(|| whole.slice(begin..end))
}

/// Everything of a successful response that stands before its `result`.
pub fn begin_result(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_json().as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// An error response as bytes; `error` is JSON text and is copied as it is. No id gives `null`.
#[must_use]
pub fn error(id: Option<&Id>, error: &str) -> Bytes {
    let id = id.map_or("null", Id::as_json);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into()
}

/// A notification as bytes; `params` is JSON text.
#[must_use]
pub fn notification(method: &str, params: Option<&str>) -> Bytes {
    match params {
        Some(params) => format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":{},\"params\":{params}}}",
            json::quote(method)
        ),
        None => format!("{{\"jsonrpc\":\"2.0\",\"method\":{}}}", json::quote(method)),
    }
    .into()
}

/// The notification that takes back a request of weir's own.
#[must_use]
pub fn cancelled(id: u64, reason: &'static str) -> Bytes {
    let params = format!("{{\"requestId\":{id},\"reason\":\"{reason}\"}}");
    notification(method::CANCELLED, Some(&params))
}

/// A request as bytes, with params or without.
#[must_use]
pub fn request_of(id: &Id, method: &str, params: Option<&str>) -> Bytes {
    match params {
        Some(params) => request(id, method, params),
        None => {
            let (id, method) = (id.as_json(), json::quote(method));
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method}}}").into()
        }
    }
}

/// A request as bytes; `params` is JSON text.
#[must_use]
pub fn request(id: &Id, method: &str, params: &str) -> Bytes {
    let (id, method) = (id.as_json(), json::quote(method));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_result_is_a_part_of_what_was_received() {
        let id = Id::parse("7").expect("an id");
        for (bytes, pieces) in [(LARGE, 3), (LARGE - 1, 1)] {
            let result = format!("\"{}\"", "x".repeat(bytes - 2));
            let received = Bytes::from(format!("{{\"result\":{result},\"id\":1}}"));
            let text = std::str::from_utf8(&received).expect("text");
            let within = &text[10..10 + bytes];
            let sent = result_of(&id, within, &received);
            assert_eq!(sent.len(), pieces);
            assert_eq!(sent.concat(), super::result(&id, &result));
            let is_shared = sent.iter().any(|piece| piece.as_ptr() == within.as_ptr());
            assert_eq!(is_shared, pieces == 3);
            assert_eq!(result_of(&id, &result, &received).len(), 1, "of elsewhere");
        }
    }

    fn code(text: &str) -> i32 {
        Message::parse(text).unwrap_err().fault.code()
    }

    #[test]
    fn each_kind_is_known_by_its_members() {
        assert!(matches!(
            Message::parse(r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#).unwrap(),
            Message::Request(request) if request.id.as_json() == "\"a\"" && request.method == "tools/list"
        ));
        assert!(matches!(
            Message::parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap(),
            Message::Notification(_)
        ));
        assert!(matches!(
            Message::parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#).unwrap(),
            Message::Response(Response {
                id: None,
                outcome: Outcome::Error(r#"{"code":1}"#)
            })
        ));
    }

    #[test]
    fn what_is_no_message_gets_the_code_of_json_rpc() {
        assert_eq!(code("{"), -32700);
        assert_eq!(code("3 x"), -32700);
        assert_eq!(code("3"), -32600);
        assert_eq!(code(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#), -32600);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#), -32600);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#), -32600);
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"x"}"#),
            -32600
        );
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#),
            -32602
        );
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1}"#), -32600);
    }

    #[test]
    fn null_is_an_optional_member_that_is_absent() {
        let nothing = [
            "null",
            "[]",
            "[ ]",
            "{}",
            r#"{"_meta":null}"#,
            r#"{"_meta":[]}"#,
        ];
        for params in nothing {
            let text = format!(
                "\u{feff}{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{params}}}"
            );
            let Ok(Message::Request(request)) = Message::parse(&text) else {
                panic!("{params}");
            };
            assert!(request.meta.is_none(), "{params}");
            assert_eq!(request.params.len(), usize::from(params.contains("_meta")));
        }
        let told = r#"{"jsonrpc":"2.0","id":null,"method":"notifications/x","params":null}"#;
        let Ok(Message::Notification(notification)) = Message::parse(told) else {
            panic!("{told}");
        };
        assert!(!notification.envelope.contains("id"));
        let failed = r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1}}"#;
        assert!(matches!(
            Message::parse(failed),
            Ok(Message::Response(Response {
                outcome: Outcome::Error(r#"{"code":1}"#),
                ..
            }))
        ));
    }

    #[test]
    fn a_number_of_weirs_is_read_however_it_is_spelled() {
        for same in [
            "7",
            "\"7\"",
            "7.0",
            "\"7.0\"",
            "7e0",
            "0.7e1",
            "\"\\u0037\"",
        ] {
            assert_eq!(read_number(same), Some(7), "{same}");
        }
        let large = 1_u64 << 48;
        for same in [format!("{large}.0"), "2.81474976710656e+14".to_owned()] {
            assert_eq!(read_number(&same), Some(large), "{same}");
        }
        for no in [
            "7.5", "-7", "\"a\"", "null", "{}", "[7]", "1e300", "\"inf\"", "\"\"",
        ] {
            assert_eq!(read_number(no), None, "{no}");
        }
    }

    #[test]
    fn ids_are_alike_whatever_their_spelling() {
        let alike = |a, b| Id::parse(a).unwrap().is_alike(&Id::parse(b).unwrap());
        assert!(alike("7", "\"7\"") && alike("\"a\"", "\"\\u0061\""));
        assert!(!alike("7", "8") && !alike("\"a\"", "\"b\""));
    }

    #[test]
    fn an_id_keeps_its_spelling() {
        for id in ["7", "-1", "123456789012345678901234567890", r#""\u0061""#] {
            assert_eq!(Id::parse(id).unwrap().as_json(), id);
        }
        for no in ["null", "1.0", "1e3", "true", "{}", "-", ""] {
            assert!(Id::parse(no).is_none(), "{no}");
        }
    }
}
