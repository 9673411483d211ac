//! The path of a request: from a caller to an upstream, and of its answer back.
//!
//! Each step takes the value that the step before it returns, so none can be left out:
//!
//! 1. [`Scope`]: the snapshot and the caller that the request is decided by.
//! 2. `Target`: the upstream that owns the named tool, prompt, resource or task, found in the
//!    caller's view, with the name that the upstream knows (`call`, `tasks`).
//! 3. `Permit`: the caller may send this request, with these arguments, to that upstream
//!    (`Scope::permit`, `Scope::permit_named`).
//! 4. `Guarded`: the data of the request passed the checks, and it is permitted (`guard`).
//! 5. `Sent`: the request went to the upstream, which began to answer (`send`).
//! 6. [`Reply`]: the messages for the caller, one after the other (`back`).
//!
//! Lists need no upstream and skip steps 2 to 5. Requests that weir sends with params of its own
//! (`settings`, `tasks/list`) need a permit too. Nothing is sent to an upstream but by `send`, and
//! every message for the caller leaves through `back`. Weir changes names, `_meta`, and arguments
//! that the operator has rules for; all other JSON keeps its bytes.

mod back;
mod call;
mod capabilities;
mod forward;
mod guard;
mod hooks;
mod hops;
mod limited;
mod list;
mod listen;
mod named;
mod payload;
mod platform;
mod retry;
mod scope;
mod send;
mod settings;
mod tasks;
mod validation;

use crate::catalog::Kind;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::record::Record;

pub use back::{ChangeEvent, Changes, ListKinds, Outgoing, Pause, Reply};
pub use capabilities::{capabilities, instructions};
pub use listen::{Listening, listen};
pub use payload::Payload;
pub use retry::MAY_ASK;
pub use scope::Scope;
pub use send::{answer as answer_upstream, progress, roots_changed};

use back::ReplySource;

/// Answers any request but `initialize`, `ping`, `server/discover` and `subscriptions/listen`. The
/// reply writes the record when it ends.
///
/// # Errors
/// The fault to answer with: no such method or route, bad params, an upstream that cannot be
/// reached, a chain of weirs that loops. It is recorded already.
pub async fn answer(
    scope: &Scope<'_>,
    request: &Request<'_>,
    mut record: Record,
) -> Result<Reply, Fault> {
    record.set_scope(scope.era(), scope.snapshot.generation);
    record.set_version(scope.version);
    match source(scope, request, &mut record).await {
        Ok(source) => Ok(Reply::new(source, record)),
        Err(fault) => {
            record.fail(&fault);
            Err(fault)
        }
    }
}

async fn source(
    scope: &Scope<'_>,
    request: &Request<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    hops::admit(scope, request)?;
    if let Some(target) = forward::find_target(scope, request, record)? {
        return forward::forward(scope, request, target, record).await;
    }
    let own = request.method.as_ref();
    if Kind::of_method(own).is_none() && !is_settled(own) {
        return Err(Fault::Method(own.chars().take(100).collect()));
    }
    answer_own(scope, request, record).await
}

/// Returns whether weir sends requests with this method to upstreams with params of its own.
fn is_settled(method: &str) -> bool {
    [
        method::SET_LEVEL,
        method::SUBSCRIBE,
        method::UNSUBSCRIBE,
        method::TASKS_LIST,
    ]
    .contains(&method)
}

/// Answers a request that goes to no single upstream, within the limits.
async fn answer_own(
    scope: &Scope<'_>,
    request: &Request<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    let lease = match limited::admit(scope, request, None).await {
        Ok(lease) => lease,
        Err(refusal) => return limited::refuse(scope, request, refusal),
    };
    let answer = match Kind::of_method(&request.method) {
        Some(kind) => list::list(scope, kind, request)?,
        None => {
            record.admit().await?;
            scope.begin();
            Box::pin(settle(scope, request, record)).await?
        }
    };
    limited::charge(lease.as_ref(), &answer);
    Ok(answer)
}

/// Answers a request that weir sends to upstreams with params of its own.
async fn settle(
    scope: &Scope<'_>,
    request: &Request<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    match request.method.as_ref() {
        method::SET_LEVEL => settings::set_level(scope, request).await,
        method::SUBSCRIBE => settings::subscribe(scope, request, record).await,
        method::UNSUBSCRIBE => settings::unsubscribe(scope, request).await,
        _ => tasks::list(scope, request).await,
    }
}
