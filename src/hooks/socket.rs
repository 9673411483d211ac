//! A hook behind a Unix socket: a JSON-RPC request `intercept` a line, and its response.
//!
//! A connection carries one message at a time, and is kept for the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::HookFailure;
use super::context::ANSWER;
use crate::protocol::message::{self, Id, Message, Outcome};

/// The method of a request to a hook that speaks JSON-RPC.
const INTERCEPT: &str = "intercept";

/// Connections to one socket.
#[derive(Debug)]
pub(super) struct SocketCarrier {
    path: PathBuf,
    /// Connections without a message; at most as many as messages at once.
    idle: Mutex<Vec<UnixStream>>,
    most: usize,
    next: AtomicU64,
}

impl SocketCarrier {
    pub(super) fn new(path: &Path, most: usize) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::default(),
            most,
            next: AtomicU64::new(1),
        }
    }

    pub(super) async fn exchange(&self, input: &Bytes) -> Result<Bytes, HookFailure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let line = request_line(id, input);
        let kept = self.idle.lock().pop();
        if let Some(mut kept) = kept {
            // The hook may have closed it since, or have been started again.
            match talk(&mut kept, &line).await {
                Ok(answer) => return self.finish(kept, id, &answer),
                Err(TalkError::TooLong) => return Err(HookFailure::TooLong(ANSWER)),
                Err(TalkError::Closed { began: true }) => return Err(HookFailure::Broken),
                Err(TalkError::Closed { began: false }) => {}
            }
        }
        let connected = UnixStream::connect(&self.path).await;
        let mut fresh = connected.map_err(|error| {
            HookFailure::Unreachable(format!("{}: {}", self.path.display(), error.kind()))
        })?;
        match talk(&mut fresh, &line).await {
            Ok(answer) => self.finish(fresh, id, &answer),
            Err(TalkError::TooLong) => Err(HookFailure::TooLong(ANSWER)),
            Err(TalkError::Closed { .. }) => Err(HookFailure::Broken),
        }
    }

    fn finish(&self, stream: UnixStream, id: u64, answer: &[u8]) -> Result<Bytes, HookFailure> {
        let output = read_response(id, answer)?;
        let mut idle = self.idle.lock();
        if idle.len() < self.most {
            idle.push(stream);
        }
        Ok(output)
    }
}

/// Why a connection gave no line.
enum TalkError {
    TooLong,
    /// It is closed; `began` if some of the answer had come.
    Closed {
        began: bool,
    },
}

/// Writes a line and reads one.
async fn talk(stream: &mut UnixStream, line: &[u8]) -> Result<BytesMut, TalkError> {
    let closed = |began| move |_: io::Error| TalkError::Closed { began };
    stream.write_all(line).await.map_err(closed(false))?;
    let mut answer = BytesMut::new();
    let mut searched = 0;
    loop {
        let found = memchr::memchr(b'\n', answer.get(searched..).unwrap_or_default());
        if let Some(at) = found {
            answer.truncate(searched + at);
            return Ok(answer);
        }
        searched = answer.len();
        if searched > ANSWER {
            return Err(TalkError::TooLong);
        }
        answer.reserve(8 << 10);
        let read = stream.read_buf(&mut answer).await;
        let read = read.map_err(closed(searched > 0))?;
        if read == 0 {
            return Err(TalkError::Closed {
                began: searched > 0,
            });
        }
    }
}

/// Writes the request to a hook that speaks JSON-RPC, without line ends in it.
pub(super) fn request_message(id: u64, input: &[u8]) -> Bytes {
    // Bodies of callers may have line ends between tokens, where a space means the same.
    let text = String::from_utf8_lossy(input).replace(['\n', '\r'], " ");
    let id = Id::parse(&id.to_string());
    match id {
        Some(id) => message::request(&id, INTERCEPT, &text),
        None => Bytes::new(),
    }
}

fn request_line(id: u64, input: &[u8]) -> Vec<u8> {
    let mut line = request_message(id, input).to_vec();
    line.push(b'\n');
    line
}

/// Returns the output in a response of a hook that speaks JSON-RPC.
pub(super) fn read_response(id: u64, answer: &[u8]) -> Result<Bytes, HookFailure> {
    let text = std::str::from_utf8(answer).map_err(|_| HookFailure::Answer("not UTF-8"))?;
    let Ok(Message::Response(response)) = Message::parse(text) else {
        return Err(HookFailure::Answer("no JSON-RPC response"));
    };
    if response.id.and_then(message::read_number) != Some(id) {
        return Err(HookFailure::Answer("a response of another id"));
    }
    match response.outcome {
        Outcome::Result(result) => Ok(Bytes::copy_from_slice(result.as_bytes())),
        Outcome::Error(_) => Err(HookFailure::Answer("an error")),
    }
}
