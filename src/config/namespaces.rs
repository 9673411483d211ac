//! Namespaces under which one upstream can take the names of another.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::Config;
use crate::name::UpstreamId;

/// Two upstreams whose exposed names begin alike: their namespaces are equal, or one of them and the
/// separator begin the other. Whichever lists a name first in the config has it, or who has pinned
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmbiguousNamespaces {
    /// The beginning of both: a namespace and the separator.
    pub prefix: String,
    /// The upstream whose names begin with it.
    pub shorter: UpstreamId,
    /// The upstream whose names begin with it, and go on with what is left of its namespace.
    pub longer: UpstreamId,
    /// Where that upstream is written.
    pub at: String,
}

impl fmt::Display for AmbiguousNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            prefix,
            shorter,
            longer,
            at,
        } = self;
        write!(
            f,
            "{at}: upstreams.{longer}: the names of {longer} begin with `{prefix}`, as those of {shorter} do, so one can take a name of the other: give it another `namespace`"
        )
    }
}

impl Config {
    /// Returns the pairs of upstreams that can take names of each other by their namespaces. An
    /// upstream without a namespace is in none: that it may have any name is what its setting says.
    #[must_use]
    pub fn ambiguous_namespaces(&self) -> Vec<AmbiguousNamespaces> {
        let named = self.upstreams.values();
        let named = named.filter(|upstream| !upstream.namespace.as_str().is_empty());
        let named: Vec<_> = named
            .map(|upstream| (self.naming.join(&upstream.namespace, ""), upstream))
            .collect();
        // Of upstreams with one namespace, the first stands for all.
        let mut first: BTreeMap<&str, &UpstreamId> = BTreeMap::new();
        for (prefix, upstream) in &named {
            first.entry(prefix).or_insert(&upstream.id);
        }
        let mut found = Vec::new();
        for (whole, upstream) in &named {
            let prefixes = (1..=whole.len()).filter_map(|end| whole.get(..end));
            for prefix in prefixes {
                if let Some(shorter) = first.get(prefix).filter(|other| ***other != upstream.id) {
                    found.push(AmbiguousNamespaces {
                        prefix: prefix.to_owned(),
                        shorter: (*shorter).clone(),
                        longer: upstream.id.clone(),
                        at: upstream.origin.clone(),
                    });
                }
            }
        }
        found
    }
}
