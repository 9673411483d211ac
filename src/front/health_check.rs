//! The health check of a platform in front: a `ping` of JSON-RPC, without a session and without a
//! credential, whose `params` may be `null`. Amazon Bedrock AgentCore Runtime sends one every few
//! seconds, and takes a container that does not answer for dead.

use axum::body::Body;
use bytes::Bytes;

use crate::authentication::RefusalKind;
use crate::caller::CallerConnection;
use crate::front::admission::NotAdmitted;
use crate::front::intake;
use crate::front::state::Front;
use crate::json::Object;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id};
use crate::protocol::method;

/// The largest body of a health check.
const MOST_BYTES: usize = 1024;

/// Returns the answer to a health check; `None` if the body is none, or no platform is in front.
pub(super) fn answer(front: &Front, body: &[u8]) -> Option<Bytes> {
    if front.platform.is_none() || body.len() > MOST_BYTES {
        return None;
    }
    let request = Object::parse(std::str::from_utf8(body).ok()?).ok()?;
    let is_ping = request.string("method").as_deref() == Some(method::PING)
        && request.string("jsonrpc").as_deref() == Some("2.0");
    let id = Id::parse(request.get("id")?)?;
    is_ping.then(|| message::result(&id, "{}"))
}

/// Reads the body of a request without a credential, and returns the answer to it if it is a health
/// check.
pub(super) async fn answer_without_credential(
    front: &Front,
    refused: &NotAdmitted,
    body: &mut Body,
    connection: &CallerConnection,
) -> Option<Bytes> {
    let missing = Fault::Unauthenticated(RefusalKind::MissingCredential.description());
    if front.platform.is_none() || refused.fault != missing {
        return None;
    }
    let few = front.intake.at_most(MOST_BYTES);
    let (body, _kept) = intake::read(body, few, &connection.memory).await.ok()?;
    answer(front, &body)
}
