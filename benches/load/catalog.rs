//! The expected `tools/list` through one subject, and the check that an answer is complete and consistent.

use std::collections::HashSet;

use crate::tools::{self, PAIR};

/// The tools that every list has to show, and the pairs that a swap adds and removes.
pub(crate) struct Catalog {
    standing: HashSet<String>,
    pairs: Vec<[String; 2]>,
}

impl Catalog {
    /// The merged tools of servers with `count` tools each, every server under its prefix.
    pub(crate) fn of(prefixes: &[String], count: usize) -> Self {
        let under = |prefix: &String, name: &str| format!("{prefix}{name}");
        Self {
            standing: prefixes
                .iter()
                .flat_map(|prefix| tools::names(count).map(move |name| under(prefix, &name)))
                .collect(),
            pairs: prefixes
                .iter()
                .map(|prefix| PAIR.map(|name| under(prefix, name)))
                .collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.standing.len()
    }

    /// Says which pairs are there; a name too many, twice or missing, or half a pair, is an error.
    pub(crate) fn check<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<bool>, String> {
        let mut seen = HashSet::with_capacity(self.standing.len());
        for name in names {
            if !seen.insert(name) {
                return Err(format!("list: {name} twice"));
            }
        }
        if let Some(name) = self
            .standing
            .iter()
            .find(|name| !seen.contains(name.as_str()))
        {
            return Err(format!("list: {name} is missing, {} came", seen.len()));
        }
        let mut pairs = Vec::with_capacity(self.pairs.len());
        for [first, last] in &self.pairs {
            let found = seen.contains(first.as_str());
            if found != seen.contains(last.as_str()) {
                return Err(format!("list: only one of {first} and {last}"));
            }
            pairs.push(found);
        }
        let known = self.standing.len() + 2 * pairs.iter().filter(|found| **found).count();
        if seen.len() != known {
            return Err(format!("list: {} tools, {known} known", seen.len()));
        }
        Ok(pairs)
    }
}

/// A page that was read and understood, kept so that the same bytes need not be parsed again.
///
/// Parsing a list of 2,000 tools costs the client more than serving it costs a good subject.
pub(crate) struct Page {
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    pub(crate) names: Vec<String>,
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn new(message: &[u8], id: u64, names: Vec<String>, next: Option<String>) -> Self {
        let member = format!("\"id\":{id}");
        let (before_id, after_id) = match memchr::memmem::find(message, member.as_bytes()) {
            Some(at) => (&message[..at], &message[at + member.len()..]),
            // Written in a way that this does not understand: never the same as another.
            None => (message, message),
        };
        Self {
            before_id: before_id.to_vec(),
            after_id: after_id.to_vec(),
            names,
            next,
        }
    }

    /// Whether `message` is this page again, but for the id.
    pub(crate) fn is(&self, message: &[u8], id: u64) -> bool {
        message
            .strip_prefix(self.before_id.as_slice())
            .and_then(|rest| rest.strip_suffix(self.after_id.as_slice()))
            .is_some_and(|member| member == format!("\"id\":{id}").as_bytes())
    }
}
