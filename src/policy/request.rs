//! Requests that are to be decided.

use std::time::SystemTime;

use crate::catalog::{Kind, ResourceRoute, Route};
use crate::name::UpstreamIndex;
use crate::protocol::era::Era;

/// A request that is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRequest<'r> {
    /// The kind of what it asks for: a tool, a prompt, a resource or a template.
    pub kind: Kind,
    /// The upstream.
    pub upstream: UpstreamIndex,
    /// The name or URI by which the upstream knows it.
    pub original: &'r str,
    /// The name or URI by which callers know it.
    pub exposed: &'r str,
    /// The caller's era.
    pub era: Era,
    /// `params.arguments` as JSON text, as they go upstream.
    pub arguments: Option<&'r str>,
    /// The time.
    pub now: SystemTime,
}

impl<'r> PolicyRequest<'r> {
    /// Makes the request to call a tool or get a prompt.
    #[must_use]
    pub fn of_route(kind: Kind, route: &'r Route, era: Era, arguments: Option<&'r str>) -> Self {
        Self {
            kind,
            upstream: route.upstream_index,
            original: route.original(),
            exposed: &route.exposed,
            era,
            arguments,
            now: SystemTime::now(),
        }
    }

    /// Makes the request to read a resource.
    #[must_use]
    pub fn of_resource(route: &'r ResourceRoute, exposed: &'r str, era: Era) -> Self {
        Self {
            kind: Kind::Resources,
            upstream: route.upstream_index,
            original: &route.uri,
            exposed,
            era,
            arguments: None,
            now: SystemTime::now(),
        }
    }
}
