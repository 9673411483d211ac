//! The upstream that a resource URI belongs to.
//!
//! A URI that only one upstream lists stays as it is. Where several list it, each one after the
//! first in the config exposes it wrapped: `ns+scheme://…`, and `ui://ns+…` for MCP Apps, because
//! clients look for that scheme.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::Kind;
use crate::catalog::cut::CutCatalog;
use crate::catalog::naming;
use crate::catalog::parts::{Part, Parts};
use crate::name::{Namespace, UpstreamId, UpstreamIndex};

/// Where a URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRoute {
    /// The upstream to ask.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams.
    pub upstream_index: UpstreamIndex,
    /// The URI as that upstream knows it.
    pub uri: Arc<str>,
}

/// The labels that wrapped URIs carry, one for each upstream.
#[derive(Debug, Default)]
pub(crate) struct UriLabels {
    by_upstream: HashMap<UpstreamIndex, Arc<str>>,
    by_label: HashMap<Arc<str>, UpstreamIndex>,
}

impl UriLabels {
    /// Gives each part a label of its own: its namespace, or its key where it has none.
    pub(super) fn of<'p>(parts: impl Iterator<Item = (UpstreamIndex, &'p Part)>) -> Self {
        let mut labels = Self::default();
        for (index, part) in parts {
            let prepared = &part.prepared;
            let own = Namespace::of(&prepared.upstream);
            let name = match prepared.namespace.as_str() {
                "" => own.as_str(),
                name => name,
            };
            // A URI scheme begins with a letter (RFC 3986 §3.1).
            let lead = if name.starts_with(|c: char| c.is_ascii_lowercase()) {
                ""
            } else {
                "ns-"
            };
            let mut label: Arc<str> = format!("{lead}{name}").into();
            let mut attempt = 0;
            while labels.by_label.contains_key(&label) {
                label = hashed(&format!("{lead}{name}"), &prepared.upstream, "", attempt).into();
                attempt += 1;
            }
            labels.by_label.insert(label.clone(), index);
            labels.by_upstream.insert(index, label);
        }
        labels
    }

    /// Returns the upstreams whose label differs from that in `before`.
    pub(super) fn other_than(&self, before: &Self) -> BTreeSet<UpstreamIndex> {
        let differ = |(index, label): &(&UpstreamIndex, &Arc<str>)| {
            before.by_upstream.get(index) != Some(label)
        };
        let differ = self.by_upstream.iter().filter(differ);
        differ.map(|(index, _)| *index).collect()
    }

    /// Makes a wrapped form of a URI: they form a sequence, and this is the one after `before`
    /// others.
    pub(super) fn wrap(
        &self,
        index: UpstreamIndex,
        upstream: &UpstreamId,
        uri: &str,
        before: u32,
    ) -> Arc<str> {
        let label = self.by_upstream.get(&index).map_or("", |label| &**label);
        let wrapped = match before.checked_sub(1) {
            None => wrap(label, uri),
            Some(attempt) => wrap(&hashed(label, upstream, uri, attempt), uri),
        };
        wrapped.into()
    }

    /// Returns the upstream that a URI is wrapped for, if `may` allows it, and the URI inside.
    pub(super) fn unwrap(
        &self,
        uri: &str,
        may: impl Fn(UpstreamIndex) -> bool,
    ) -> Option<(UpstreamIndex, Arc<str>)> {
        let (label, inner) = unwrap(uri)?;
        let index = *self.by_label.get(label)?;
        may(index).then_some((index, inner))
    }
}

fn hashed(label: &str, upstream: &UpstreamId, uri: &str, attempt: u32) -> String {
    let hash = naming::digest_origin(upstream, uri, attempt).to_string();
    format!("{label}-{}", hash.get(..8).unwrap_or_default())
}

fn wrap(label: &str, uri: &str) -> String {
    match uri.strip_prefix("ui://") {
        Some(rest) => format!("ui://{label}+{rest}"),
        None => format!("{label}+{uri}"),
    }
}

fn unwrap(uri: &str) -> Option<(&str, Arc<str>)> {
    match uri.strip_prefix("ui://") {
        Some(rest) => {
            let (label, rest) = rest.split_once('+')?;
            Some((label, format!("ui://{rest}").into()))
        }
        None => {
            let (label, inner) = uri.split_once('+')?;
            Some((label, inner.into()))
        }
    }
}

/// Returns the first upstream in the config that has a template which fits a URI. A later one whose
/// template fits better would take URIs that callers know as those of an earlier one. For a class of
/// callers, only upstreams count of whose templates it sees some.
pub(super) fn by_template(
    parts: &Parts,
    uri: &str,
    cut: Option<&CutCatalog>,
) -> Option<UpstreamIndex> {
    let sees = |index| cut.is_none_or(|cut| cut.sees_kind(Kind::Templates, index));
    let mut parts = parts.iter().filter(|(index, _)| sees(*index));
    parts.find_map(|(index, part)| part.prepared.templates.find(uri).map(|_| index))
}

/// Returns the upstream that has resources or templates, if there is exactly one; for a class of
/// callers, of those that it sees.
pub(super) fn sole(parts: &Parts, cut: Option<&CutCatalog>) -> Option<UpstreamIndex> {
    let has_some = |index: UpstreamIndex, part: &Part| {
        [Kind::Resources, Kind::Templates]
            .into_iter()
            .any(|kind| match cut {
                Some(cut) => cut.sees_kind(kind, index),
                None => part.prepared.len(kind) > 0,
            })
    };
    let mut having = parts.iter().filter(|(index, part)| has_some(*index, part));
    let (only, _) = having.next()?;
    having.next().is_none().then_some(only)
}
