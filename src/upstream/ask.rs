//! Requests of weir's own, whose answers only weir reads.

use http::HeaderMap;
use tokio::time::Instant;

use crate::protocol::era::Era;
use crate::protocol::headers;
use crate::protocol::message::{Message, Outcome};
use crate::telemetry::Span;
use crate::upstream::error::LinkError;
use crate::upstream::link::Link;
use crate::upstream::peer::Peer;
use crate::upstream::request::OutboundRequest;
use crate::upstream::spans;

/// A JSON-RPC answer: `result` or `error` as JSON text.
pub type Answer = Result<String, String>;

/// Sends a request to a peer and waits for the response. Notifications before it are skipped.
/// Everything that weir asks by itself may be asked twice, so it is sent again if its connection
/// was closed before an answer began.
///
/// # Errors
/// No usable answer came by `deadline`.
pub async fn ask(
    link: &Link,
    peer: &Peer,
    method: &'static str,
    params: String,
    deadline: Instant,
) -> Result<Answer, LinkError> {
    ask_within(link, peer, (method, params), deadline, None).await
}

/// Does the same within a span, which the peer is told of in a header.
///
/// # Errors
/// No usable answer came by `deadline`.
pub(super) async fn ask_within(
    link: &Link,
    peer: &Peer,
    (method, params): (&'static str, String),
    deadline: Instant,
    span: Option<&Span>,
) -> Result<Answer, LinkError> {
    let mut mirrored = HeaderMap::new();
    if peer.era() == Era::Modern {
        headers::write_method(&mut mirrored, method);
    }
    if let Some(span) = span {
        spans::write_header(span, &mut mirrored);
    }
    let outbound = || OutboundRequest {
        id: link.next_id(),
        method,
        params: params.clone(),
        headers: mirrored.clone(),
        memory: link.memory.clone(),
    };
    let mut sent = link.send(peer, outbound(), deadline).await;
    if sent
        .as_ref()
        .is_err_and(|error| error.is_unanswered() || matches!(error, LinkError::NotRun(_)))
    {
        sent = Box::pin(link.send(peer, outbound(), deadline)).await;
    }
    let mut exchange = sent?.with_deadline(deadline);
    while let Some(message) = exchange.next().await? {
        let text = std::str::from_utf8(&message).map_err(|_| LinkError::Nonsense("not UTF-8"))?;
        let message = Message::parse(text).map_err(|error| LinkError::no_message(&error))?;
        if let Message::Response(response) = message {
            return Ok(match response.outcome {
                Outcome::Result(result) => Ok(result.to_owned()),
                Outcome::Error(error) => Err(error.to_owned()),
            });
        }
    }
    Err(LinkError::Nonsense("ended without an answer"))
}
