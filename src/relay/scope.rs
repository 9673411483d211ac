//! The scope of a request: everything it is decided by.

use std::sync::Arc;

use http::HeaderMap;

use crate::caller::Caller;
use crate::live::{Live, Snapshot, View};
use crate::name::UpstreamIndex;
use crate::policy::Permit;
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::trace::Trace;
use crate::session::CallerSession;
use crate::upstream::Link;

/// Everything that one request is decided by: one snapshot, loaded once, and what is known of the sender.
#[derive(Debug)]
pub struct Scope<'a> {
    pub(super) snapshot: Arc<Snapshot>,
    /// Where the one request that an upstream wants with other headers finds the next snapshot.
    pub(super) live: &'a Arc<Live>,
    pub(super) caller: Caller,
    pub(super) version: Version,
    pub(super) trace: &'a Trace,
    /// The HTTP headers of a modern request, to be checked against its body.
    pub(super) headers: Option<&'a HeaderMap>,
    /// The session of a legacy request.
    pub(super) session: Option<&'a Arc<CallerSession>>,
    /// Whether the caller takes other messages before the response, so that it can be asked something.
    pub(super) streams: bool,
}

impl<'a> Scope<'a> {
    /// Opens the scope of a request in this protocol version: it is decided by the snapshot of this moment.
    #[must_use]
    pub fn new(live: &'a Arc<Live>, caller: Caller, version: Version, trace: &'a Trace) -> Self {
        Self {
            snapshot: live.load_full(),
            live,
            caller,
            version,
            trace,
            headers: None,
            session: None,
            streams: false,
        }
    }

    /// The same with the HTTP headers that a modern request came with.
    #[must_use]
    pub fn with_headers(self, headers: &'a HeaderMap) -> Self {
        Self {
            headers: Some(headers),
            ..self
        }
    }

    /// The same in a legacy session.
    #[must_use]
    pub fn in_session(self, session: &'a Arc<CallerSession>) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }

    /// The same for a caller that takes other messages before the response, if `streams`.
    #[must_use]
    pub fn streaming(self, streams: bool) -> Self {
        Self { streams, ..self }
    }

    /// Returns the caller's era.
    #[must_use]
    pub fn era(&self) -> Era {
        self.version.era()
    }

    /// Returns what the caller sees.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        self.snapshot.view(&self.caller)
    }

    /// Permits a request of this scope to an upstream.
    ///
    /// # Errors
    /// The caller may not do that. While there is no policy, every caller may.
    pub(super) fn permit(&self, upstream: UpstreamIndex) -> Result<Permit, Fault> {
        Ok(Permit::open(
            &self.caller,
            upstream,
            self.snapshot.generation,
        ))
    }

    /// Returns the link that a permit is for.
    ///
    /// # Errors
    /// Weir stops.
    pub(super) fn link(&self, permit: &Permit) -> Result<&Arc<Link>, Fault> {
        self.snapshot.link(permit).ok_or(Fault::ShuttingDown)
    }
}
