//! The headers of a caller's request that hooks see: those that the config lists for one of them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::link::HookLink;
use crate::config::PassedHeader;

/// The headers of one request that some of its hooks see.
#[derive(Clone, Debug, Default)]
pub struct CallerHeaders(Vec<(HeaderName, String)>);

impl CallerHeaders {
    /// Collects the headers that these hooks list. A request without such hooks costs nothing.
    #[must_use]
    pub fn of<'h>(found: &HeaderMap, hooks: impl Iterator<Item = &'h Arc<HookLink>>) -> Self {
        let mut headers = Self::default();
        for listed in hooks.flat_map(|hook| &hook.config().request_headers) {
            if headers.get(&listed.name).is_none()
                && let Some(value) = value_of(found, &listed.name)
            {
                headers.0.push((listed.name.clone(), value));
            }
        }
        headers
    }

    /// Returns those that one hook lists, with the names that it knows.
    pub fn listed<'s>(
        &'s self,
        hook: &'s HookLink,
    ) -> impl Iterator<Item = (&'s PassedHeader, &'s str)> {
        let listed = hook.config().request_headers.iter();
        listed.filter_map(|listed| Some((listed, self.get(&listed.name)?)))
    }

    fn get(&self, name: &HeaderName) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Returns the value of a header. Several values are one list (RFC 9110 §5.3); bytes that are no
/// UTF-8 are shown as U+FFFD, so that a hook sees that there is something.
fn value_of(found: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = found.get_all(name).iter();
    let texts: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
