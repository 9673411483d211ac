//! The way callers are authenticated now: a reload replaces it.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::Authenticator;

/// The authenticator in force; none where weir does not authenticate callers. Reading it is cheap:
/// every request does.
#[derive(Debug, Default)]
pub struct CurrentAuthenticator(ArcSwapOption<Authenticator>);

impl CurrentAuthenticator {
    /// Returns the authenticator in force.
    #[must_use]
    pub fn load(&self) -> Guard<Option<Arc<Authenticator>>> {
        self.0.load()
    }

    /// Returns the authenticator in force, to be kept for longer.
    #[must_use]
    pub fn load_full(&self) -> Option<Arc<Authenticator>> {
        self.0.load_full()
    }

    /// Puts another one in force, for all requests from now on.
    pub fn replace(&self, next: Option<Arc<Authenticator>>) {
        self.0.store(next);
    }
}
