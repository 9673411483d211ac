//! Whose resource a URI is.
//!
//! A URI that one upstream lists stays as it is. Where several list it, each one after the first in the
//! config gets it wrapped: `ns+scheme://…`, and `ui://ns+…` for MCP Apps, whose clients know the scheme.

use std::sync::Arc;

use foldhash::HashMap;

use crate::catalog::Kind;
use crate::catalog::naming;
use crate::catalog::routes::Part;
use crate::catalog::template::Fit;
use crate::name::{Namespace, UpstreamId};

/// Where a URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRoute {
    /// The upstream to ask.
    pub upstream: UpstreamId,
    /// Its index among the snapshot's upstreams.
    pub slot: usize,
    /// The URI as that upstream knows it.
    pub uri: Arc<str>,
}

/// What each upstream's URIs are wrapped with when they have to be.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    by_part: Vec<Box<str>>,
    parts: HashMap<Box<str>, Label>,
}

#[derive(Clone, Copy, Debug)]
struct Label {
    part: u32,
    /// Some URI of this catalog is wrapped with it.
    used: bool,
}

impl Labels {
    /// Gives each part a label of its own: its namespace, or its key where it has none.
    pub(crate) fn of(parts: &[Part]) -> Self {
        let mut labels = Self::default();
        for (at, part) in (0_u32..).zip(parts) {
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
            let mut label: Box<str> = format!("{lead}{name}").into();
            let mut attempt = 0;
            while labels.parts.contains_key(&label) {
                label = hashed(&format!("{lead}{name}"), &prepared.upstream, "", attempt).into();
                attempt += 1;
            }
            let used = false;
            labels.parts.insert(label.clone(), Label { part: at, used });
            labels.by_part.push(label);
        }
        labels
    }

    /// Wraps a URI of a part so that it is not taken, and notes that its label is used.
    pub(crate) fn wrap(
        &mut self,
        part: u32,
        upstream: &UpstreamId,
        uri: &str,
        is_taken: impl Fn(&str) -> bool,
    ) -> Arc<str> {
        let label = self.by_part.get(part as usize).cloned().unwrap_or_default();
        if let Some(label) = self.parts.get_mut(&label) {
            label.used = true;
        }
        let mut wrapped = wrap(&label, uri);
        let mut attempt = 0;
        while is_taken(&wrapped) {
            wrapped = wrap(&hashed(&label, upstream, uri, attempt), uri);
            attempt += 1;
        }
        wrapped.into()
    }

    /// The part a URI is wrapped for, and the URI inside. `used` asks only for labels in use.
    pub(crate) fn unwrap(&self, uri: &str, used: bool) -> Option<(u32, Arc<str>)> {
        let (label, inner) = unwrap(uri)?;
        let label = self.parts.get(label)?;
        (label.used || !used).then_some((label.part, inner))
    }
}

fn hashed(label: &str, upstream: &UpstreamId, uri: &str, attempt: u32) -> String {
    let hash = naming::origin(upstream, uri, attempt).to_string();
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

/// The part with the template that fits a URI best; the first in the config among equals.
pub(crate) fn by_template(parts: &[Part], uri: &str) -> Option<u32> {
    let mut best: Option<(Fit, u32)> = None;
    for (at, part) in (0_u32..).zip(parts) {
        for fit in part.prepared.templates.iter().filter_map(|t| t.fit(uri)) {
            if best.is_none_or(|(best, _)| fit > best) {
                best = Some((fit, at));
            }
        }
    }
    best.map(|(_, part)| part)
}

/// The only part that has resources or templates, if there is only one.
pub(crate) fn sole(parts: &[Part]) -> Option<u32> {
    let has_some = |part: &Part| {
        part.prepared.len(Kind::Resources) > 0 || part.prepared.len(Kind::Templates) > 0
    };
    let mut having = (0_u32..).zip(parts).filter(|(_, part)| has_some(part));
    let (only, _) = having.next()?;
    having.next().is_none().then_some(only)
}
