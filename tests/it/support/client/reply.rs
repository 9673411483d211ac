//! Answers as they came: one body, or one event after the other.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use serde_json::Value;

use crate::support::{at, bounded, fields, unquote};

/// An answer that is read as it comes. Dropping it closes the connection.
pub struct Stream {
    pub status: u16,
    pub headers: HeaderMap,
    response: reqwest::Response,
    buffer: BytesMut,
    body: BytesMut,
    broken: bool,
}

impl Stream {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            response,
            buffer: BytesMut::new(),
            body: BytesMut::new(),
            broken: false,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn is_events(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The next event's data, raw; `None` when the stream ends.
    pub async fn next(&mut self) -> Option<String> {
        bounded("an event", async {
            loop {
                if let Some(data) = self.buffered() {
                    return Some(data);
                }
                let chunk = self.chunk().await?;
                self.buffer.extend_from_slice(&chunk);
            }
        })
        .await
    }

    /// Waits for so many comments: signs of life that are no messages.
    pub async fn wait_comments(&mut self, at_least: usize) {
        bounded("comments", async {
            let is_there = |stream: &Self| {
                let text = String::from_utf8_lossy(&stream.body);
                let comments = text.lines().filter(|line| line.starts_with(':')).count();
                comments >= at_least
            };
            while !is_there(self) {
                let chunk = self.chunk().await.expect("the stream goes on");
                self.buffer.extend_from_slice(&chunk);
            }
        })
        .await;
    }

    /// The id of the last event that has arrived.
    pub fn last_id(&self) -> Option<String> {
        last_id(&self.body)
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        let chunk = self.response.chunk().await;
        self.broken |= chunk.is_err();
        let chunk = chunk.ok().flatten()?;
        self.body.extend_from_slice(&chunk);
        Some(chunk)
    }

    /// The next event as a value; fails if the stream ends.
    pub async fn next_value(&mut self) -> Value {
        let data = self.next().await.expect("the stream goes on");
        serde_json::from_str(&data).unwrap_or_else(|_| panic!("no JSON value: {data}"))
    }

    /// Takes one event with data out of the buffer. Line ends are LF or CRLF.
    fn buffered(&mut self) -> Option<String> {
        loop {
            let text = &self.buffer[..];
            let ends = [&b"\n\n"[..], b"\r\n\r\n"].into_iter();
            let (at, length) = ends
                .filter_map(|end| {
                    let at = text.windows(end.len()).position(|window| window == end)?;
                    Some((at, end.len()))
                })
                .min()?;
            let block = self.buffer.split_to(at + length);
            let block = std::str::from_utf8(&block).expect("events are UTF-8");
            let data: Vec<&str> = block
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(|data| data.strip_prefix(' ').unwrap_or(data))
                .collect();
            // An event without data only says where to read on.
            if data.iter().any(|line| !line.is_empty()) {
                return Some(data.join("\n"));
            }
        }
    }

    /// Reads to the end. A connection that breaks shows as `broken`.
    pub async fn finish(mut self) -> Reply {
        let mut events = Vec::new();
        if self.is_events() {
            while let Some(event) = self.next().await {
                events.push(event);
            }
        }
        bounded("the end of the body", async {
            while !self.broken && self.chunk().await.is_some() {}
        })
        .await;
        Reply {
            status: self.status,
            headers: self.headers,
            body: self.body.freeze(),
            events,
            broken: self.broken,
        }
    }
}

/// The id of the last event in a body that is whole.
fn last_id(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let mut ids = whole.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.next_back().map(str::to_owned)
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The data of each event, raw; empty for an answer that is one JSON body.
    pub events: Vec<String>,
    /// The connection broke before the body was whole.
    pub broken: bool,
}

impl Reply {
    /// The id of the last event.
    pub fn last_id(&self) -> Option<String> {
        last_id(&self.body)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The JSON-RPC response, raw: the body, or the last event.
    pub fn message(&self) -> String {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        self.events.last().cloned().unwrap_or(body)
    }

    /// The raw bytes of `result`.
    pub fn result(&self) -> String {
        at(&self.message(), &["result"]).unwrap_or_else(|| panic!("no result: {self:?}"))
    }

    /// `result` as a value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.result()).unwrap()
    }

    /// The raw bytes of `error`.
    pub fn raw_error(&self) -> String {
        at(&self.message(), &["error"]).unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// `error` as a value.
    pub fn error(&self) -> Value {
        serde_json::from_str(&self.raw_error()).unwrap()
    }

    /// The code of the error.
    pub fn code(&self) -> i64 {
        self.error()["code"].as_i64().unwrap()
    }

    /// Whether the answer is a JSON-RPC result.
    pub fn succeeded(&self) -> bool {
        fields(&self.message()).is_some_and(|message| message.contains_key("result"))
    }

    /// The response's id, raw.
    pub fn id(&self) -> Option<String> {
        at(&self.message(), &["id"])
    }

    /// The text of the first content block of a tool's result.
    pub fn text(&self) -> String {
        let value = self.value();
        let text = value["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text: {value}"))
            .to_owned()
    }

    /// Returns the messages with this method that came before the response.
    pub fn notifications(&self, method: &str) -> Vec<Value> {
        self.events
            .iter()
            .filter(|event| {
                let known = at(event, &["method"]).and_then(|known| unquote(&known));
                known.as_deref() == Some(method)
            })
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }
}
