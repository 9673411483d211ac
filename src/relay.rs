//! The pipeline: a request of a caller becomes a request of an upstream, and its answer comes back.
//!
//! One straight function per method family. Routes are looked up, one member is edited, everything
//! else keeps its bytes.

mod asked;
mod call;
pub mod caller;
mod crossing;
mod hops;
mod list;
mod logs;
mod outbound;
mod own;
mod platform;
mod reply;
mod session;
pub mod tasks;

use std::sync::Arc;

use http::HeaderMap;

use crate::catalog::Kind;
use crate::live::{Live, Snapshot};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;
use crate::protocol::trace::Trace;

pub use caller::{Call, Caller, Listening};
pub use list::list;
pub use reply::{Outgoing, Payload, Reply};

/// What one request is decided by: loaded once, never twice.
pub struct Scope<'a> {
    /// The snapshot of the moment the request came in.
    pub snapshot: Arc<Snapshot>,
    /// Where the one request that an upstream wants with other headers finds the next snapshot.
    pub live: &'a Live,
    /// The caller's protocol version.
    pub version: Version,
    /// The HTTP headers of a modern request, to be checked against what its body turns out to mean.
    pub headers: Option<&'a HeaderMap>,
    /// Whose session the request is in; modern requests are in none.
    pub caller: Option<&'a Arc<Caller>>,
    /// Whether the caller takes more than the one response, so that it can be asked something meanwhile.
    pub streams: bool,
    /// Whom the request belongs to; the upstream is told.
    pub trace: Trace,
}

impl Scope<'_> {
    /// The caller's era.
    #[must_use]
    pub fn era(&self) -> Era {
        self.version.era()
    }
}

/// Answers a request that is not about the connection itself.
///
/// # Errors
/// The fault to answer with: no such method or route, bad params, an upstream that cannot be reached, a chain
/// that loops.
pub async fn answer(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    hops::admit(scope, request)?;
    let answered = match request.method.as_ref() {
        method::TOOLS_CALL => call::tool(scope, request).await,
        method::PROMPTS_GET => call::prompt(scope, request).await,
        method::RESOURCES_READ => call::resource(scope, request).await,
        method::COMPLETE => call::completion(scope, request).await,
        method::SET_LEVEL => session::set_level(scope, request).await,
        method::SUBSCRIBE => session::subscribe(scope, request).await,
        method::UNSUBSCRIBE => session::unsubscribe(scope, request).await,
        method::TASKS_LIST => tasks::list(scope, request).await,
        method::TASKS_GET => tasks::task(scope, request, method::TASKS_GET).await,
        method::TASKS_UPDATE => tasks::task(scope, request, method::TASKS_UPDATE).await,
        method::TASKS_CANCEL => tasks::task(scope, request, method::TASKS_CANCEL).await,
        method::TASKS_RESULT => tasks::task(scope, request, method::TASKS_RESULT).await,
        listing => match Kind::of_method(listing) {
            Some(kind) => list(scope, kind, request),
            None => Err(Fault::Method(listing.chars().take(100).collect())),
        },
    };
    answered.inspect_err(|fault| scope.snapshot.metrics.refused(fault))
}
