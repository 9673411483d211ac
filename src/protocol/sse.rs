//! Server-sent events (WHATWG HTML §9.2): the frames weir writes, and a bounded reader over `sse-stream`,
//! which follows the standard from 0.3 on.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use memchr::memchr2;
use sse_stream::{Sse, SseByteStream};

/// A comment that keeps a silent stream open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// A message of fewer bytes is copied and sent in one piece.
const LARGE: usize = 64 << 10;

/// One message as an event. Line breaks inside JSON are insignificant whitespace; each line becomes a
/// `data:` line, which the reader joins again.
#[must_use]
pub fn event(message: &[u8]) -> Bytes {
    written(Vec::with_capacity(message.len() + 24), message)
}

/// The same of a message in pieces, as pieces: what is large is not copied, unless it has line breaks.
#[must_use]
pub fn event_of(pieces: Vec<Bytes>) -> Vec<Bytes> {
    const BEGIN: Bytes = Bytes::from_static(b"event: message\ndata: ");
    const END: Bytes = Bytes::from_static(b"\n\n");
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    let is_one_line = || {
        pieces
            .iter()
            .all(|piece| memchr2(b'\r', b'\n', piece).is_none())
    };
    if bytes < LARGE || !is_one_line() {
        return vec![match pieces.as_slice() {
            [only] => event(only),
            many => event(&many.concat()),
        }];
    }
    let all = [BEGIN].into_iter().chain(pieces);
    all.chain([END]).collect()
}

/// The same with an id to read on after. The id is without line breaks.
#[must_use]
pub fn event_with_id(id: &str, message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + id.len() + 32);
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(id.as_bytes());
    out.push(b'\n');
    written(out, message)
}

fn written(mut out: Vec<u8>, message: &[u8]) -> Bytes {
    out.extend_from_slice(b"event: message\n");
    let mut rest = message;
    loop {
        // A carriage return by itself ends a line too, for the reader.
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = match after {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => break,
        };
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

/// The items that travel through `sse-stream`, whose errors have to be boxed.
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

/// One event, as far as MCP uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The message; empty where the event only has an id or a retry time, or is of a kind that MCP does
    /// not know.
    pub data: Bytes,
    /// The position to resume after. The empty string says that there is none any more.
    pub id: Option<String>,
    /// How long to wait before connecting again.
    pub retry: Option<Duration>,
}

/// The events of a byte stream, in order; each is bounded in bytes. Comments, unknown fields and events
/// with neither data nor id nor retry pass silently.
pub struct Events<E> {
    inner: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    limit: usize,
    error: std::marker::PhantomData<fn() -> E>,
}

impl<E: std::error::Error + Send + Sync + 'static> Events<E> {
    /// Reads events of at most `limit` bytes each, line ends and field names included.
    pub fn new(bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static, limit: usize) -> Self {
        Self::unfold(Box::pin(bytes), limit, |mut bytes, _| async move {
            let next = bytes.next().await?;
            Some((next, bytes))
        })
    }

    /// The same, of chunks that `next` returns. It is given its state, and whether an event has
    /// begun that has not ended yet.
    pub fn unfold<S, F>(
        state: S,
        limit: usize,
        next: impl FnMut(S, bool) -> F + Send + 'static,
    ) -> Self
    where
        S: Send + 'static,
        F: Future<Output = Option<(Result<Bytes, E>, S)>> + Send + 'static,
    {
        Self {
            inner: SseByteStream::new(bounded(state, limit, next).boxed()).boxed(),
            limit,
            error: std::marker::PhantomData,
        }
    }

    /// The next event; `None` at the end. What begins an event but does not end it is no event.
    ///
    /// # Errors
    /// An event over the limit, text that is not UTF-8, or the error of the bytes below.
    pub async fn next(&mut self) -> Result<Option<Event>, SseError<E>> {
        while let Some(next) = self.inner.next().await {
            let event = Event::of(next.map_err(|error| self.error(error))?);
            if event != Event::default() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The data of the next event that has any.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub async fn message(&mut self) -> Result<Option<Bytes>, SseError<E>> {
        while let Some(event) = self.next().await? {
            if !event.data.is_empty() {
                return Ok(Some(event.data));
            }
        }
        Ok(None)
    }

    fn error(&self, error: sse_stream::Error) -> SseError<E> {
        let sse_stream::Error::Body(error) = error else {
            return SseError::Malformed;
        };
        match error.downcast::<Cut<E>>().map(|cut| *cut) {
            Ok(Cut::TooLarge) => SseError::TooLarge(self.limit),
            Ok(Cut::Read(error)) => SseError::Read(error),
            Err(_) => SseError::Malformed,
        }
    }
}

impl Event {
    fn of(block: Sse) -> Self {
        let kind = block.event.as_deref();
        let of_mcp = kind.is_none_or(|kind| kind.is_empty() || kind == "message");
        Self {
            data: block
                .data
                .filter(|_| of_mcp)
                .map(Bytes::from)
                .unwrap_or_default(),
            id: block.id,
            retry: block.retry.map(Duration::from_millis),
        }
    }
}

/// The chunks that `next` returns, until one event has more than `limit` bytes. Events before that one
/// come through.
fn bounded<S, E, F>(
    state: S,
    limit: usize,
    next: impl FnMut(S, bool) -> F + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Cut<E>>> + Send
where
    S: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Option<(Result<Bytes, E>, S)>> + Send + 'static,
{
    let start = (Some(state), next, Blocks::default());
    stream::unfold(start, move |(state, mut next, mut blocks)| async move {
        // The state is given up when an event is too large: nothing after it is read.
        let Some(state) = state else {
            return Some((Err(Cut::TooLarge), (None, next, blocks)));
        };
        let (chunk, state) = next(state, blocks.held > 0).await?;
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(Cut::Read(error)), (Some(state), next, blocks))),
        };
        let cut = blocks.count(&chunk, limit);
        if let Some(complete) = cut {
            chunk.truncate(complete);
        }
        let state = cut.is_none().then_some(state);
        Some((Ok(chunk), (state, next, blocks)))
    })
}

/// Counts what the decoder has to hold: the lines since the last empty one, without comments, which it
/// forgets as it reads them.
#[derive(Debug, Default)]
struct Blocks {
    held: usize,
    line: Line,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    /// After a carriage return: a line feed would belong to it.
    Return,
    Field,
    Comment,
}

impl Blocks {
    /// Counts a chunk. Where an event gets larger than `limit`: the length of what is before that event.
    fn count(&mut self, chunk: &[u8], limit: usize) -> Option<usize> {
        let (mut at, mut complete) = (0, 0);
        while let Some((first, rest)) = chunk.get(at..).and_then(<[u8]>::split_first) {
            let is_end = matches!(first, b'\r' | b'\n');
            match self.line {
                Line::Return if *first == b'\n' => (self.line, at) = (Line::Start, at + 1),
                Line::Start | Line::Return if is_end => {
                    self.held = 0;
                    at += 1;
                    complete = at;
                    self.line = Line::after(*first);
                }
                Line::Start | Line::Return => {
                    self.line = match first {
                        b':' => Line::Comment,
                        _ => Line::Field,
                    }
                }
                Line::Field | Line::Comment => {
                    let text = if is_end {
                        Some(0)
                    } else {
                        memchr2(b'\r', b'\n', rest).map(|end| end + 1)
                    };
                    let length = text.map_or(rest.len() + 1, |text| text + 1);
                    if self.line == Line::Field {
                        self.held += length;
                    }
                    if self.held > limit {
                        return Some(complete);
                    }
                    at += length;
                    if text.is_some() {
                        let end = chunk.get(at - 1).copied().unwrap_or(b'\n');
                        self.line = Line::after(end);
                    }
                }
            }
        }
        None
    }
}

impl Line {
    fn after(end: u8) -> Self {
        if end == b'\r' {
            Self::Return
        } else {
            Self::Start
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    #[test]
    fn a_large_message_in_pieces_is_the_event_that_it_is_in_one() {
        let long = "x".repeat(LARGE);
        for last in ["}", "\n}", "\r\n}", "}\r"] {
            let pieces = [r#"{"a":"#, long.as_str(), last].map(|text| text.to_owned().into());
            let written = event_of(pieces.to_vec());
            assert_eq!(written.len() > 1, last == "}");
            assert_eq!(written.concat(), event(&pieces.concat()));
        }
        let small = [Bytes::from_static(b"{"), Bytes::from_static(b"}")];
        assert_eq!(event_of(small.to_vec()), [event(b"{}")]);
    }

    async fn read(
        chunks: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        limit: usize,
    ) -> (Vec<Event>, Option<SseError<io::Error>>) {
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|chunk| Ok(Bytes::from(chunk.into())))
            .collect();
        let mut events = Events::<io::Error>::new(stream::iter(chunks), limit);
        let mut seen = Vec::new();
        loop {
            match events.next().await {
                Ok(Some(event)) => seen.push(event),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    /// The data of the events of one whole text.
    async fn data(text: &str) -> Vec<String> {
        let (seen, error) = read([text], 1000).await;
        assert!(error.is_none(), "{error:?}");
        seen.into_iter()
            .map(|event| String::from_utf8(event.data.to_vec()).unwrap())
            .collect()
    }

    fn message(data: &'static str) -> Event {
        Event {
            data: Bytes::from_static(data.as_bytes()),
            ..Event::default()
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_back() {
        let written = event(b"{\"a\":\n 1}");
        assert_eq!(written, "event: message\ndata: {\"a\":\ndata:  1}\n\n");
        let chunks = [
            ": hello\n\n",
            "event: message\nda",
            "ta: {\"a\":\ndata:  1}\n\n",
        ];
        let (seen, error) = read(chunks, 100).await;
        assert_eq!(seen, [message("{\"a\":\n 1}")]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn a_message_survives_whatever_breaks_its_lines() {
        for message in ["{\"a\":\r1}", "{\"a\":\r\n1}", "{\"a\":\n1}"] {
            let written = event(message.as_bytes());
            let (seen, error) = read([written.to_vec()], 100).await;
            assert!(error.is_none());
            let [seen] = seen.as_slice() else {
                panic!("{seen:?}");
            };
            assert_eq!(seen.data, "{\"a\":\n1}", "{message:?}");
        }
    }

    #[tokio::test]
    async fn what_the_standard_ignores_is_ignored() {
        // WHATWG HTML 9.2.6: unknown fields, lines without a colon, comments, a byte order mark.
        let text = "\u{feff}: c\nunknown: x\nnonsense\ndata: 1\nretry: soon\nid: a\0b\n\n";
        assert_eq!(data(text).await, ["1"]);
        // An unknown kind is not for MCP, and a block that does not end is no event.
        assert_eq!(
            data("event: ping\ndata: x\n\ndata: 2\n\ndata: 3\n").await,
            ["2"]
        );
        // Any of three line ends; the space after the colon is optional; a field without colon is empty.
        assert_eq!(
            data("data:4\r\rdata: 5\r\n\r\ndata\ndata: 6\n\n").await,
            ["4", "5", "\n6"]
        );
    }

    #[tokio::test]
    async fn ids_and_retry_times_are_seen_without_data() {
        let text =
            "id: 1\nretry: 250\ndata:\n\nid: 2\n\nevent: ping\nid: 3\ndata: x\n\nid\ndata: y\n\n";
        let (seen, error) = read([text], 100).await;
        let with_id = |id: &str| Event {
            id: Some(id.into()),
            ..Event::default()
        };
        let primed = Event {
            retry: Some(Duration::from_millis(250)),
            ..with_id("1")
        };
        let reset = Event {
            data: Bytes::from_static(b"y"),
            ..with_id("")
        };
        assert_eq!(seen, [primed, with_id("2"), with_id("3"), reset]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn text_that_is_not_utf_8_is_malformed() {
        let (seen, error) = read([b"data: 1\n\ndata: \xff\n\n"], 100).await;
        assert_eq!(seen, [message("1")]);
        assert!(matches!(error, Some(SseError::Malformed)));
    }

    #[tokio::test]
    async fn an_event_without_end_is_cut_off() {
        let chunks =
            std::iter::once("data: 1\n\ndata: ").chain(std::iter::repeat_n("xxxxxxxx", 1000));
        let (seen, error) = read(chunks, 256).await;
        assert_eq!(seen, [message("1")]);
        assert!(matches!(error, Some(SseError::TooLarge(256))));
        let (_, error) = read(std::iter::repeat_n("x: 1\n", 1000), 256).await;
        assert!(matches!(error, Some(SseError::TooLarge(256))));
    }

    #[tokio::test]
    async fn many_small_events_and_comments_pass_a_small_limit() {
        for chunk in [
            "data: {}\n\n",
            "data: {}\r\n\r\n",
            ": a comment that is longer than the limit\ndata: {}\n\n: k\n",
        ] {
            let whole = chunk.repeat(100);
            let (seen, error) = read([whole.as_str()], 16).await;
            assert_eq!(seen.len(), 100, "{error:?}");
            let bytes = whole.as_bytes().iter().map(|byte| [*byte]);
            let (seen, error) = read(bytes, 16).await;
            assert_eq!(seen.len(), 100, "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_event_is_as_large_as_its_limit() {
        assert!(read(["data: 12\n\n"], 9).await.1.is_none());
        assert!(read(["data: 123\n\n"], 9).await.1.is_some());
    }

    #[tokio::test]
    async fn the_source_is_told_whether_an_event_has_begun() {
        for (begun, within) in [
            ("", false),
            ("data: 1\n\n", false),
            ("data: 1\r\n\r\n", false),
            (": comment", false),
            ("data", true),
            ("data: 1\n", true),
            ("data: 1\n\nid: 1", true),
        ] {
            let (told, mut seen) = tokio::sync::mpsc::channel(4);
            let next = move |first: Option<&'static str>, within| {
                told.try_send(within).unwrap();
                async move { Some((Ok(Bytes::from(first?)), None)) }
            };
            let mut events = Events::<io::Error>::unfold(Some(begun), 100, next);
            while let Ok(Some(_)) = events.next().await {}
            drop(events);
            assert_eq!(
                (seen.recv().await, seen.recv().await),
                (Some(false), Some(within)),
                "{begun:?}"
            );
        }
    }

    proptest! {
        /// Where the chunks are cut changes neither what is read nor what is too large.
        #[test]
        fn chunks_mean_nothing(
            lines in proptest::collection::vec("(data|id|retry|event|x|:)?(: ?)?[a-z0-9]{0,6}(\r|\n|\r\n){1,2}", 0..12),
            cuts in proptest::collection::vec(1_usize..9, 1..40),
        ) {
            let whole = lines.concat();
            let mut rest = whole.as_bytes();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = after;
            }
            chunks.push(rest.to_vec());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (once, failed) = runtime.block_on(read([whole.as_str()], 20));
            let (pieces, failed_in_pieces) = runtime.block_on(read(chunks, 20));
            prop_assert_eq!(once, pieces);
            prop_assert_eq!(failed.is_some(), failed_in_pieces.is_some());
        }
    }
}
