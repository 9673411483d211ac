//! Accepts connections, and stops without losing one.
//!
//! A listener that is closed resets the connections that wait in its backlog. Their clients think
//! that they are connected, and may have sent a request. A proxy repeats a `POST` elsewhere only if
//! it has not sent it (nginx: `proxy_next_upstream` without `non_idempotent`), so that each of them is
//! a request that failed. Therefore no handshake begins any more when the listener is about to stop;
//! those that have begun end, and are accepted; and only then is it closed.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::listener::{ClientStream, Listener};

/// How long weir waits before it accepts again after the system had no descriptors or no memory.
const PAUSE: Duration = Duration::from_millis(200);
/// Most connections that are accepted after the time of the listener is over, where handshakes cannot
/// be kept from beginning: as many as wait in a backlog.
const LATE: usize = 1024;

/// A connection, and the address at its other end if it has one.
type Accepted = (ClientStream, Option<IpAddr>);

/// A listener that accepts until it has to stop.
pub(super) struct Accepting<'s> {
    listener: Listener,
    shutdown: &'s CancellationToken,
    /// How long handshakes that have begun may take once it stops.
    handshakes: Duration,
    /// When it is closed, once it stops.
    until: Option<Instant>,
    /// How many it may accept after that.
    late: usize,
}

impl<'s> Accepting<'s> {
    pub(super) fn new(
        listener: Listener,
        shutdown: &'s CancellationToken,
        handshakes: Duration,
    ) -> Self {
        Self {
            listener,
            shutdown,
            handshakes,
            until: None,
            late: LATE,
        }
    }

    /// Returns the next connection, or `None` when the listener is to be closed.
    pub(super) async fn next(&mut self) -> Option<Accepted> {
        loop {
            let error = match self.accept().await? {
                Ok(connection) => return Some(connection),
                Err(error) => error,
            };
            // The client gave up before the connection was accepted.
            let gone = [
                io::ErrorKind::ConnectionAborted,
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::Interrupted,
            ];
            if !gone.contains(&error.kind()) {
                tracing::warn!(%error, "no connection can be accepted");
                self.pause().await;
            }
        }
    }

    async fn accept(&mut self) -> Option<io::Result<Accepted>> {
        let until = match self.until {
            Some(until) => until,
            None => {
                let accepted = self.listener.accept();
                let accepted = self.shutdown.run_until_cancelled(accepted).await;
                if accepted.is_some() {
                    return accepted;
                }
                self.listener.end_handshakes();
                *self.until.insert(Instant::now() + self.handshakes)
            }
        };
        if until <= Instant::now() {
            self.late = self.late.checked_sub(1)?;
        }
        // Takes what waits, though its time is over.
        timeout_at(until, self.listener.accept()).await.ok()
    }

    async fn pause(&self) {
        match self.until {
            None => {
                self.shutdown.run_until_cancelled(sleep(PAUSE)).await;
            }
            Some(_) => sleep(PAUSE).await,
        }
    }
}
