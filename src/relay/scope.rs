//! The scope of a request: all that decides how it is answered, besides the request itself.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use tokio::time::Instant;

use crate::caller::{Caller, CallerConnection, Handle, Presence, ShareKey, Turn};
use crate::catalog::{NamedResources, ResourceRoute, Route};
use crate::guard::RequestGuard;
use crate::live::{Live, Snapshot, View};
use crate::memory::MemoryShare;
use crate::name::UpstreamIndex;
use crate::policy::{Permit, PolicyRequest};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::trace::Trace;
use crate::record::Record;
use crate::relay::named::NamedRoute;
use crate::session::{CallerSession, Crossings};
use crate::upstream::Link;
use crate::upstream::gate::Claim;

/// The scope of one request: one snapshot, loaded once, and what is known of the caller.
#[derive(Debug)]
pub struct Scope<'a> {
    pub(super) snapshot: Arc<Snapshot>,
    /// Only for a retry after an upstream has changed a tool's definition: the new definition is in
    /// a newer snapshot. All else is decided by `snapshot`.
    pub(super) live: &'a Arc<Live>,
    pub(super) caller: Caller,
    pub(super) version: Version,
    pub(super) trace: &'a Trace,
    /// The HTTP headers of the request: those of a modern one are checked against its body, and hooks
    /// see those that the config lists.
    pub(super) headers: Option<&'a HeaderMap>,
    /// The session of a legacy request.
    pub(super) session: Option<&'a Arc<CallerSession>>,
    /// The connection of the request; `None` for a command of this process.
    pub(super) connection: Option<&'a Arc<CallerConnection>>,
    /// Whether the caller is still there; `None` where a request ends with its caller.
    pub(super) presence: Option<&'a Presence>,
    /// Whether the caller accepts other messages before the response. Without them an upstream
    /// cannot send it notifications or requests.
    pub(super) streams: bool,
    /// The calls of modern callers that may be asked something; `None` where a caller cannot come back.
    pub(super) crossings: Option<&'a Arc<Crossings>>,
}

impl<'a> Scope<'a> {
    /// Opens the scope of a request in this protocol version, with the current snapshot.
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
            connection: None,
            presence: None,
            streams: false,
            crossings: None,
        }
    }

    /// Adds the HTTP headers of the request, if it has some that may matter.
    #[must_use]
    pub fn with_headers(self, headers: Option<&'a HeaderMap>) -> Self {
        Self { headers, ..self }
    }

    /// Adds the calls that may wait for their callers, for a modern caller that can come back.
    #[must_use]
    pub fn with_crossings(self, crossings: Option<&'a Arc<Crossings>>) -> Self {
        Self { crossings, ..self }
    }

    /// Adds the session of a legacy request.
    #[must_use]
    pub fn in_session(self, session: &'a Arc<CallerSession>) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }

    /// Adds the connection of the request.
    #[must_use]
    pub fn over(self, connection: &'a Arc<CallerConnection>) -> Self {
        Self {
            connection: Some(connection),
            ..self
        }
    }

    /// Returns the share that pays for what is kept for this request: that of its connection, or of
    /// the upstream for a command of this process.
    pub(super) fn memory(&self, link: &Link) -> MemoryShare {
        let own = self.connection.map(|connection| &connection.memory);
        own.unwrap_or(&link.memory).clone()
    }

    /// Adds the presence of the caller, for a request that may go on without it.
    #[must_use]
    pub fn awaited_by(self, presence: Option<&'a Presence>) -> Self {
        Self { presence, ..self }
    }

    /// Returns the key of the caller's share.
    pub(super) fn share(&self) -> ShareKey {
        let address = self.connection.and_then(|connection| connection.address);
        ShareKey::of_caller(&self.caller, address)
    }

    /// Returns the claim of this request to a slot among the calls in flight at its upstream.
    pub(super) fn claim(&self) -> Claim<'_> {
        let session = self.session.map(|session| session.number());
        Claim {
            turn: Turn {
                share: self.share(),
                session: session.unwrap_or_default(),
            },
            presence: self.presence,
        }
    }

    /// Notes that something may be sent now, so that the request goes on without its caller.
    pub(super) fn begin(&self) {
        if let Some(presence) = self.presence {
            presence.begin();
        }
    }

    /// Sets whether the caller accepts other messages before the response.
    #[must_use]
    pub fn streaming(self, streams: bool) -> Self {
        Self { streams, ..self }
    }

    /// Returns the caller's era.
    #[must_use]
    pub fn era(&self) -> Era {
        self.version.era()
    }

    /// Returns the caller.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns what the caller sees.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        self.snapshot.view(&self.caller)
    }

    /// Returns the upstream's resource with this exposed URI: one that is listed, or that a result
    /// named to this caller.
    #[must_use]
    pub(super) fn resource(&self, uri: &str) -> Option<ResourceRoute> {
        let named = || self.named_resources().find(uri, Instant::now());
        self.view().resource(uri, self.era(), named)
    }

    /// Returns the upstream that the id of a task names, and the id that the upstream knows; `None` for
    /// an id that was not given to this principal.
    pub(super) fn task<'i>(&self, exposed: &'i str) -> Option<(UpstreamIndex, &'i str)> {
        let (upstream, bound) = self.view().task(exposed, self.era())?;
        let name = self.view().upstream_id(upstream)?.as_str();
        let id = self.caller.unbind(Handle::Task, name, bound)?;
        Some((upstream, id))
    }

    /// Returns the resources that results named to this caller: in its session, if it has one.
    pub(super) fn named_resources(&self) -> Arc<NamedResources> {
        match self.session {
            Some(session) => Arc::clone(session.named_resources()),
            None => self.live.named_resources(&self.caller),
        }
    }

    /// Returns whether there is a policy, for which the name that was asked for has to be kept.
    pub(super) fn has_policy(&self) -> bool {
        self.snapshot.policies.is_some()
    }

    /// Returns the rules for the data of a request to an upstream, and of its answer; `None` if all of
    /// it passes. `tool` is the tool that is called.
    pub(super) fn guard_of(
        &self,
        upstream: UpstreamIndex,
        tool: Option<&Route>,
    ) -> Option<RequestGuard> {
        let guard = self.snapshot.guard.as_ref()?;
        let upstream = self.view().upstream_id(upstream)?;
        let tool = tool.map(|tool| &**tool.original());
        RequestGuard::of(guard, upstream, tool, &self.caller)
    }

    /// Permits a request that names no tool, prompt or resource: what it is about was permitted
    /// before.
    ///
    /// # Errors
    /// There are none yet.
    pub(super) fn permit(&self, upstream: UpstreamIndex) -> Result<Permit, Fault> {
        Ok(Permit::open(
            &self.caller,
            upstream,
            self.snapshot.generation,
        ))
    }

    /// Decides whether the caller may use a tool, prompt or resource with these arguments.
    ///
    /// # Errors
    /// Policy denies it: the error is that of a name that does not exist.
    pub(super) fn permit_named(
        &self,
        upstream: UpstreamIndex,
        named: &NamedRoute,
        arguments: Option<&str>,
        record: Option<&mut Record>,
    ) -> Result<Permit, Fault> {
        let Some(policies) = &self.snapshot.policies else {
            return self.permit(upstream);
        };
        let decision = policies.decide(
            &self.caller,
            &PolicyRequest {
                kind: named.kind,
                upstream,
                original: &named.original,
                exposed: &named.exposed,
                era: self.era(),
                arguments,
                now: SystemTime::now(),
            },
        );
        let permit = Permit::decided(&decision, upstream, self.snapshot.generation);
        if let Some(record) = record {
            record.set_decision(decision);
        }
        permit.ok_or_else(|| named.unknown())
    }

    /// Decides whether the caller may read a resource.
    ///
    /// # Errors
    /// Policy denies it: the error is that of a URI that does not exist.
    pub(super) fn permit_resource(
        &self,
        route: &ResourceRoute,
        exposed: &str,
        record: Option<&mut Record>,
    ) -> Result<Permit, Fault> {
        if !self.has_policy() {
            return self.permit(route.upstream_index);
        }
        let named = NamedRoute::resource(route, exposed);
        self.permit_named(route.upstream_index, &named, None, record)
    }

    /// Returns the link to the upstream that a permit is for.
    ///
    /// # Errors
    /// The permit is not of this scope's snapshot, which would be a mistake in weir.
    pub(super) fn link(&self, permit: &Permit) -> Result<&Arc<Link>, Fault> {
        self.snapshot.link(permit).ok_or(Fault::Internal)
    }
}
