//! One request, correct until the test makes it wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Reply, Stream, pool};
use crate::support::{bounded, fields, object, quote, raw};

/// The parts that both clients have: the pool, the URL, the ids.
pub(super) struct Wire {
    http: reqwest::Client,
    url: String,
    next: AtomicU64,
}

impl Wire {
    pub(super) fn new(url: &str) -> Self {
        Self::over(pool(), url)
    }

    pub(super) fn over(http: reqwest::Client, url: &str) -> Self {
        Self {
            http,
            url: url.to_owned(),
            next: AtomicU64::new(1),
        }
    }

    pub(super) fn id(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    pub(super) async fn open(&self, method: Method, headers: HeaderMap, body: Vec<u8>) -> Stream {
        let request = self.http.request(method, &self.url).headers(headers);
        let sent = bounded("response headers", request.body(body).send()).await;
        Stream::new(sent.unwrap_or_else(|error| panic!("no answer at all: {error:?}")))
    }
}

pub(super) fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// One request that can still be changed: correct until the test makes it wrong.
pub struct Ask<'c> {
    pub(super) wire: &'c Wire,
    pub(super) headers: HeaderMap,
    pub(super) id: Option<String>,
    pub(super) method: String,
    pub(super) params: String,
}

impl Ask<'_> {
    /// Sets a header; an existing one is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        for (name, value) in &headers([(name, value)]) {
            self.headers.insert(name.clone(), value.clone());
        }
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// This id (raw JSON) in place of the next number.
    pub fn id(mut self, raw: &str) -> Self {
        self.id = Some(raw.to_owned());
        self
    }

    /// Sets a member of `_meta` (raw JSON).
    pub fn meta(mut self, key: &str, value: &str) -> Self {
        self.params = with_meta(&self.params, key, value);
        self
    }

    /// Takes a member out of `_meta`.
    pub fn without_meta(mut self, key: &str) -> Self {
        let mut members = fields(&self.params).unwrap();
        let mut meta = fields(members["_meta"].get()).unwrap();
        meta.shift_remove(key).expect("it was there");
        members.insert("_meta".to_owned(), raw(object(&meta)));
        self.params = object(&members);
        self
    }

    /// Exactly these params, `_meta` and all.
    pub fn exactly(mut self, params: &str) -> Self {
        self.params = params.to_owned();
        self
    }

    /// The body that will be sent.
    pub fn body(&self) -> String {
        let (method, params) = (quote(&self.method), &self.params);
        match &self.id {
            Some(id) => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#)
            }
            None => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        }
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self) -> Reply {
        self.stream().await.finish().await
    }

    /// Sends another body under these headers.
    pub async fn send_body(self, body: &str) -> Reply {
        let stream = self.wire.open(Method::POST, self.headers, body.into());
        stream.await.finish().await
    }

    /// Sends it; the answer is read as it comes. Dropping the stream closes the connection.
    pub async fn stream(self) -> Stream {
        let body = self.body().into_bytes();
        self.wire.open(Method::POST, self.headers, body).await
    }
}

/// Sets a member of the `_meta` of raw params; the bytes of everything else stay.
pub fn with_meta(params: &str, key: &str, value: &str) -> String {
    let mut members = fields(params).unwrap_or_else(|| panic!("no object: {params}"));
    let meta = members.get("_meta").and_then(|meta| fields(meta.get()));
    let mut meta = meta.unwrap_or_default();
    meta.insert(key.to_owned(), raw(value));
    members.insert("_meta".to_owned(), raw(object(&meta)));
    object(&members)
}

pub fn call_params(tool: &str, arguments: &str) -> String {
    format!(r#"{{"name":{},"arguments":{arguments}}}"#, quote(tool))
}
