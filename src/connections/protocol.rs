//! The protocol of a connection, HTTP/1.1 or HTTP/2, found before anything is read.
//!
//! hyper-util finds it by reading some bytes first and giving them back. hyper then takes a second
//! look at a buffer that is not empty, and makes it twice as large, for as long as the connection
//! lives. So weir looks at bytes that stay where they are.

use std::task::{Context, Poll, ready};

use hyper_util::server::conn::auto::Builder;
use tokio::io::ReadBuf;

use super::header_block::PREFACE;
use super::listener::ClientStream;
use super::streams::TrackedExecutor;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or what is not HTTP at all.
    Http1,
    /// HTTP/2.
    Http2,
    /// Either: it is to be read.
    Unknown,
}

/// Serves the connections of a listener, by their protocol.
pub(super) struct Protocols {
    http1: Builder<TrackedExecutor>,
    http2: Builder<TrackedExecutor>,
    either: Builder<TrackedExecutor>,
}

impl Protocols {
    pub(super) fn new(builder: Builder<TrackedExecutor>) -> Self {
        Self {
            http1: builder.clone().http1_only(),
            http2: builder.clone().http2_only(),
            either: builder,
        }
    }

    pub(super) const fn of(&self, protocol: Protocol) -> &Builder<TrackedExecutor> {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Unknown => &self.either,
        }
    }
}

impl Protocol {
    /// Finds the protocol, once something has arrived.
    pub(super) fn poll(stream: &ClientStream, context: &mut Context<'_>) -> Poll<Self> {
        let mut room = [0; PREFACE.len()];
        match stream {
            ClientStream::Tcp(stream) => {
                let mut into = ReadBuf::new(&mut room);
                // An error comes again where it is read.
                let seen = ready!(stream.poll_peek(context, &mut into));
                Poll::Ready(seen.map_or(Self::Unknown, |_| Self::of_bytes(into.filled())))
            }
            // RFC 7301: what was agreed on in the handshake.
            ClientStream::Tls(stream) => Poll::Ready(match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Self::Http2,
                Some(_) => Self::Http1,
                None => Self::Unknown,
            }),
            ClientStream::Unix(_) => Poll::Ready(Self::Unknown),
        }
    }

    /// Finds the protocol by the first bytes of a connection (RFC 9113 §3.4).
    fn of_bytes(bytes: &[u8]) -> Self {
        match (PREFACE.starts_with(bytes), bytes.len() == PREFACE.len()) {
            (true, true) => Self::Http2,
            (true, false) => Self::Unknown,
            (false, _) => Self::Http1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_of_a_connection_tell_its_protocol() {
        for (bytes, protocol) in [
            (&b"POST /mcp HTTP/1.1\r\nho"[..], Protocol::Http1),
            (b"PR", Protocol::Unknown),
            (b"PRO", Protocol::Http1),
            (b"", Protocol::Unknown),
            (PREFACE, Protocol::Http2),
            (b"\x16\x03\x01", Protocol::Http1),
        ] {
            assert_eq!(Protocol::of_bytes(bytes), protocol, "{bytes:?}");
        }
    }
}
