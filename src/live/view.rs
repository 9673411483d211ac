//! Views: the part of a snapshot that one class of callers sees. All that a caller gets listed or
//! can name is looked up in its view.

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::task_ids;
use crate::caller::Caller;
use crate::catalog::instructions;
use crate::catalog::{Digest, Kind, Pages, ResourceRoute, Route};
use crate::live::Snapshot;
use crate::name::{UpstreamId, UpstreamIndex};
use crate::policy::{Decision, PolicyRequest};
use crate::protocol::era::Era;
use crate::upstream::Peer;

/// The part of a snapshot that a caller sees. It borrows what the snapshot has rendered, so making
/// one costs nothing.
///
/// Pages are not cut to it yet.
#[derive(Clone, Copy, Debug)]
pub struct View<'s> {
    snapshot: &'s Snapshot,
    caller: &'s Caller,
}

impl Snapshot {
    /// Returns what a caller sees of the snapshot.
    #[must_use]
    pub fn view<'s>(&'s self, caller: &'s Caller) -> View<'s> {
        View {
            snapshot: self,
            caller,
        }
    }
}

impl<'s> View<'s> {
    /// Returns whether the caller may see a route: whether it may ever call it.
    fn sees(self, kind: Kind, route: &Route, era: Era) -> bool {
        let policies = self.snapshot.policies.as_ref();
        policies.is_none_or(|policies| policies.sees(self.caller, kind, route, era))
    }

    /// Returns what policy decides about a name that the caller does not see, for its record.
    #[must_use]
    pub fn denied(self, kind: Kind, name: &str, era: Era) -> Option<Arc<Decision>> {
        let policies = self.snapshot.policies.as_ref()?;
        let route = self.snapshot.catalog.route(kind, name)?;
        let request = PolicyRequest::of_route(kind, &route, era, None);
        Some(policies.decide(self.caller, &request))
    }

    /// Returns the number of the snapshot.
    #[must_use]
    pub fn generation(self) -> u64 {
        self.snapshot.generation
    }

    /// Returns `Implementation` of weir, as JSON text.
    #[must_use]
    pub fn server_info(self) -> &'s str {
        &self.snapshot.config.server.info
    }

    /// Returns the instructions for models, as a JSON string; `None` if there are none: those of
    /// weir, then those of the upstreams of which this caller sees something.
    #[must_use]
    pub fn instructions(self) -> Option<String> {
        let upstreams = self.snapshot.catalog.instructions();
        let own = match &self.snapshot.config.server.instructions {
            Some(own) => own,
            None if upstreams.is_empty() => "",
            None => instructions::INTRODUCTION,
        };
        let upstreams = match own {
            // They begin with an empty line.
            "" => upstreams.trim_start_matches("\\n"),
            _ => upstreams,
        };
        let has_some = !(own.is_empty() && upstreams.is_empty());
        has_some.then(|| format!("\"{own}{upstreams}\""))
    }

    /// Returns how long callers may keep a list.
    #[must_use]
    pub fn ttl(self) -> Duration {
        self.snapshot.ttl
    }

    /// Returns the tool with this exposed name, if callers of this era see it.
    #[must_use]
    pub fn tool(self, name: &str, era: Era) -> Option<Route> {
        let found = self.snapshot.catalog.tool(name);
        found.filter(|route| route.is_listed(era) && self.sees(Kind::Tools, route, era))
    }

    /// Returns the upstream that an exposed name would belong to by its namespace, if nothing of it
    /// is listed because it does not answer; and why, in public words.
    #[must_use]
    pub fn unlisted(self, name: &str) -> Option<(&'s UpstreamId, &'static str)> {
        let Snapshot {
            config, catalog, ..
        } = self.snapshot;
        let mut links = self.snapshot.links().iter();
        links.find_map(|link| {
            let namespace = &link.config.namespace;
            let begins = !namespace.as_str().is_empty()
                && name.starts_with(&config.naming.join(namespace, ""));
            let is_listed = || catalog.parts().any(|part| part.upstream == *link.id());
            let reason = link.health.down_reason()?;
            (begins && !is_listed()).then(|| (link.id(), reason))
        })
    }

    /// Returns the prompt with this exposed name, if callers of this era see it.
    #[must_use]
    pub fn prompt(self, name: &str, era: Era) -> Option<Route> {
        let found = self.snapshot.catalog.prompt(name);
        found.filter(|route| self.sees(Kind::Prompts, route, era))
    }

    /// Returns the upstream's resource with this exposed URI. `named` is the upstream that named it
    /// in a result.
    #[must_use]
    pub fn resource(
        self,
        uri: &str,
        named: impl FnOnce() -> Option<UpstreamId>,
    ) -> Option<ResourceRoute> {
        self.snapshot.catalog.resource_named(uri, named)
    }

    /// Returns whether a URI that only results name leads to this upstream by itself.
    #[must_use]
    pub fn is_only_one_with_resources(self, upstream: UpstreamIndex) -> bool {
        self.snapshot.catalog.is_only_one_with_resources(upstream)
    }

    /// Returns the resource template with this exposed text, if callers of this era see it.
    #[must_use]
    pub fn template(self, uri: &str, era: Era) -> Option<Route> {
        let found = self.snapshot.catalog.template(uri);
        found.filter(|route| self.sees(Kind::Templates, route, era))
    }

    /// Returns the upstream that the id of a task names, and the id that the upstream knows.
    #[must_use]
    pub fn task(self, exposed: &str) -> Option<(UpstreamIndex, &str)> {
        let (name, original) = task_ids::split(exposed)?;
        let mut links = self.snapshot.links().iter();
        let index = links.position(|link| *link.id().as_str() == *name)?;
        Some((UpstreamIndex::new(index), original))
    }

    /// Returns the name of an upstream.
    #[must_use]
    pub fn upstream_id(self, upstream: UpstreamIndex) -> Option<&'s UpstreamId> {
        Some(self.snapshot.links().get(upstream.get())?.id())
    }

    /// Returns the upstreams, in the order of the config.
    pub fn upstreams(self) -> impl Iterator<Item = UpstreamIndex> + use<> {
        (0..self.snapshot.links().len()).map(UpstreamIndex::new)
    }

    /// Returns the rendered lists of this generation, if they are still kept.
    #[must_use]
    pub fn pages_of(self, generation: u64) -> Option<&'s Pages> {
        self.snapshot.pages_of(generation)
    }

    /// Returns a digest of each kind of list, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn digests(self) -> [Digest; 4] {
        Kind::ALL.map(|kind| self.snapshot.catalog.digest_of(kind))
    }

    /// Returns the server of an upstream, if it is connected now. It is for looking up
    /// capabilities, not for sending.
    #[must_use]
    pub fn peer(self, upstream: UpstreamIndex) -> Option<Arc<Peer>> {
        self.snapshot.links().get(upstream.get())?.current_peer()
    }

    /// Returns the upstreams' servers of this era that are connected now. They are for looking up
    /// capabilities, not for sending.
    #[must_use]
    pub fn peers(self, era: Era) -> Vec<Arc<Peer>> {
        let peers = self.snapshot.links().iter();
        let peers = peers.filter_map(|link| link.current_peer());
        peers.filter(|peer| peer.era() == era).collect()
    }
}
