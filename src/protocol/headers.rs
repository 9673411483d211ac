//! The `Mcp-*` headers of the modern era: what they carry, and whether they agree with the body.
//!
//! Headers mirror the body so that machines between can route without parsing it; a server that does
//! parse it must refuse a request whose two halves disagree
//! (`basic/transports/streamable-http.mdx#server-validation`). They are made anew for every hop.

mod mirrored;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::json::Object;
use crate::protocol::method;

use mirrored::Mirrored;
pub use mirrored::{FOREIGN_BYTES, HeaderError, HeaderParam, PARAM_PREFIX, ParamKind, Title};

/// Mirrors `method`. Required on every modern request.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Mirrors `params.name`, `params.uri` or `params.taskId`; see [`name_member`].
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The legacy session; modern ignores it.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Legacy: the event after which a stream is taken up again (WHATWG HTML §9.2.4).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The protocol version of a request.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

const ENCODED_START: &str = "=?base64?";
const ENCODED_END: &str = "?=";
/// The largest integer a header may mirror: what a double holds exactly (`#schema-extension`).
const SAFE_INTEGER_DIGITS: usize = 16;

/// The member of `params` that `Mcp-Name` mirrors, for the methods that must have that header.
/// The task methods come from SEP-2663.
#[must_use]
pub fn name_member(method: &str) -> Option<&'static str> {
    match method {
        method::TOOLS_CALL | method::PROMPTS_GET => Some("name"),
        method::RESOURCES_READ => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// Copies a value that is kept. What is read from a connection is a part of the buffer that it was
/// read into, 8 KiB and more, and keeps all of that in memory.
#[must_use]
pub fn detach(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}

/// A header value for any text: as it is where HTTP carries it unharmed, else `=?base64?…?=`
/// (`#value-encoding`).
#[must_use]
pub fn encode(text: &str) -> HeaderValue {
    let encoded;
    let text = if is_plain(text) {
        text
    } else {
        encoded = format!("{ENCODED_START}{}{ENCODED_END}", STANDARD.encode(text));
        &encoded
    };
    // Both forms are visible ASCII with inner spaces, which every header value may be.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn is_plain(text: &str) -> bool {
    let visible = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let edges = text.starts_with(' ') || text.ends_with(' ');
    let sentinel = text.starts_with(ENCODED_START) && text.ends_with(ENCODED_END);
    visible && !edges && !sentinel
}

/// The text a header value stands for. White space around it belongs to HTTP, not to the value.
///
/// # Errors
/// [`HeaderError::Malformed`]
pub fn decode<'v>(
    header: &HeaderName,
    value: &'v HeaderValue,
) -> Result<Cow<'v, str>, HeaderError> {
    let malformed = || HeaderError::Malformed(Title(header.clone()));
    let text = value
        .to_str()
        .map_err(|_| malformed())?
        .trim_matches([' ', '\t']);
    let Some(inner) = text
        .strip_prefix(ENCODED_START)
        .and_then(|rest| rest.strip_suffix(ENCODED_END))
    else {
        return Ok(Cow::Borrowed(text));
    };
    let bytes = STANDARD.decode(inner).map_err(|_| malformed())?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| malformed())
}

/// Compares `Mcp-Method` with the method of the body. This header is never encoded.
///
/// # Errors
/// The header is missing, repeated, or says something else. Case counts.
pub fn check_method(headers: &HeaderMap, method: &str) -> Result<(), HeaderError> {
    let value = one(headers, &METHOD)?.ok_or(HeaderError::Missing(Title(METHOD)))?;
    let text = value
        .to_str()
        .map_err(|_| HeaderError::Malformed(Title(METHOD)))?
        .trim_matches([' ', '\t']);
    agree(&METHOD, text, text == method)
}

/// Compares `Mcp-Name` with the member of `params` that the method mirrors there. A method that mirrors
/// nothing, or a body without the member (which is for others to refuse), passes.
///
/// # Errors
/// The header is missing, repeated, malformed, or says something else.
pub fn check_name(
    headers: &HeaderMap,
    method: &str,
    params: &Object<'_>,
) -> Result<(), HeaderError> {
    let Some(name) = name_member(method).and_then(|member| params.string(member)) else {
        return Ok(());
    };
    let value = one(headers, &NAME)?.ok_or(HeaderError::Missing(Title(NAME)))?;
    let text = decode(&NAME, value)?;
    agree(&NAME, &text, text == name)
}

/// Compares the `Mcp-Param-*` headers of a tool with the arguments of a call: JSON text, or `None` where
/// the call has none. Headers this tool does not define are nobody's business.
///
/// # Errors
/// A header is missing where there is a value, is there where there is none (or `null`), is repeated,
/// malformed, or says something else. Numbers are compared as numbers.
pub fn check_params(
    headers: &HeaderMap,
    mirrored: &[HeaderParam],
    arguments: Option<&str>,
) -> Result<(), HeaderError> {
    for (param, found) in mirrored.iter().zip(mirrored::read(mirrored, arguments)?) {
        let value = one(headers, &param.header)?;
        let title = || Title(param.header.clone());
        match (found, value) {
            (None, None) => {}
            (None, Some(_)) => return Err(HeaderError::Unexpected(title())),
            (Some(_), None) => return Err(HeaderError::Missing(title())),
            (Some(body), Some(value)) => {
                let text = decode(&param.header, value)?;
                agree(&param.header, &text, says(&body, &text))?;
            }
        }
    }
    Ok(())
}

/// Writes `Mcp-Method` for a modern upstream.
pub fn write_method(headers: &mut HeaderMap, method: &str) {
    headers.insert(METHOD, encode(method));
}

/// Writes `Mcp-Name`, for methods that have one. `name` is what the upstream calls it, not what the
/// caller does.
///
/// # Errors
/// [`HeaderError::TooLong`]
pub fn write_name(headers: &mut HeaderMap, method: &str, name: &str) -> Result<(), HeaderError> {
    let (value, mut room) = (encode(name), FOREIGN_BYTES);
    take_room(&mut room, &NAME, &value).ok_or_else(|| {
        let member = name_member(method).unwrap_or("name");
        HeaderError::TooLong(format!("`{member}`"))
    })?;
    headers.insert(NAME, value);
    Ok(())
}

/// The `Mcp-Param-*` headers of a call: one for each mirrored argument that is there and not `null`.
/// `arguments` is the JSON text that goes to the upstream.
///
/// # Errors
/// [`HeaderError::Arguments`], [`HeaderError::TooLong`]
pub fn write_params(
    headers: &mut HeaderMap,
    mirrored: &[HeaderParam],
    arguments: Option<&str>,
) -> Result<(), HeaderError> {
    let mut room = room_in(headers);
    for (param, found) in mirrored.iter().zip(mirrored::read(mirrored, arguments)?) {
        let text = match found {
            None => continue,
            Some(Mirrored::Text(text)) => text,
            Some(Mirrored::Boolean(true)) => "true".to_owned(),
            Some(Mirrored::Boolean(false)) => "false".to_owned(),
            Some(Mirrored::Number(raw)) => Decimal::parse(&raw)
                .and_then(|n| n.integer())
                .unwrap_or(raw),
            // No text stands for an object or an array, so there is nothing to send.
            Some(Mirrored::Composite) => continue,
        };
        let value = encode(&text);
        take_room(&mut room, &param.header, &value).ok_or_else(|| {
            let path = param.path.join(".");
            HeaderError::TooLong(format!("the argument `{path}`"))
        })?;
        headers.insert(param.header.clone(), value);
    }
    Ok(())
}

/// Removes the `Mcp-Param-*` headers, which are of calls only.
pub fn remove_params(headers: &mut HeaderMap) {
    let is_param = |name: &&HeaderName| name.as_str().starts_with(PARAM_PREFIX);
    let params: Vec<_> = headers.keys().filter(is_param).cloned().collect();
    for name in params {
        headers.remove(name);
    }
}

/// Returns how many of the [`FOREIGN_BYTES`] are left beside these mirroring headers.
#[must_use]
pub fn room_in(mirroring: &HeaderMap) -> usize {
    let mut room = FOREIGN_BYTES;
    for (name, value) in mirroring {
        let _ = take_room(&mut room, name, value);
    }
    room
}

/// Takes the bytes of one header off; `None` if there is no room for it.
fn take_room(room: &mut usize, name: &HeaderName, value: &HeaderValue) -> Option<()> {
    // `: ` and the end of the line.
    let bytes = name.as_str().len() + value.len() + 4;
    *room = room.checked_sub(bytes)?;
    Some(())
}

/// Whether a header's text says what the body says. The type in the body decides: a body that breaks
/// its schema is the upstream's to refuse, not a disagreement of two parsers.
fn says(body: &Mirrored, text: &str) -> bool {
    match body {
        Mirrored::Text(value) => value == text,
        Mirrored::Boolean(value) => text == if *value { "true" } else { "false" },
        Mirrored::Number(raw) => {
            raw == text
                || matches!((Decimal::parse(raw), Decimal::parse(text)), (Some(a), Some(b)) if a == b)
        }
        Mirrored::Composite => false,
    }
}

fn agree(header: &HeaderName, text: &str, same: bool) -> Result<(), HeaderError> {
    if same {
        return Ok(());
    }
    Err(HeaderError::Mismatch {
        header: Title(header.clone()),
        value: text.chars().take(64).collect(),
    })
}

fn one<'h>(
    headers: &'h HeaderMap,
    header: &HeaderName,
) -> Result<Option<&'h HeaderValue>, HeaderError> {
    let mut values = headers.get_all(header).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(HeaderError::Repeated(Title(header.clone())));
    }
    Ok(first)
}

/// A decimal number without loss: `sign 0.digits × 10^exponent`, digits neither beginning nor ending in 0.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - digits.len()).ok()?;
        let exponent = i64::from(exponent) + i64::try_from(whole.len()).ok()? - leading;
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        Some(Self {
            negative,
            digits: digits.to_owned(),
            exponent,
        })
    }

    /// The number as plain digits, if it is an integer of at most [`SAFE_INTEGER_DIGITS`] digits.
    fn integer(&self) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let places = usize::try_from(self.exponent).ok()?;
        if places < self.digits.len() || places > SAFE_INTEGER_DIGITS {
            return None;
        }
        let sign = if self.negative { "-" } else { "" };
        Some(format!("{sign}{:0<places$}", self.digits))
    }
}

/// When to ask again, from `now` on, by `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::protocol::error::Fault;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn param(name: &str, path: &[&str]) -> HeaderParam {
        HeaderParam::new(name, path, ParamKind::String).unwrap()
    }

    #[test]
    fn a_value_that_is_kept_does_not_keep_its_buffer() {
        let buffer = bytes::Bytes::from(vec![b'a'; 8192]);
        let mut value = HeaderValue::from_maybe_shared(buffer.slice(..10)).unwrap();
        value.set_sensitive(true);
        let kept = detach(&value);
        drop(value);
        assert!(buffer.is_unique());
        assert!(kept.is_sensitive() && kept == "aaaaaaaaaa");
    }

    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), value, "{text:?}");
            assert_eq!(decode(&NAME, &encode(text)).unwrap(), text, "{text:?}");
        }
    }

    #[test]
    fn values_that_are_not_quite_encoded_are_literal_or_refused() {
        for literal in [
            "=?base64?SGVsbG8=",
            "SGVsbG8=",
            "SGVsbG8=?=",
            "=?BASE64?SGVsbG8=?=",
            "=?base64?=",
        ] {
            let value = HeaderValue::from_str(literal).unwrap();
            assert_eq!(decode(&NAME, &value).unwrap(), literal);
        }
        for bad in [
            "=?base64?SGVsbG8?=",
            "=?base64?SGVs!!!bG8=?=",
            "=?base64?/w==?=",
        ] {
            let value = HeaderValue::from_str(bad).unwrap();
            assert_eq!(
                decode(&NAME, &value),
                Err(HeaderError::Malformed(Title(NAME))),
                "{bad}"
            );
        }
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        assert_eq!(
            decode(&NAME, &value),
            Err(HeaderError::Malformed(Title(NAME)))
        );
    }

    #[test]
    fn the_method_header_must_be_there_once_and_say_the_same() {
        assert_eq!(
            check_method(&headers(&[("mcp-method", " tools/list ")]), "tools/list"),
            Ok(())
        );
        assert_eq!(
            check_method(&headers(&[]), "tools/list")
                .unwrap_err()
                .to_string(),
            "Mcp-Method is required and missing"
        );
        assert!(check_method(&headers(&[("mcp-method", "TOOLS/LIST")]), "tools/list").is_err());
        let twice = headers(&[("mcp-method", "tools/list"), ("mcp-method", "tools/list")]);
        assert_eq!(
            check_method(&twice, "tools/list"),
            Err(HeaderError::Repeated(Title(METHOD)))
        );
    }

    #[test]
    fn the_name_header_mirrors_the_member_of_its_method() {
        let params = Object::parse(r#"{"name":"n\u00e9","uri":"file:///x","taskId":"t"}"#).unwrap();
        for (method, value) in [
            ("tools/call", "=?base64?bsOp?="),
            ("prompts/get", "=?base64?bsOp?="),
            ("resources/read", "file:///x"),
            ("tasks/get", "t"),
        ] {
            assert_eq!(
                check_name(&headers(&[("MCP-NAME", value)]), method, &params),
                Ok(()),
                "{method}"
            );
            assert!(check_name(&headers(&[("Mcp-Name", "other")]), method, &params).is_err());
            assert_eq!(
                check_name(&headers(&[]), method, &params),
                Err(HeaderError::Missing(Title(NAME)))
            );
        }
        assert_eq!(check_name(&headers(&[]), "tools/list", &params), Ok(()));
        let fault = Fault::from(
            check_name(&headers(&[("mcp-name", "foo")]), "resources/read", &params).unwrap_err(),
        );
        assert_eq!(fault.code(), -32020);
        assert_eq!(
            fault.to_string(),
            "header mismatch: Mcp-Name is `foo`, which is not what the body says"
        );
    }

    #[test]
    fn parameter_headers_are_compared_by_the_type_in_the_body() {
        let mirrored = [
            param("Region", &["where", "region"]),
            param("N", &["n"]),
            param("On", &["on"]),
        ];
        let check =
            |pairs: &[(&str, &str)], arguments| check_params(&headers(pairs), &mirrored, arguments);
        let body = Some(r#"{"where":{"region":"eu"},"n":42,"on":true}"#);
        let good = [
            ("mcp-param-region", "eu"),
            ("mcp-param-n", "42.0"),
            ("mcp-param-on", "true"),
        ];
        assert_eq!(check(&good, body), Ok(()));
        for at in 0..good.len() {
            let mut pairs = good.to_vec();
            let gone = pairs.remove(at);
            assert!(
                matches!(check(&pairs, body), Err(HeaderError::Missing(_))),
                "{gone:?}"
            );
            pairs.push((gone.0, "43"));
            assert!(
                matches!(check(&pairs, body), Err(HeaderError::Mismatch { .. })),
                "{gone:?}"
            );
        }
        for empty in [
            None,
            Some("{}"),
            Some(r#"{"where":null,"n":null,"on":null}"#),
            Some(r#"{"where":{}}"#),
        ] {
            assert_eq!(check(&[], empty), Ok(()), "{empty:?}");
            assert!(
                matches!(check(&good, empty), Err(HeaderError::Unexpected(_))),
                "{empty:?}"
            );
        }
        assert_eq!(check(&[("mcp-param-other", "1")], None), Ok(()));
        assert!(matches!(
            check(&[], Some(r#"{"n":1,"n":null}"#)),
            Err(HeaderError::Arguments(_))
        ));
        assert!(matches!(
            check(&[("mcp-param-n", "[1]")], Some(r#"{"n":[1]}"#)),
            Err(HeaderError::Mismatch { .. })
        ));
    }

    #[test]
    fn numbers_are_equal_when_their_values_are() {
        let number = |text: &str| Decimal::parse(text);
        for (a, b) in [
            ("42", "42.0"),
            ("42", "4.2e1"),
            ("-7", "-7.00"),
            ("0", "-0"),
            ("0", "0.0e9"),
            ("100", "1E2"),
            ("0.05", "5e-2"),
        ] {
            assert_eq!(number(a).unwrap(), number(b).unwrap(), "{a} {b}");
        }
        for (a, b) in [
            ("42", "-42"),
            ("9007199254740993", "9007199254740992"),
            ("1", "10"),
            ("1", "0.1"),
        ] {
            assert_ne!(number(a).unwrap(), number(b).unwrap(), "{a} {b}");
        }
        for no in [
            "",
            "-",
            "x",
            "1.",
            ".5",
            "1e",
            "0x10",
            "NaN",
            "1e99999999999",
            "+-1",
        ] {
            assert_eq!(number(no), None, "{no}");
        }
    }

    #[test]
    fn what_is_sent_is_what_would_be_accepted() {
        let mirrored = [
            param("Region", &["where", "region"]),
            param("N", &["n"]),
            param("On", &["on"]),
        ];
        let arguments = Some(r#"{"where":{"region":" é "},"n":4.2e1,"on":false,"big":1}"#);
        let mut sent = HeaderMap::new();
        write_method(&mut sent, "tools/call");
        write_name(&mut sent, "tools/call", "näme").unwrap();
        write_params(&mut sent, &mirrored, arguments).unwrap();
        assert_eq!(sent.get("mcp-param-n").unwrap(), "42");
        assert_eq!(sent.get("mcp-param-on").unwrap(), "false");
        assert_eq!(check_params(&sent, &mirrored, arguments), Ok(()));
        let params = Object::parse(r#"{"name":"näme"}"#).unwrap();
        assert_eq!(check_name(&sent, "tools/call", &params), Ok(()));
        let mut none = HeaderMap::new();
        write_params(&mut none, &mirrored, Some(r#"{"n":null,"on":{}}"#)).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_header_name_is_a_token() {
        for bad in ["", "a b", "a:b", "é", "a\r", "a(b)"] {
            assert_eq!(
                HeaderParam::new(bad, &["x"], ParamKind::String),
                None,
                "{bad:?}"
            );
        }
        let odd = HeaderParam::new("!#$%&'*+-.^_`|~9Az", &["x"], ParamKind::String).unwrap();
        assert_eq!(odd.header.as_str(), "mcp-param-!#$%&'*+-.^_`|~9az");
    }

    proptest! {
        #[test]
        fn any_text_survives_a_header(text in any::<String>()) {
            let value = encode(&text);
            prop_assert_eq!(decode(&NAME, &value).unwrap(), text);
        }

        #[test]
        fn any_argument_sent_is_accepted(text in any::<String>(), n in any::<i64>(), f in any::<f64>()) {
            let f = if f.is_finite() { f } else { 0.5 };
            let arguments = format!("{{\"s\":{},\"n\":{n},\"f\":{}}}", json::quote(&text), serde_json::to_string(&f).unwrap());
            let mirrored = [param("S", &["s"]), param("N", &["n"]), param("F", &["f"])];
            let mut sent = HeaderMap::new();
            write_params(&mut sent, &mirrored, Some(&arguments)).unwrap();
            prop_assert_eq!(sent.len(), 3);
            prop_assert_eq!(check_params(&sent, &mirrored, Some(&arguments)), Ok(()));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, SystemTime::now())
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
    }
}
