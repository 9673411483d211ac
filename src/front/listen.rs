//! The HTTP answer to `subscriptions/listen`: a stream for as long as the caller keeps it open.

use std::sync::Arc;

use axum::response::Response;

use crate::front::answer::Recipient;
use crate::front::changes::ListenEnd;
use crate::front::state::Front;
use crate::front::{answer, changes};
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::sse;
use crate::record::Record;
use crate::relay::{self, Scope};

/// Answers a `subscriptions/listen`.
///
/// # Errors
/// The params are wrong. It is recorded already.
pub(super) async fn listen(
    front: &Arc<Front>,
    to: &Recipient,
    scope: &Scope<'_>,
    request: &Request<'_>,
    mut record: Record,
) -> Result<Response, Fault> {
    let end = front.shutdown.child_token();
    let listened = match record.check_recordable() {
        Ok(()) => relay::listen(scope, request, end).await,
        Err(fault) => Err(fault),
    };
    let (listening, changes) = listened.inspect_err(|fault| record.fail(fault))?;
    let counted = front.metrics.listen_streams.hold();
    let first = sse::event(&listening.acknowledged());
    // In a box: the streams of sessions have none, and no room for one.
    let ending = Box::new(ListenEnd {
        last: sse::event(&listening.ended()),
        record,
    });
    let render = move |method: &'static str, params: Option<&str>| {
        sse::event(&listening.changed(method, params))
    };
    let body = changes::body(
        first,
        front.keep_alive,
        changes,
        render,
        Some(ending),
        (front.standing(&to.admission), counted),
    );
    Ok(answer::changes(body))
}
