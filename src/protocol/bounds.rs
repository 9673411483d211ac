//! How long the names, URIs and ids of a message may be.
//!
//! MCP bounds none of them. Peers choose them, and weir looks them up, keeps them and repeats them in
//! other messages, so what is longer than any real one is refused, with an error that says so. The
//! names of real servers have up to 128 characters (`server/tools.mdx#tool-names`), their URIs some
//! hundred bytes, ids of requests and tasks are numbers and UUIDs.

use std::borrow::Cow;

use crate::json::Object;
use crate::protocol::error::Fault;

/// Longest id of a request, and longest progress token, in bytes of JSON text. Each message about
/// the request repeats it.
pub const ID_BYTES: usize = 1024;
/// Longest method, in bytes.
pub const METHOD_BYTES: usize = 256;
/// Longest name of a tool or prompt, in bytes.
pub const NAME_BYTES: usize = 1024;
/// Longest URI of a resource, and longest URI template, in bytes.
pub const URI_BYTES: usize = 8 * 1024;
/// Longest URI that callers send. Some begin with the namespace of their upstream and a hash.
pub const EXPOSED_URI_BYTES: usize = URI_BYTES + 64;
/// Longest id of a task that callers send. It begins with the name of its upstream.
pub const TASK_ID_BYTES: usize = 2 * 1024;

/// Reads a member of params that is a string of at most so many bytes.
///
/// # Errors
/// -32602: it is absent, no string, or too long.
pub fn string<'p>(params: &'p Object<'_>, key: &str, most: usize) -> Result<Cow<'p, str>, Fault> {
    let text = params.string(key);
    let text = text.ok_or_else(|| Fault::Params(format!("`{key}` must be a string")))?;
    check(key, &text, most)?;
    Ok(text)
}

/// Checks that a text has at most so many bytes. `what` names it in the error.
///
/// # Errors
/// -32602: it has more.
pub fn check(what: &str, text: &str, most: usize) -> Result<(), Fault> {
    match text.len() {
        bytes if bytes > most => Err(Fault::Params(format!(
            "`{what}` has {bytes} bytes, more than {most}"
        ))),
        _ => Ok(()),
    }
}
