//! The routes that requests name, for policy to decide about.

use std::sync::Arc;

use crate::catalog::{Kind, ResourceRoute, Route};
use crate::protocol::error::Fault;

/// A route that a request names.
#[derive(Debug)]
pub(super) struct NamedRoute {
    pub(super) kind: Kind,
    /// The name or URI that the upstream knows.
    pub(super) original: Arc<str>,
    /// The name or URI that the caller knows.
    pub(super) exposed: Arc<str>,
}

impl NamedRoute {
    /// Makes the name of a tool or prompt.
    pub(super) fn of(kind: Kind, route: &Route) -> Self {
        Self {
            kind,
            original: Arc::clone(route.original()),
            exposed: Arc::clone(&route.exposed),
        }
    }

    /// Makes the name of a resource.
    pub(super) fn resource(route: &ResourceRoute, exposed: &str) -> Self {
        Self {
            kind: Kind::Resources,
            original: Arc::clone(&route.uri),
            exposed: exposed.into(),
        }
    }

    /// Returns the error for a route that the caller may not use: that of one that does not exist.
    pub(super) fn unknown(&self) -> Fault {
        match self.kind {
            Kind::Tools | Kind::Instructions => Fault::UnknownTool(beginning(&self.exposed)),
            Kind::Prompts => Fault::UnknownPrompt(beginning(&self.exposed)),
            Kind::Resources | Kind::Templates => Fault::UnknownResource {
                uri: self.exposed.to_string(),
            },
        }
    }
}

/// Returns the beginning of a name that a caller made up, short enough for an error.
pub(super) fn beginning(name: &str) -> String {
    name.chars().take(200).collect()
}
