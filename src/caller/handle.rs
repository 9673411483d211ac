//! Handles of upstreams that are bound to a principal. Upstreams do not know weir's callers, so what
//! they hand out to one of them, they would take from any other.

use std::borrow::Cow;

use super::Caller;
use crate::seal::MARK_LEN;

/// A kind of handle that upstreams hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// The id of a task.
    Task,
    /// `requestState` of a request that needs more of the caller (2026-07-28).
    RequestState,
}

impl Handle {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Task => b"task",
            Self::RequestState => b"request state",
        }
    }
}

impl Caller {
    /// Returns a handle of an upstream as the caller gets it: with a mark before it that only this
    /// principal's requests can use. A caller that proved no identity gets it as it is.
    #[must_use]
    pub fn bind<'h>(&self, kind: Handle, upstream: &str, handle: &'h str) -> Cow<'h, str> {
        let (Some(owner), Some(keys)) = (self.owner(), self.mark_keys()) else {
            return Cow::Borrowed(handle);
        };
        let owner = owner.bytes();
        let parts = [
            kind.as_bytes(),
            &owner,
            upstream.as_bytes(),
            handle.as_bytes(),
        ];
        Cow::Owned(format!("{}{handle}", keys.mark(&parts)))
    }

    /// Returns the handle that the upstream knows; `None` if it was not bound to this principal.
    #[must_use]
    pub fn unbind<'h>(&self, kind: Handle, upstream: &str, bound: &'h str) -> Option<&'h str> {
        let (Some(owner), Some(keys)) = (self.owner(), self.mark_keys()) else {
            return Some(bound);
        };
        let (mark, handle) = bound.split_at_checked(MARK_LEN)?;
        let owner = owner.bytes();
        let parts = [
            kind.as_bytes(),
            &owner,
            upstream.as_bytes(),
            handle.as_bytes(),
        ];
        keys.is_mark(mark, &parts).then_some(handle)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::caller::{Identity, Principal};
    use crate::seal::KeyRing;

    #[test]
    fn a_handle_is_of_one_principal_kind_and_upstream() {
        let keys = KeyRing::from_texts(["k"]).unwrap().mark_keys().unwrap();
        let keys = Arc::new(keys);
        let user = |subject| {
            let caller = Caller::new(Identity::new(Principal::ApiKey, subject));
            caller.with_marks(&keys)
        };
        let (mine, other) = (user("mine"), user("other"));
        for handle in ["7", "", "\u{e9}", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
            let bound = mine.bind(Handle::Task, "erp", handle);
            assert_eq!(mine.unbind(Handle::Task, "erp", &bound), Some(handle));
            assert_eq!(other.unbind(Handle::Task, "erp", &bound), None);
            assert_eq!(mine.unbind(Handle::RequestState, "erp", &bound), None);
            assert_eq!(mine.unbind(Handle::Task, "crm", &bound), None);
            assert_eq!(mine.unbind(Handle::Task, "erp", handle), None);
            assert_eq!(mine.unbind(Handle::Task, "erp", &format!("{bound}x")), None);
        }
        let anybody = Caller::anonymous();
        assert_eq!(anybody.bind(Handle::Task, "erp", "7"), "7");
        assert_eq!(anybody.unbind(Handle::Task, "erp", "7"), Some("7"));
    }
}
