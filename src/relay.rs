//! The pipeline: a request of a caller becomes a request of an upstream, and its answer comes back.
//!
//! One straight function per method family. Routes are looked up, one member is edited, everything
//! else keeps its bytes.

mod call;
mod crossing;
mod hops;
mod list;
mod logs;
mod outbound;
mod reply;

use std::sync::Arc;

use http::HeaderMap;

use crate::catalog::Kind;
use crate::live::Snapshot;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::method;

pub use list::list;
pub use reply::{Outgoing, Payload, Reply};

/// What one request is decided by: loaded once, never twice.
pub struct Scope<'a> {
    /// The snapshot of the moment the request came in.
    pub snapshot: Arc<Snapshot>,
    /// The caller's protocol version.
    pub version: Version,
    /// The HTTP headers of a modern request, to be checked against what its body turns out to mean.
    pub headers: Option<&'a HeaderMap>,
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
    match request.method.as_ref() {
        method::TOOLS_CALL => call::tool(scope, request).await,
        method::PROMPTS_GET => call::prompt(scope, request).await,
        method::RESOURCES_READ => call::resource(scope, request).await,
        method::COMPLETE => call::completion(scope, request).await,
        listing => match Kind::of_method(listing) {
            Some(kind) => list(scope, kind, request),
            None => Err(Fault::Method(listing.chars().take(100).collect())),
        },
    }
}

/// Whether weir knows a method that [`answer`] answers.
#[must_use]
pub fn knows(name: &str) -> bool {
    let calls = [
        method::TOOLS_CALL,
        method::PROMPTS_GET,
        method::RESOURCES_READ,
        method::COMPLETE,
    ];
    calls.contains(&name) || Kind::of_method(name).is_some()
}
