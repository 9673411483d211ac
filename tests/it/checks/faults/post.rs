//! Requests that are correct until a test makes them wrong.

use serde_json::Value;

use crate::checks::{CAPABILITIES, CLAIM, ID};
use crate::support::client::MODERN;

/// A correct request, to be made wrong.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) verb: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Post {
    pub(super) fn new(method: &str, params: &str) -> Self {
        let headers = [
            ("host", "localhost"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        Self {
            verb: "POST",
            headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
            body: format!(r#"{{"jsonrpc":"2.0","id":{ID},"method":"{method}","params":{params}}}"#),
        }
    }

    /// `params` end in a brace; the envelope goes before it.
    pub(super) fn modern(method: &str, params: &str) -> Self {
        let open = params.strip_suffix('}').unwrap();
        let comma = if open.len() > 1 { "," } else { "" };
        let meta = format!(r#"{{"{CLAIM}":"{MODERN}","{CAPABILITIES}":{{}}}}"#);
        let post = Self::new(method, &format!(r#"{open}{comma}"_meta":{meta}}}"#));
        let params: Value = serde_json::from_str(params).unwrap_or_default();
        let name = ["name", "uri", "taskId"]
            .iter()
            .find_map(|key| params[key].as_str());
        let post = post
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        match name {
            Some(name) => post.header("mcp-name", name),
            None => post,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    pub(super) fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.body.contains(from), "{}", self.body);
        self.body = self.body.replacen(from, to, 1);
        self
    }

    pub(super) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn verb(mut self, verb: &'static str) -> Self {
        self.verb = verb;
        self
    }

    pub(super) fn head(&self) -> String {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        format!(
            "{} /mcp HTTP/1.1\r\n{}",
            self.verb,
            lines.collect::<String>()
        )
    }

    /// Returns the bytes, with this `Content-Length` whatever the body is.
    pub(super) fn promising(&self, length: usize) -> String {
        format!(
            "{}content-length: {length}\r\n\r\n{}",
            self.head(),
            self.body
        )
    }

    pub(super) fn chunked(&self, chunks: &str) -> String {
        format!("{}transfer-encoding: chunked\r\n\r\n{chunks}", self.head())
    }

    pub(super) fn text(&self) -> String {
        self.promising(self.body.len())
    }
}
