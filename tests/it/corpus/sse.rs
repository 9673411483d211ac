//! The event stream codec beside the standard (WHATWG HTML §9.2.6), read from the whole text at once.
//!
//! The first byte of a file says how large an event may be, the second one how the rest is cut.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use serde::de::IgnoredAny;
use weir::protocol::sse::{self, Event, Events, SseError};

/// Reads any bytes as an event stream, and writes and reads them as a message.
pub fn check(data: &[u8]) {
    let [limit, cut, bytes @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit) * 2;
    let whole = read(vec![bytes], limit);
    let pieces = read(pieces(bytes, *cut), limit);
    assert_eq!(whole.0, pieces.0, "events");
    assert_eq!(whole.1.is_some(), pieces.1.is_some(), "the end");
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (events, large) = standard(text, limit);
        assert_eq!(whole.0, events);
        assert_eq!(matches!(whole.1, Some(SseError::TooLarge(_))), large);
        assert!(large || whole.1.is_none(), "{:?}", whole.1);
    }
    written(bytes, *cut);
}

type Seen = (Vec<Event>, Option<SseError<Infallible>>);

fn read(chunks: Vec<&[u8]>, limit: usize) -> Seen {
    let chunks: Vec<_> = chunks
        .into_iter()
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let mut events = Events::new(stream::iter(chunks), limit);
    let mut seen = Vec::new();
    loop {
        match block_on(events.next()) {
            Ok(Some(event)) => {
                assert!(std::str::from_utf8(&event.data).is_ok());
                assert!(event.data.len() <= limit, "an event over its limit");
                assert_ne!(event, Event::default());
                seen.push(event);
            }
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// Cuts into pieces of 0 to 7 bytes; `cut` says which.
fn pieces(mut bytes: &[u8], cut: u8) -> Vec<&[u8]> {
    let mut state = u32::from(cut);
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        // A linear congruential generator; its upper bits are the better ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, rest) = bytes.split_at(bytes.len().min((state >> 29) as usize));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The lines of a text, each without its end, and whether it has one.
fn lines(text: &str) -> Vec<(&str, bool)> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push((&rest[..end], true));
        let length = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + length..];
    }
    if !rest.is_empty() {
        lines.push((rest, false));
    }
    lines
}

/// The events of a whole text as the standard has them, as far as none is larger than `limit`; and whether
/// one is. Comments do not count, and a line end counts one.
fn standard(text: &str, limit: usize) -> (Vec<Event>, bool) {
    let (mut events, mut event, mut kind) = (Vec::new(), Event::default(), "");
    let (mut data, mut held) = (String::new(), 0);
    for (number, (line, ends)) in lines(text).into_iter().enumerate() {
        if line.is_empty() {
            if !data.is_empty() && matches!(kind, "" | "message") {
                data.pop();
                event.data = Bytes::from(data);
            }
            events.extend(Some(event).filter(|event| *event != Event::default()));
            (event, kind, data, held) = (Event::default(), "", String::new(), 0);
            continue;
        }
        if !line.starts_with(':') {
            held += line.len() + usize::from(ends);
        }
        if held > limit {
            return (events, true);
        }
        if !ends {
            continue;
        }
        let line = match number {
            0 => line.strip_prefix('\u{feff}').unwrap_or(line),
            _ => line,
        };
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => kind = value,
            "data" => data.extend([value, "\n"]),
            "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let millis = value.parse().ok().map(Duration::from_millis);
                event.retry = millis.or(event.retry);
            }
            _ => {}
        }
    }
    (events, false)
}

/// A message that is written is read: its lines, whatever ended them.
fn written(message: &[u8], cut: u8) {
    let Ok(text) = std::str::from_utf8(message) else {
        return;
    };
    let written = sse::event(message);
    let (events, error) = read(pieces(&written, cut), written.len());
    assert!(error.is_none(), "{error:?}");
    let joined: Vec<_> = lines(text).into_iter().map(|(line, _)| line).collect();
    let mut joined = joined.join("\n");
    if text.ends_with(['\r', '\n']) {
        joined.push('\n');
    }
    let expected = Event {
        data: Bytes::from(joined),
        ..Event::default()
    };
    if expected == Event::default() {
        return assert_eq!(events, []);
    }
    assert_eq!(events, [expected]);
    // So JSON stays JSON, and nothing but white space differs.
    if let [event] = events.as_slice()
        && serde_json::from_slice::<IgnoredAny>(message).is_ok()
    {
        assert!(serde_json::from_slice::<IgnoredAny>(&event.data).is_ok());
        let tight = |bytes: &[u8]| -> Vec<u8> {
            let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            bytes.iter().filter(|byte| !space(byte)).copied().collect()
        };
        assert_eq!(tight(&event.data), tight(message));
    }
}
