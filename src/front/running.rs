//! A request being answered.

use crate::caller::Presence;
use crate::front::drain::GivenUp;
use crate::protocol::error::Fault;
use crate::relay::{Outgoing, Reply};
use crate::session::RunningCall;

/// A call being answered. Dropped before its end, it is cancelled upstream.
pub(super) struct Running {
    reply: Option<Reply>,
    given_up: GivenUp,
    /// Legacy: where `notifications/cancelled` finds this call.
    call: Option<RunningCall>,
    /// Legacy over HTTP: whether the caller is still there.
    presence: Option<Presence>,
}

impl Running {
    pub(super) fn modern(reply: Reply, given_up: &GivenUp) -> Self {
        Self {
            reply: Some(reply),
            given_up: given_up.clone(),
            call: None,
            presence: None,
        }
    }

    pub(super) fn legacy(
        reply: Reply,
        call: RunningCall,
        presence: Option<Presence>,
        given_up: &GivenUp,
    ) -> Self {
        Self {
            reply: Some(reply),
            given_up: given_up.clone(),
            call: Some(call),
            presence,
        }
    }

    /// Ends the reply with an error response, if there was no response yet. Returns its next message,
    /// and the others come as all messages do.
    pub(super) fn end(&mut self, fault: &Fault) -> Option<Outgoing> {
        self.reply.as_mut()?.abandon(fault)
    }

    /// Returns the presence of the caller, if the call may go on without it.
    pub(super) fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }

    /// Returns the next message. Once weir stops and waits no longer, the reply ends with it; or once
    /// others wait for the place of a call whose caller is gone.
    pub(super) async fn next_in_time(&mut self) -> Option<Outgoing> {
        let (given_up, presence) = (self.given_up.clone(), self.presence.clone());
        let gives_way = async {
            match &presence {
                Some(presence) => presence.given_up().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outgoing = self.next() => outgoing,
            () = given_up.cancelled() => self.end(&Fault::ShuttingDown),
            () = gives_way => self.reply.as_mut()?.give_way(),
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
                () = call.token.cancelled() => {
                    // It is cancelled upstream, and what its caller was asked is taken back.
                    reply.cancel();
                    reply.next().await
                }
            },
        };
        if outgoing.is_none() {
            self.reply = None;
        }
        outgoing
    }
}
