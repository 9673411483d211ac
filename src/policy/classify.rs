//! The class of a caller, and what the policies say of it without arguments.

use std::sync::Arc;

use cedar_policy::{Context, Request};

use crate::caller::Caller;
use crate::config::policy_names::{AGENTCORE_ACTION, MCP};
use crate::policy::bits::BitSet;
use crate::policy::classes::{CallerClass, ClassKey, note};
use crate::policy::entities::{PrincipalEntity, uid};
use crate::policy::rules::PolicyRules;

impl PolicyRules {
    /// Returns the class of a caller; `None` if its identity cannot be an entity.
    pub(super) fn class(&self, caller: &Caller) -> Option<Arc<CallerClass>> {
        let digest = caller.digest();
        if let Some(class) = self.callers.lock().get(&digest) {
            return Some(class);
        }
        let principal = PrincipalEntity::of(caller)?;
        let key = self.projection.key(caller, &principal.uid);
        let known = self.classes.lock().get(&key);
        let class = match known {
            Some(class) => class,
            None => {
                let class = Arc::new(self.make_class(key, principal)?);
                self.classes.lock().insert(key, Arc::clone(&class));
                class
            }
        };
        self.callers.lock().insert(digest, Arc::clone(&class));
        Some(class)
    }

    fn make_class(&self, key: ClassKey, principal: PrincipalEntity) -> Option<CallerClass> {
        let (mut holds, mut fails) = (
            BitSet::below(self.policies.len()),
            BitSet::below(self.policies.len()),
        );
        // Nothing in the list forms reads the action, the resource or the context.
        let action = uid(AGENTCORE_ACTION, MCP)?;
        let resource = self.resource.clone()?;
        let uid = principal.uid.clone();
        let request = Request::new(uid, action, resource, Context::empty(), None).ok()?;
        let all = &principal.entities;
        let response = self.authorizer.is_authorized(&request, &self.lists, all);
        note(&response, &mut holds, &mut fails);
        Some(CallerClass {
            key,
            principal,
            holds,
            fails,
        })
    }
}
