//! The resources that results named to callers without a session, each principal's apart.

use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::caller::{Caller, PrincipalKey};
use crate::catalog::NamedResources;

/// The most principals whose resources are remembered; for one more, those of the principal that has
/// asked for nothing for longest are forgotten.
const PRINCIPALS: usize = 256;

/// The resources that results named to callers without a session.
#[derive(Debug, Default)]
pub(super) struct NamedByPrincipal {
    /// Those of all callers that proved no identity.
    anonymous: Arc<NamedResources>,
    /// The principal that asked last comes last.
    principals: Mutex<IndexMap<PrincipalKey, Arc<NamedResources>, foldhash::fast::RandomState>>,
}

impl NamedByPrincipal {
    /// Returns the resources that were named to a caller.
    pub(super) fn of(&self, caller: &Caller) -> Arc<NamedResources> {
        let Some(owner) = caller.owner() else {
            return Arc::clone(&self.anonymous);
        };
        let mut principals = self.principals.lock();
        let named = principals.shift_remove(&owner).unwrap_or_default();
        principals.insert(owner, Arc::clone(&named));
        if principals.len() > PRINCIPALS {
            principals.shift_remove_index(0);
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Identity, Principal};

    #[test]
    fn each_principal_has_its_own_and_the_oldest_go() {
        let all = NamedByPrincipal::default();
        let user = |number: usize| {
            let subject = number.to_string();
            Caller::new(Identity::new(Principal::ApiKey, &subject))
        };
        let first = all.of(&user(0));
        assert!(Arc::ptr_eq(&first, &all.of(&user(0))));
        assert!(!Arc::ptr_eq(&first, &all.of(&user(1))));
        assert!(!Arc::ptr_eq(&first, &all.of(&Caller::anonymous())));
        for number in 1..PRINCIPALS {
            let _ = all.of(&user(number));
        }
        assert!(Arc::ptr_eq(&first, &all.of(&user(0))));
        for number in 1..=PRINCIPALS {
            let _ = all.of(&user(number));
        }
        assert!(!Arc::ptr_eq(&first, &all.of(&user(0))));
        assert_eq!(all.principals.lock().len(), PRINCIPALS);
    }
}
