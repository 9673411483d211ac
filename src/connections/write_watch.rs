//! The stream below TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// Stream below TLS that notes when the client takes no bytes. TLS above it keeps what was not
/// taken, so that this cannot be seen there.
#[derive(Debug)]
pub(super) struct WriteWatch {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl WriteWatch {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for WriteWatch {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for WriteWatch {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.activity.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use http::Version;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::activity::ConnectionPhase;
    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_no_bytes_below_tls_is_noted_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), connecting);
        let (server, mut client) = (accepted.unwrap().0, client.unwrap());
        let activity = Arc::new(Activity::new(Duration::from_secs(9)));
        let request = activity.begin(Version::HTTP_11, None);
        let mut watch = WriteWatch::new(server, Arc::clone(&activity));
        let piece = [7; 64 << 10];
        while activity.phase() == ConnectionPhase::Busy {
            poll_fn(|context| {
                let _ = Pin::new(&mut watch).poll_write(context, &piece);
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(activity.phase(), ConnectionPhase::Stalled);
        let mut read = vec![0; 1 << 20];
        client.read_exact(&mut read).await.unwrap();
        watch.write_all(b"x").await.unwrap();
        assert_eq!(activity.phase(), ConnectionPhase::Busy);
        drop(request);
    }
}
