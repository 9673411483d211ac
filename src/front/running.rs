//! A request being answered.

use std::sync::Arc;

use crate::front::state::Front;
use crate::protocol::error::Fault;
use crate::relay::{Outgoing, Reply};
use crate::session::RunningCall;

/// A call being answered. Dropped before its end, it is cancelled upstream.
pub(super) struct Running {
    reply: Option<Reply>,
    front: Arc<Front>,
    /// Legacy: where `notifications/cancelled` finds this call.
    call: Option<RunningCall>,
}

impl Running {
    pub(super) fn modern(reply: Reply, front: Arc<Front>) -> Self {
        Self {
            reply: Some(reply),
            front,
            call: None,
        }
    }

    pub(super) fn legacy(reply: Reply, call: RunningCall, front: Arc<Front>) -> Self {
        Self {
            reply: Some(reply),
            front,
            call: Some(call),
        }
    }

    /// Ends the reply because weir waits no longer, and returns the last message, if there was none.
    fn give_up(&mut self) -> Option<Outgoing> {
        self.reply.take()?.abandon(&Fault::ShuttingDown)
    }

    /// Returns the next message, or the last one where weir stops and waits no longer.
    pub(super) async fn next_in_time(&mut self) -> Option<Outgoing> {
        let front = Arc::clone(&self.front);
        tokio::select! {
            biased;
            outgoing = self.next() => outgoing,
            () = front.given_up.cancelled() => self.give_up(),
        }
    }

    /// Returns the next message; `None` at the end, or when the caller cancelled its request.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        let reply = self.reply.as_mut()?;
        let outgoing = match &self.call {
            None => reply.next().await,
            Some(call) => tokio::select! {
                biased;
                outgoing = reply.next() => outgoing,
                () = call.token.cancelled() => None,
            },
        };
        if outgoing.is_none() {
            // Dropping an unfinished reply is what cancels it upstream.
            self.reply = None;
        }
        outgoing
    }
}
