//! Server-sent events as a caller reads them: out of text that grows, and from a stream held open.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http1::{Chunks, Framing, Head, LIMIT};

/// Where the next event starts in a text that is only ever appended to.
#[derive(Default)]
pub(crate) struct Events {
    start: usize,
    /// No event ends before here.
    seen: usize,
}

impl Events {
    /// The data of the next complete event, its lines joined; events without data are skipped.
    pub(crate) fn next(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        loop {
            let end = self.end(text)?;
            let event = text.get(self.start..end)?;
            (self.start, self.seen) = (end, end);
            let mut lines = event
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"data:"))
                .map(|data| data.strip_prefix(b" ").unwrap_or(data))
                .map(|data| data.strip_suffix(b"\r").unwrap_or(data));
            if let Some(first) = lines.next() {
                let mut data = first.to_vec();
                for line in lines {
                    data.push(b'\n');
                    data.extend_from_slice(line);
                }
                return Some(data);
            }
        }
    }

    /// The end of the event that begins at `start`: behind its empty line.
    fn end(&mut self, text: &[u8]) -> Option<usize> {
        while let Some(offset) = memchr::memchr(b'\n', text.get(self.seen..)?) {
            let after = self.seen + offset + 1;
            match text.get(after..)? {
                [b'\n', ..] => return Some(after + 1),
                [b'\r', b'\n', ..] => return Some(after + 2),
                [] | [b'\r'] => {
                    self.seen = after - 1;
                    return None;
                }
                _ => self.seen = after,
            }
        }
        self.seen = text.len();
        None
    }
}

/// A stream that a server keeps open: the GET of a legacy session, `subscriptions/listen`.
pub(crate) struct EventStream {
    stream: TcpStream,
    inbox: Vec<u8>,
    chunks: Chunks,
    text: Vec<u8>,
    events: Events,
}

impl EventStream {
    /// Sends `request`; an answer other than an event stream in chunks is an error.
    pub(crate) async fn open(address: SocketAddr, request: &[u8]) -> Result<Self, String> {
        timeout(LIMIT, Self::try_open(address, request))
            .await
            .unwrap_or_else(|_| Err("the stream did not open in time".into()))
    }

    async fn try_open(address: SocketAddr, request: &[u8]) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("event stream: {error}");
        let mut stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.write_all(request).await.map_err(failed)?;
        let mut inbox = Vec::new();
        let head = loop {
            if let Some(head) = Head::parse(&mut inbox)? {
                break head;
            }
            if stream.read_buf(&mut inbox).await.map_err(failed)? == 0 {
                return Err("event stream: closed before its head".into());
            }
        };
        if head.status != 200 || !head.events || head.framing != Framing::Chunked {
            return Err(format!("event stream: HTTP {} without events", head.status));
        }
        Ok(Self {
            stream,
            inbox,
            chunks: Chunks::default(),
            text: Vec::new(),
            events: Events::default(),
        })
    }

    /// The data of the next event, however long it takes.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            self.chunks.decode(&mut self.inbox, &mut self.text)?;
            if let Some(data) = self.events.next(&self.text) {
                return Ok(data);
            }
            if self.chunks.ended() {
                return Err("event stream: ended by the server".into());
            }
            let read = self.stream.read_buf(&mut self.inbox).await;
            if read.map_err(|error| format!("event stream: {error}"))? == 0 {
                return Err("event stream: closed by the server".into());
            }
        }
    }
}
