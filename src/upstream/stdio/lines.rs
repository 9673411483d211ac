//! Lines to and from a child.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pending::LineRouter;

/// The number of bytes to read and write at once, where there are as many: the size of a pipe.
const CHUNK: usize = 64 * 1024;

/// Why reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The other side closed.
    Closed,
    /// A line was longer than the limit, in bytes.
    Oversized(usize),
}

/// Reads lines until the other side closes or one is longer than `limit`.
pub(super) async fn read_lines(
    mut stdout: impl AsyncRead + Unpin,
    limit: usize,
    mut router: LineRouter,
) -> ReadEnd {
    let mut buffer = BytesMut::new();
    // The number of bytes at the start of the buffer that were searched and contain no line end.
    let mut searched = 0;
    loop {
        while let Some(at) = memchr::memchr(b'\n', buffer.get(searched..).unwrap_or_default()) {
            let mut line = buffer.split_to(searched + at + 1);
            line.truncate(searched + at);
            searched = 0;
            if line.len() > limit {
                return ReadEnd::Oversized(limit);
            }
            router.route(&line.freeze());
        }
        searched = buffer.len();
        if searched > limit {
            return ReadEnd::Oversized(limit);
        }
        buffer.reserve(CHUNK / 8);
        match stdout.read_buf(&mut buffer).await {
            // A last line without an end was cut off, so it is not routed.
            Ok(0) | Err(_) => return ReadEnd::Closed,
            Ok(_) => {}
        }
    }
}

/// Writes messages as lines until all senders are gone, or the other side closes. After `stop`,
/// writes only what is already queued.
///
/// # Errors
/// The child has closed its stdin.
pub(super) async fn write_lines(
    mut stdin: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut buffer = Vec::new();
    loop {
        let count = tokio::select! {
            biased;
            count = lines.recv_many(&mut batch, 64) => count,
            () = stop.cancelled(), if !lines.is_closed() => {
                lines.close();
                continue;
            }
        };
        if count == 0 {
            return Ok(());
        }
        for message in batch.drain(..) {
            append_line(&message, &mut buffer);
            if buffer.len() >= CHUNK {
                stdin.write_all(&buffer).await?;
                buffer.clear();
                buffer.shrink_to(CHUNK);
            }
        }
        stdin.write_all(&buffer).await?;
        buffer.clear();
    }
}

/// Appends a message as one line. A raw line end in a JSON text can only stand between its tokens,
/// where a space means the same.
fn append_line(message: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend_from_slice(message);
    if memchr::memchr2(b'\n', b'\r', message).is_some() {
        for byte in buffer.iter_mut().skip(start) {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    buffer.push(b'\n');
}
