//! Server-sent events (WHATWG HTML §9.2): the frames weir writes, and a bounded reader over `sse-stream`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt};
use sse_stream::SseStream;

/// A comment that keeps a silent stream open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// One message as an event. Line breaks inside JSON are insignificant whitespace; each line becomes a
/// `data:` line, which the reader joins again.
#[must_use]
pub fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 24);
    out.extend_from_slice(b"event: message\n");
    for line in message.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.push(b'\n');
    }
    out.push(b'\n');
    out.into()
}

/// Why an event stream ended badly. `E` is the error of the bytes below.
#[derive(Debug, thiserror::Error)]
pub enum SseError<E> {
    /// One event is larger than allowed.
    #[error("an event is larger than {0} bytes")]
    TooLarge(usize),
    /// The bytes are not an event stream.
    #[error("not an event stream")]
    Malformed,
    /// Reading failed.
    #[error("reading the event stream failed")]
    Read(#[source] E),
}

/// What travels through `sse-stream`, whose errors want to be boxed.
#[derive(Debug)]
enum Cut<E> {
    TooLarge,
    Read(E),
}

impl<E> std::fmt::Display for Cut<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl<E: std::fmt::Debug> std::error::Error for Cut<E> {}

/// The `data` of the events of a byte stream, in order; each event is bounded in bytes. Comments and
/// events without data pass silently.
pub struct Events<E> {
    inner: BoxStream<'static, Result<sse_stream::Sse, sse_stream::Error>>,
    /// Bytes read since the last event was handed out.
    held: Arc<AtomicUsize>,
    limit: usize,
    error: std::marker::PhantomData<fn() -> E>,
}

impl<E: std::error::Error + Send + Sync + 'static> Events<E> {
    /// Reads events of at most `limit` bytes each.
    pub fn new(bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static, limit: usize) -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&held);
        let counted = bytes.map(move |chunk| {
            let chunk = chunk.map_err(Cut::Read)?;
            let held = counter.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
            // Several events may share a chunk, so a chunk's worth of slack is allowed.
            if held - chunk.len() > limit {
                Err(Cut::TooLarge)
            } else {
                Ok(chunk)
            }
        });
        let inner = SseStream::from_bytes_stream(counted.boxed()).boxed();
        Self {
            inner,
            held,
            limit,
            error: std::marker::PhantomData,
        }
    }

    /// The next event's data; `None` at the end.
    ///
    /// # Errors
    /// An event over the limit, a malformed stream, or the error of the bytes below.
    pub async fn next(&mut self) -> Result<Option<String>, SseError<E>> {
        loop {
            match self.inner.next().await {
                None => return Ok(None),
                Some(Ok(event)) => {
                    self.held.store(0, Ordering::Relaxed);
                    let of_mcp = event
                        .event
                        .as_deref()
                        .is_none_or(|kind| kind.is_empty() || kind == "message");
                    if let Some(data) = event.data.filter(|data| of_mcp && !data.is_empty()) {
                        return Ok(Some(data));
                    }
                }
                Some(Err(sse_stream::Error::Body(error))) => {
                    return Err(match error.downcast::<Cut<E>>() {
                        Ok(cut) => match *cut {
                            Cut::TooLarge => SseError::TooLarge(self.limit),
                            Cut::Read(error) => SseError::Read(error),
                        },
                        Err(_) => SseError::Malformed,
                    });
                }
                Some(Err(_)) => return Err(SseError::Malformed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    async fn read(
        chunks: Vec<&'static [u8]>,
        limit: usize,
    ) -> (Vec<String>, Option<SseError<io::Error>>) {
        let stream = futures::stream::iter(
            chunks
                .into_iter()
                .map(|chunk| Ok(Bytes::from_static(chunk))),
        );
        let mut events = Events::<io::Error>::new(stream, limit);
        let mut seen = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(data)) => seen.push(data),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_back() {
        let written = event(b"{\"a\":\n 1}");
        assert_eq!(written, "event: message\ndata: {\"a\":\ndata:  1}\n\n");
        let (seen, error) = read(
            vec![
                b": hello\n\n",
                b"event: message\nda",
                b"ta: {\"a\":\ndata:  1}\n\n",
            ],
            100,
        )
        .await;
        assert_eq!(seen, ["{\"a\":\n 1}"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn events_of_other_kinds_and_without_data_pass_silently() {
        let (seen, error) = read(
            vec![b"id: 1\ndata:\n\nevent: endpoint\ndata: /x\n\ndata: 1\n\n"],
            100,
        )
        .await;
        assert_eq!(seen, ["1"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn an_event_without_end_is_cut_off() {
        let chunk: &[u8] = &[b'x'; 64];
        let mut chunks = vec![b"data: ".as_slice()];
        chunks.extend(std::iter::repeat_n(chunk, 100));
        let (seen, error) = read(chunks, 256).await;
        assert!(seen.is_empty());
        assert!(matches!(error, Some(SseError::TooLarge(256))));
    }

    #[tokio::test]
    async fn many_small_events_pass_a_small_limit() {
        let (seen, error) = read(vec![b"data: {}\n\n"; 100], 16).await;
        assert_eq!(seen.len(), 100);
        assert!(error.is_none());
    }
}
