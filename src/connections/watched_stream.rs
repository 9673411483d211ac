//! The stream of a connection as HTTP sees it: decrypted, where there is TLS.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, ConnectionPhase};
use super::header_block::HeaderBlock;
use super::listener::ClientStream;
use super::protocol::Protocol;

/// Most bytes that are read and dropped after a header was refused.
const LINGER_BYTES: usize = 16 << 20;

/// Stream that notes when bytes arrive, and when the client does not take any.
pub(super) struct WatchedStream {
    stream: ClientStream,
    activity: Arc<Activity>,
    block: HeaderBlock,
    /// Whether the sending side is shut down.
    is_shut: bool,
    /// Bytes read and dropped since then.
    lingered: usize,
}

impl WatchedStream {
    pub(super) fn new(stream: ClientStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            block: HeaderBlock::default(),
            is_shut: false,
            lingered: 0,
        }
    }

    /// Finds the protocol, once something has arrived.
    pub(super) fn poll_protocol(&self, context: &mut Context<'_>) -> Poll<Protocol> {
        Protocol::poll(&self.stream, context)
    }

    /// Notes whether the client took bytes, unless that was noted below TLS.
    fn note_write<T>(&self, polled: Poll<T>) -> Poll<T> {
        match self.stream {
            ClientStream::Tls(_) => polled,
            ClientStream::Tcp(_) | ClientStream::Unix(_) => self.activity.note_write(polled),
        }
    }

    /// Reads and drops the rest of a refused header, within the time that the header had. A
    /// connection that is closed with bytes unread is reset, and the client may lose the answer.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut room = [MaybeUninit::uninit(); 8 << 10];
        while self.lingered < LINGER_BYTES {
            let mut into = ReadBuf::uninit(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut into));
            if read.is_err() || into.filled().is_empty() {
                break;
            }
            self.lingered += into.filled().len();
        }
        Poll::Ready(())
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if let Some(bytes @ [_, ..]) = into.filled().get(before..) {
            self.activity.note_bytes();
            let is_open = self.block.note(bytes);
            self.activity.note_block(is_open);
        }
        polled
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
        }
        if self.activity.phase() == ConnectionPhase::Header {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
