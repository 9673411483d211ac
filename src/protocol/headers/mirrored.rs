//! Arguments that headers mirror: which they are, and what they say.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderName;

use crate::json::{self, Object};
use crate::protocol::error::Fault;

/// The prefix of the headers that mirror arguments.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The most bytes of the headers of one request whose values callers decide: `Mcp-Name`,
/// `Mcp-Param-*`, `baggage`, with their names. Common servers take 16 KiB of headers in all (Node.js)
/// or 8 KiB a line (nginx, Apache) and hang up at more, and weir's own need some room.
pub const FOREIGN_BYTES: usize = 8 * 1024;

/// The type of an argument that is mirrored (`number` is excluded by the specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// `"type": "string"`
    String,
    /// `"type": "integer"`
    Integer,
    /// `"type": "boolean"`
    Boolean,
}

/// An argument that is mirrored into a header, because its schema has `x-mcp-header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// `Mcp-Param-{Name}`.
    pub header: HeaderName,
    /// The property names that lead from `arguments` to the value.
    pub path: Box<[Box<str>]>,
    /// The type its schema gives it.
    pub kind: ParamKind,
}

impl HeaderParam {
    /// Takes the value of an `x-mcp-header`. `None` unless it is a field-name token (RFC 9110 §5.1).
    #[must_use]
    pub fn new(name: &str, path: &[&str], kind: ParamKind) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let header = HeaderName::from_bytes(format!("{PARAM_PREFIX}{name}").as_bytes()).ok()?;
        Some(Self {
            header,
            path: path.iter().map(|step| Box::from(*step)).collect(),
            kind,
        })
    }
}

/// How headers and body disagree. All of them are -32020 with HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A header the body calls for is not there.
    #[error("{0} is required and missing")]
    Missing(Title),
    /// A header is there more than once.
    #[error("{0} is there more than once")]
    Repeated(Title),
    /// A header is not visible ASCII, or `=?base64?…?=` around something that is not base64 of UTF-8.
    #[error("{0} is malformed")]
    Malformed(Title),
    /// A header and the body say different things.
    #[error("{header} is `{value}`, which is not what the body says")]
    Mismatch {
        /// The header.
        header: Title,
        /// Its value, decoded, cut to 64 characters.
        value: String,
    },
    /// A header mirrors an argument that is absent or `null`.
    #[error("{0} mirrors an argument that the body does not have")]
    Unexpected(Title),
    /// The arguments cannot be read in one way only: not an object, or a key twice on the way to a
    /// mirrored value.
    #[error("the arguments that {0} mirrors are not readable")]
    Arguments(Title),
    /// A value that is to be mirrored has no room among [`FOREIGN_BYTES`].
    #[error(
        "{0} is too long: it is mirrored into a header, and there is room for {FOREIGN_BYTES} bytes of such headers"
    )]
    TooLong(String),
}

impl From<HeaderError> for Fault {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::TooLong(_) => Self::Params(error.to_string()),
            HeaderError::Missing(_)
            | HeaderError::Repeated(_)
            | HeaderError::Malformed(_)
            | HeaderError::Mismatch { .. }
            | HeaderError::Unexpected(_)
            | HeaderError::Arguments(_) => Self::HeaderMismatch(error.to_string()),
        }
    }
}

/// A header name as the specification spells it: `Mcp-Param-Region`, not `mcp-param-region`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(pub(super) HeaderName);

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for c in self.0.as_str().chars() {
            let c = if first { c.to_ascii_uppercase() } else { c };
            first = c == '-';
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

/// A value at the end of a path through the arguments.
pub(super) enum Mirrored {
    Text(String),
    Number(String),
    Boolean(bool),
    Composite,
}

/// Returns what each parameter mirrors: `None` where it is absent or `null`. However many parameters
/// there are, each object on their paths is parsed once.
///
/// # Errors
/// An object on the path of a parameter, or its value, is not readable.
pub(super) fn read(
    mirrored: &[HeaderParam],
    arguments: Option<&str>,
) -> Result<Vec<Option<Mirrored>>, HeaderError> {
    let mut found: Vec<_> = mirrored.iter().map(|_| None).collect();
    if let Some(text) = arguments.filter(|_| !mirrored.is_empty()) {
        let all: Vec<_> = mirrored.iter().enumerate().collect();
        walk(text, 0, &all, &mut found)?;
    }
    Ok(found)
}

/// Follows parameters that have the first `depth` steps of their paths in common. Their paths are
/// [short](crate::catalog), so the recursion is.
fn walk(
    text: &str,
    depth: usize,
    params: &[(usize, &HeaderParam)],
    found: &mut [Option<Mirrored>],
) -> Result<(), HeaderError> {
    let mut below: BTreeMap<&str, Vec<(usize, &HeaderParam)>> = BTreeMap::new();
    for (at, param) in params {
        match param.path.get(depth) {
            Some(step) => below.entry(step).or_default().push((*at, param)),
            None => {
                if let Some(found) = found.get_mut(*at) {
                    *found = value(param, text)?;
                }
            }
        }
    }
    let Some((_, first)) = params.first().filter(|_| !below.is_empty()) else {
        return Ok(());
    };
    if !json::is_object(text) {
        return Ok(());
    }
    let object = Object::parse(text);
    let object = object.map_err(|_| HeaderError::Arguments(Title(first.header.clone())))?;
    for (step, params) in below {
        if let Some(value) = object.borrowed(step) {
            walk(value, depth + 1, &params, found)?;
        }
    }
    Ok(())
}

/// Reads the value that a parameter mirrors; `None` if it is `null`.
fn value(param: &HeaderParam, text: &str) -> Result<Option<Mirrored>, HeaderError> {
    let unreadable = || HeaderError::Arguments(Title(param.header.clone()));
    Ok(match text {
        "null" => None,
        "true" => Some(Mirrored::Boolean(true)),
        "false" => Some(Mirrored::Boolean(false)),
        text if text.starts_with(['{', '[']) => Some(Mirrored::Composite),
        text if text.starts_with('"') => Some(Mirrored::Text(
            json::string(text).ok_or_else(unreadable)?.into_owned(),
        )),
        number => Some(Mirrored::Number(number.to_owned())),
    })
}
