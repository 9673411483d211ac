//! URIs that the templates of two upstreams fit: they are read from the first one in the config.

use std::fmt;

use crate::catalog::Kind;
use crate::catalog::parts::Parts;
use crate::name::{UpstreamId, UpstreamIndex};

/// Most overlaps that are told.
const MOST: usize = 64;
/// The most that looking for them may cost, in [units of a
/// lookup](crate::catalog::template::Templates::find).
const WORK: usize = 16 * 1024 * 1024;

/// A template or resource of an upstream, with URIs that a template of another one fits too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Whether it is a template or a resource.
    pub kind: Kind,
    /// The template or URI.
    pub original: String,
    /// Its upstream.
    pub upstream: UpstreamId,
    /// One of its URIs.
    pub uri: String,
    /// The template that fits this URI too.
    pub template: String,
    /// The upstream of that template, which comes first in the config.
    pub first: UpstreamId,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            original,
            upstream,
            uri,
            template,
            first,
        } = self;
        let owner = match kind {
            Kind::Resources => upstream,
            Kind::Tools | Kind::Prompts | Kind::Templates | Kind::Instructions => first,
        };
        write!(
            f,
            "{kind} `{original}` of {upstream} and template `{template}` of {first} both fit `{uri}`, which is read from {owner}"
        )
    }
}

/// Looks for templates and resources of an upstream with URIs that fit a template of an earlier one
/// in the config. Each template is tried with one of its URIs.
pub(super) fn find(parts: &Parts) -> Vec<Overlap> {
    let (mut found, mut left) = (Vec::new(), WORK);
    let has_templates = |index: UpstreamIndex| !parts.items(Kind::Templates, index).is_empty();
    let first: Vec<_> = parts
        .iter()
        .filter(|(index, _)| has_templates(*index))
        .collect();
    if first.is_empty() {
        return found;
    }
    for (index, part) in parts.iter() {
        for kind in [Kind::Templates, Kind::Resources] {
            for (at, item) in (0..).zip(parts.items(kind, index)) {
                let original = &item.target.original;
                let uri = match kind {
                    Kind::Templates => part.prepared.templates.example(at),
                    Kind::Tools | Kind::Prompts | Kind::Resources | Kind::Instructions => {
                        Some(original.to_string())
                    }
                };
                let Some(uri) = uri else { continue };
                let earlier = first.iter().take_while(|(other, _)| *other < index);
                for (other, earlier) in earlier {
                    let fits = earlier.prepared.templates.find_within(&uri, &mut left);
                    let template = fits.and_then(|at| parts.item(Kind::Templates, (*other, at)));
                    // The same template of both is a conflict of names, and told as that.
                    let Some(template) = template.filter(|item| item.target.original != *original)
                    else {
                        continue;
                    };
                    found.push(Overlap {
                        kind,
                        original: original.to_string(),
                        upstream: part.upstream.clone(),
                        uri: uri.clone(),
                        template: template.target.original.to_string(),
                        first: earlier.upstream.clone(),
                    });
                    break;
                }
                if found.len() >= MOST || left == 0 {
                    return found;
                }
            }
        }
    }
    found
}
