//! One keep-alive HTTP/1.1 connection, as cheap as a measuring client has to be.
//!
//! hyper would do, at several times the CPU; on a machine of two cores the client's CPU is taken from the
//! subject under test. Answers come as JSON or as an event stream, with a length, in chunks, or until close.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::sse::Events;
use crate::transport::{Http2, Stream, Transport};

/// The time that any single answer may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// The time that an event stream may stay open behind its answer; then it is closed from this side.
const LINGER: Duration = Duration::from_millis(500);

pub(crate) struct Connection {
    address: SocketAddr,
    transport: Transport,
    stream: Option<Stream>,
    /// The connection, of a subject that is called in HTTP/2.
    http2: Option<Http2>,
    /// Received and not yet decoded.
    inbox: Vec<u8>,
    body: Vec<u8>,
    /// The JSON-RPC message of the last answer.
    message: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    /// From the first byte written to the last byte of the message read.
    pub(crate) took: Duration,
}

#[derive(PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) events: bool,
    session: Option<String>,
    close: bool,
}

impl Connection {
    /// Connects at the first exchange, and again after a failed one.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::over(address, Transport::Plain)
    }

    /// The same over another transport.
    pub(crate) fn over(address: SocketAddr, transport: Transport) -> Self {
        Self {
            address,
            transport,
            stream: None,
            http2: None,
            inbox: Vec::with_capacity(1 << 14),
            body: Vec::with_capacity(1 << 12),
            message: Vec::with_capacity(1 << 12),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The message of the last exchange: the whole body, or the data of the event that had the id.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Sends a request and reads its answer; `id` is what the response in an event stream is known by.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        id: Option<u64>,
    ) -> Result<Answer, String> {
        if matches!(self.transport, Transport::Http2) {
            return self.exchange_http2(request, id).await;
        }
        self.exchange_asked(request, id, async |_: &[u8]| Ok(()))
            .await
    }

    /// The same. Messages that come in an event stream before the response are handed to `before`, which
    /// the response has to wait for.
    pub(crate) async fn exchange_asked(
        &mut self,
        request: &[u8],
        id: Option<u64>,
        mut before: impl AsyncFnMut(&[u8]) -> Result<(), String>,
    ) -> Result<Answer, String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.inbox.clear();
                Stream::connect(self.address, &self.transport).await?
            }
        };
        let exchange = self.exchange_on(&mut stream, request, id, &mut before);
        let (answer, reusable) = timeout(LIMIT, exchange)
            .await
            .map_err(|_| format!("no answer in {LIMIT:?}"))??;
        self.stream = reusable.then_some(stream);
        Ok(answer)
    }

    async fn exchange_http2(&mut self, request: &[u8], id: Option<u64>) -> Result<Answer, String> {
        let mut connection = match self.http2.take() {
            Some(connection) => connection,
            None => Http2::connect(self.address).await?,
        };
        let exchange = connection.exchange(request, id, &mut self.message);
        let answer = timeout(LIMIT, exchange)
            .await
            .map_err(|_| format!("no answer in {LIMIT:?}"))??;
        self.http2 = Some(connection);
        Ok(answer)
    }

    /// The answer, and whether the connection can be used again.
    async fn exchange_on(
        &mut self,
        stream: &mut Stream,
        request: &[u8],
        id: Option<u64>,
        before: &mut impl AsyncFnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(Answer, bool), String> {
        let started = Instant::now();
        let written = stream.write_all(request).await;
        written.map_err(|error| format!("write: {error}"))?;
        let head = loop {
            if let Some(head) = Head::parse(&mut self.inbox)? {
                break head;
            }
            receive(stream, &mut self.inbox).await?;
        };
        self.body.clear();
        let (answered, ended) = match id.filter(|_| head.events) {
            Some(id) => self.read_events(stream, &head.framing, id, before).await?,
            None => {
                self.read_body(stream, &head.framing).await?;
                std::mem::swap(&mut self.body, &mut self.message);
                (Instant::now(), true)
            }
        };
        let reusable = ended && !head.close && head.framing != Framing::UntilClose;
        let answer = Answer {
            status: head.status,
            session: head.session,
            took: answered - started,
        };
        Ok((answer, reusable))
    }

    async fn read_body(&mut self, stream: &mut Stream, framing: &Framing) -> Result<(), String> {
        match *framing {
            Framing::Length(length) => {
                // The long part of a long body is read where it stays.
                self.body.append(&mut self.inbox);
                self.body.reserve(length.saturating_sub(self.body.len()));
                while self.body.len() < length {
                    receive(stream, &mut self.body).await?;
                }
                if self.body.len() > length {
                    return Err("more bytes than content-length says".into());
                }
            }
            Framing::Chunked => {
                let mut chunks = Chunks::default();
                loop {
                    chunks.decode(&mut self.inbox, &mut self.body)?;
                    if chunks.ended() {
                        break;
                    }
                    receive(stream, &mut self.inbox).await?;
                }
            }
            Framing::UntilClose => {
                self.body.append(&mut self.inbox);
                let read = stream.read_to_end(&mut self.body).await;
                read.map_err(|error| format!("read: {error}"))?;
            }
        }
        Ok(())
    }

    /// Reads events up to the response with the id, and then the end of the stream.
    async fn read_events(
        &mut self,
        stream: &mut Stream,
        framing: &Framing,
        id: u64,
        before: &mut impl AsyncFnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(Instant, bool), String> {
        let mut chunks = Chunks::default();
        let mut events = Events::default();
        let mut answered = None;
        loop {
            let arrived = Instant::now();
            let ended = match *framing {
                Framing::Chunked => {
                    chunks.decode(&mut self.inbox, &mut self.body)?;
                    chunks.ended()
                }
                Framing::Length(length) => {
                    self.body.append(&mut self.inbox);
                    self.body.len() >= length
                }
                Framing::UntilClose => {
                    self.body.append(&mut self.inbox);
                    false
                }
            };
            while answered.is_none()
                && let Some(data) = events.next(&self.body)
            {
                if is_response(&data, id) {
                    self.message = data;
                    answered = Some(arrived);
                } else {
                    before(&data).await?;
                }
            }
            let more = receive(stream, &mut self.inbox);
            match answered {
                Some(answered) if ended => return Ok((answered, true)),
                None if ended => return Err("the event stream ended without a response".into()),
                Some(answered) => {
                    if !matches!(timeout(LINGER, more).await, Ok(Ok(()))) {
                        return Ok((answered, false));
                    }
                }
                None => more.await?,
            }
        }
    }
}

async fn receive(stream: &mut Stream, into: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(into).await {
        Ok(0) => Err("closed by the server".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("read: {error}")),
    }
}

pub(crate) fn is_response(data: &[u8], id: u64) -> bool {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        method: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Envelope<'_>>(data).is_ok_and(|envelope| {
        envelope.method.is_none()
            && envelope.id.and_then(|found| found.get().parse().ok()) == Some(id)
    })
}

impl Head {
    /// Takes a complete head out of the front of `inbox`.
    pub(crate) fn parse(inbox: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(inbox);
        let httparse::Status::Complete(end) =
            parsed.map_err(|error| format!("response head: {error}"))?
        else {
            return Ok(None);
        };
        let mut head = Self {
            status: response.code.unwrap_or(0),
            framing: Framing::UntilClose,
            events: false,
            session: None,
            close: false,
        };
        for header in response.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or("");
            let named = |name: &str| header.name.eq_ignore_ascii_case(name);
            if named("content-length") {
                let length = value.parse().map_err(|_| "content-length: no number")?;
                head.framing = Framing::Length(length);
            } else if named("transfer-encoding") {
                head.framing = Framing::Chunked;
            } else if named("content-type") {
                head.events = value.starts_with("text/event-stream");
            } else if named("mcp-session-id") {
                head.session = Some(value.to_owned());
            } else if named("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            }
        }
        if head.status == 204 || head.status == 304 {
            head.framing = Framing::Length(0);
        }
        inbox.drain(..end);
        Ok(Some(head))
    }
}

/// Takes a chunked body apart.
#[derive(Default)]
pub(crate) struct Chunks {
    /// Bytes left of the current chunk, including its line end.
    left: usize,
    ended: bool,
}

impl Chunks {
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Moves the decoded part of `inbox` to the end of `out`.
    pub(crate) fn decode(&mut self, inbox: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
        let mut rest = inbox.as_slice();
        while !self.ended && !rest.is_empty() {
            if self.left > 0 {
                let (data, behind) = rest.split_at(self.left.min(rest.len()));
                let wanted = data.len().min(self.left.saturating_sub(2));
                out.extend_from_slice(data.get(..wanted).unwrap_or_default());
                self.left -= data.len();
                rest = behind;
                continue;
            }
            match httparse::parse_chunk_size(rest) {
                // The last chunk is `0`, here without trailers, and an empty line.
                Ok(httparse::Status::Complete((line, 0))) => {
                    let Some(behind) = rest.get(line + 2..) else {
                        break;
                    };
                    rest = behind;
                    self.ended = true;
                }
                Ok(httparse::Status::Complete((line, size))) => {
                    rest = rest.get(line..).unwrap_or_default();
                    self.left = usize::try_from(size).unwrap_or(usize::MAX - 2) + 2;
                }
                Ok(httparse::Status::Partial) => break,
                Err(_) => return Err("not a chunk".into()),
            }
        }
        let taken = inbox.len() - rest.len();
        inbox.drain(..taken);
        Ok(())
    }
}
