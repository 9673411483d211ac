//! The end of stdout: messages as lines.

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Writes messages, each as a line, until no more can come.
///
/// # Errors
/// Stdout is closed.
pub(super) async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    while let Some(message) = outgoing.recv().await {
        // A line break inside JSON is insignificant whitespace; in this framing it would end the
        // message.
        let mut line: Vec<u8> = message
            .iter()
            .map(|byte| {
                if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    *byte
                }
            })
            .collect();
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}
