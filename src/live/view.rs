//! Views: the part of a snapshot that one class of callers sees. All that a caller gets listed or
//! can name is looked up in its view.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bridge::task_ids;
use crate::caller::Caller;
use crate::catalog::instructions;
use crate::catalog::{Cursor, CutCatalog, Digest, Kind, Page, ResourceRoute, Route};
use crate::guard::coverage::Shape;
use crate::guard::{Direction, RequestGuard};
use crate::live::Snapshot;
use crate::name::{UpstreamId, UpstreamIndex};
use crate::policy::{ClassView, Decision, Policies, PolicyRequest};
use crate::protocol::era::Era;
use crate::upstream::Peer;

/// The part of a snapshot that a caller sees. It borrows what the snapshot has rendered, so making
/// one costs nothing. Where policies hide something, its lists are those of the caller's class: made
/// once for each class and generation, of slices of the same bytes.
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
    /// Returns the policies and what they let the caller's class see; `None` where nothing is hidden
    /// from anybody.
    fn class_view(self, era: Era) -> Option<(&'s Policies, Arc<ClassView>)> {
        let policies = self.snapshot.policies.as_deref()?;
        Some((policies, policies.view(self.caller, era)?))
    }

    /// Reads the lists of the caller's class; `None` where nothing is hidden from anybody.
    fn read_cut<T>(self, era: Era, read: impl FnOnce(&CutCatalog) -> T) -> Option<T> {
        let (policies, view) = self.class_view(era)?;
        Some(read(policies.lists(&view, &self.snapshot.catalog)))
    }

    /// Returns whether the caller sees anything of an upstream.
    fn sees_upstream(self, upstream: UpstreamIndex, era: Era) -> bool {
        self.read_cut(era, |cut| cut.sees_upstream(upstream))
            .unwrap_or(true)
    }

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

    /// Returns `Implementation` of weir, as JSON text.
    #[must_use]
    pub fn server_info(self) -> &'s str {
        &self.snapshot.config.server.info
    }

    /// Returns the instructions for models, as a JSON string; `None` if there are none: those of
    /// weir, then those of the upstreams of which this caller sees something.
    #[must_use]
    pub fn instructions(self, era: Era) -> Option<String> {
        let cut = self.read_cut(era, |cut| self.introduce(cut.instructions()));
        cut.unwrap_or_else(|| self.introduce(self.snapshot.catalog.instructions()))
    }

    /// Puts weir's own instructions before those of the upstreams.
    fn introduce(self, upstreams: &str) -> Option<String> {
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
            config,
            catalog,
            policies,
            ..
        } = self.snapshot;
        // Whether the caller would see one of its tools is not known.
        if policies.as_ref().is_some_and(|all| all.hides(Kind::Tools)) {
            return None;
        }
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
        era: Era,
        named: impl FnOnce() -> Option<UpstreamId>,
    ) -> Option<ResourceRoute> {
        let catalog = &self.snapshot.catalog;
        match self.class_view(era) {
            None => catalog.resource_named(uri, None, named),
            Some((policies, view)) => {
                let cut = policies.lists(&view, catalog);
                catalog.resource_named(uri, Some(cut), named)
            }
        }
    }

    /// Returns whether the caller may read the resource with this exposed URI, for what is told of it
    /// later. `named` is the upstream that named it in a result.
    #[must_use]
    pub fn may_read(self, uri: &str, era: Era, named: impl FnOnce() -> Option<UpstreamId>) -> bool {
        let policies = self.snapshot.policies.as_ref();
        let Some(policies) = policies.filter(|policies| policies.hides(Kind::Resources)) else {
            return true;
        };
        let route = self.resource(uri, era, named);
        route.is_some_and(|route| {
            let request = PolicyRequest::of_resource(&route, uri, era);
            policies.decide(self.caller, &request).is_allowed()
        })
    }

    /// Returns whether a URI that only results name leads to this upstream by itself.
    #[must_use]
    pub fn is_only_one_with_resources(self, upstream: UpstreamIndex, era: Era) -> bool {
        let catalog = &self.snapshot.catalog;
        let of_class = self.read_cut(era, |cut| {
            catalog.is_only_one_with_resources(upstream, Some(cut))
        });
        of_class.unwrap_or_else(|| catalog.is_only_one_with_resources(upstream, None))
    }

    /// Returns the resource template with this exposed text, if callers of this era see it.
    #[must_use]
    pub fn template(self, uri: &str, era: Era) -> Option<Route> {
        let found = self.snapshot.catalog.template(uri);
        found.filter(|route| self.sees(Kind::Templates, route, era))
    }

    /// Returns the upstream that the id of a task names, and the id that the upstream knows. Of an
    /// upstream of which the caller sees nothing there are no tasks.
    #[must_use]
    pub fn task(self, exposed: &str, era: Era) -> Option<(UpstreamIndex, &str)> {
        let (name, original) = task_ids::split(exposed)?;
        let mut links = self.snapshot.links().iter();
        let index = links.position(|link| *link.id().as_str() == *name)?;
        let index = UpstreamIndex::new(index);
        self.sees_upstream(index, era).then_some((index, original))
    }

    /// Returns the name of an upstream.
    #[must_use]
    pub fn upstream_id(self, upstream: UpstreamIndex) -> Option<&'s UpstreamId> {
        Some(self.snapshot.links().get(upstream.get())?.id())
    }

    /// Returns whether a JSON text of the caller may pass to every upstream as it is, by the rules
    /// for data.
    #[must_use]
    pub fn may_tell_all(self, text: &str) -> bool {
        let Some(guard) = &self.snapshot.guard else {
            return true;
        };
        let ids = guard.upstreams();
        let mut guards = ids.filter_map(|id| RequestGuard::of(guard, id, None, self.caller));
        !guards.any(|guard| guard.finds(Direction::TowardsUpstream, &Shape::Text, text))
    }

    /// Returns the upstreams of which the caller sees something, in the order of the config.
    pub fn upstreams(self, era: Era) -> impl Iterator<Item = UpstreamIndex> + use<'s> {
        let view = self.class_view(era);
        let all = (0..self.snapshot.links().len()).map(UpstreamIndex::new);
        all.filter(move |index| match &view {
            None => true,
            Some((policies, view)) => {
                let lists = policies.lists(view, &self.snapshot.catalog);
                lists.sees_upstream(*index)
            }
        })
    }

    /// Adds the items of a page to `chunks`, commas included: the first page, or the one that a
    /// cursor names. Returns the cursor of the page after it, if there is one; `None` for a cursor
    /// that was not made for this list and class of callers, or whose pages are not kept any more.
    #[must_use]
    pub fn write_page(
        self,
        kind: Kind,
        era: Era,
        cursor: Option<Cursor>,
        chunks: &mut Vec<Bytes>,
    ) -> Option<Option<Cursor>> {
        let at = cursor.map_or(0, |cursor| cursor.page);
        let mut write = |page: &Page, generation, digest| {
            let here = |at| Cursor::new(kind, era, generation, digest, at);
            // The digest tells whether the cursor is for these pages: after a restart, or at
            // another replica, the same generation can be another catalog.
            if cursor.is_some_and(|cursor| cursor != here(at)) {
                return None;
            }
            chunks.extend(page.chunks.iter().cloned());
            Some(page.next.map(here))
        };
        let Some((policies, view)) = self.class_view(era) else {
            let generation = cursor.map_or(self.snapshot.generation, |cursor| cursor.generation);
            let pages = self.snapshot.pages_of(generation)?;
            return write(pages.page(kind, era, at)?, generation, pages.digest());
        };
        let now = policies.lists(&view, &self.snapshot.catalog);
        let lists = match cursor {
            Some(cursor) if cursor.digest != now.digest().prefix() => {
                self.snapshot.earlier_view(&view, cursor.digest)?.lists()?
            }
            Some(_) | None => now,
        };
        // The digest finds the pages. The number of the generation would tell of changes that the
        // caller does not see.
        write(lists.page(kind, at)?, 0, lists.digest())
    }

    /// Returns a digest of each kind of list, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn digests(self, era: Era) -> [Digest; 4] {
        let of_class = self.read_cut(era, CutCatalog::digests);
        of_class.unwrap_or_else(|| Kind::ALL.map(|kind| self.snapshot.catalog.digest_of(kind)))
    }

    /// Returns the server of an upstream, if it is connected now. It is for looking up
    /// capabilities, not for sending.
    #[must_use]
    pub fn peer(self, upstream: UpstreamIndex) -> Option<Arc<Peer>> {
        self.snapshot.links().get(upstream.get())?.current_peer()
    }

    /// Returns the servers of this era that are connected now, of upstreams of which the caller sees
    /// something. They are for looking up capabilities, not for sending.
    #[must_use]
    pub fn peers(self, of: Era, caller: Era) -> Vec<Arc<Peer>> {
        let peers = self.upstreams(caller).filter_map(|index| self.peer(index));
        peers.filter(|peer| peer.era() == of).collect()
    }
}

#[cfg(test)]
mod tests;
