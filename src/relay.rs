//! The pipeline: a request of a caller becomes a request of an upstream, and its answer comes back.
//!
//! The types are the order of the steps. A route of the caller's view leads to a `Permit`, the permit and the request's data to
//! what is `Guarded`, that to what was `Sent`, and that to a [`Reply`]. Nothing reaches an upstream but through `send`, and no bytes
//! leave for a caller but through `back`. One member is edited; everything else keeps its bytes.

mod back;
mod call;
mod capabilities;
mod guard;
mod hops;
mod list;
mod listen;
mod platform;
mod scope;
mod send;
mod settings;
mod tasks;

use crate::catalog::Kind;
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::record::Record;

pub use back::{ChangeEvent, Changes, KEEP_ALIVE, ListKinds, Outgoing, Payload, Reply};
pub use capabilities::capabilities;
pub use listen::{Listening, listen};
pub use scope::Scope;
pub use send::{answer as answer_upstream, progress, roots_changed};

use back::ReplySource;
use call::Target;

/// Answers a request that is not about the connection itself. What becomes of it is noted in its record.
///
/// # Errors
/// The fault to answer with: no such method or route, bad params, an upstream that cannot be reached, a chain
/// that loops. It is recorded already.
pub async fn answer(
    scope: &Scope<'_>,
    request: &Request<'_>,
    mut record: Record,
) -> Result<Reply, Fault> {
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
    let target = match request.method.as_ref() {
        method::TOOLS_CALL => call::tool(scope, request)?,
        method::PROMPTS_GET => call::prompt(scope, request)?,
        method::RESOURCES_READ => call::resource(scope, request)?,
        method::COMPLETE => call::completion(scope, request)?,
        method::TASKS_GET => tasks::target(scope, request, method::TASKS_GET)?,
        method::TASKS_UPDATE => tasks::target(scope, request, method::TASKS_UPDATE)?,
        method::TASKS_CANCEL => tasks::target(scope, request, method::TASKS_CANCEL)?,
        method::TASKS_RESULT => tasks::target(scope, request, method::TASKS_RESULT)?,
        method::SET_LEVEL => return settings::set_level(scope, request).await,
        method::SUBSCRIBE => return settings::subscribe(scope, request).await,
        method::UNSUBSCRIBE => return settings::unsubscribe(scope, request).await,
        method::TASKS_LIST => return tasks::list(scope, request).await,
        listing => {
            return match Kind::of_method(listing) {
                Some(kind) => list::list(scope, kind, request),
                None => Err(Fault::Method(listing.chars().take(100).collect())),
            };
        }
    };
    forward(scope, request, target, record).await
}

/// Sends a request to the upstream that owns what it names.
async fn forward(
    scope: &Scope<'_>,
    request: &Request<'_>,
    target: Target<'_>,
    record: &mut Record,
) -> Result<ReplySource, Fault> {
    let permit = scope.permit(target.upstream)?;
    let guarded = guard::check(scope, permit, target)?;
    let sent = send::send(scope, request, guarded, record).await?;
    Ok(ReplySource::Upstream(Box::new(sent)))
}
