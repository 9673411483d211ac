//! Binds `requestState` to the principal that got it (2026-07-28 `basic/patterns/mrtr.mdx`): an
//! upstream takes it from whoever sends it, and all of weir's callers are one client to it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::caller::{Caller, Handle};
use crate::json::{self, Object};
use crate::name::UpstreamId;

const KEY: &str = "requestState";

/// Finds the member. Made once: that takes longer than a search.
static MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"requestState\""));

/// Returns a result with its state as the caller gets it; `None` if it fits as it is.
pub(super) fn bind(result: &str, upstream: &UpstreamId, caller: &Caller) -> Option<String> {
    caller.owner()?;
    MEMBER.find(result.as_bytes())?;
    let mut result = Object::parse(result).ok()?;
    let state = result.string(KEY)?.into_owned();
    let bound = caller.bind(Handle::RequestState, upstream.as_str(), &state);
    result.set(KEY, json::quote(&bound));
    Some(result.to_text())
}

/// Puts the state in the params of a request as the upstream knows it. Returns false if it is not this
/// principal's.
#[must_use]
pub fn unbind(params: &mut Object<'_>, upstream: &UpstreamId, caller: &Caller) -> bool {
    if caller.owner().is_none() {
        return true;
    }
    // The upstream refuses a state that is no text.
    let Some(bound) = params.string(KEY).map(std::borrow::Cow::into_owned) else {
        return true;
    };
    match caller.unbind(Handle::RequestState, upstream.as_str(), &bound) {
        Some(state) => {
            params.set(KEY, json::quote(state));
            true
        }
        None => false,
    }
}
