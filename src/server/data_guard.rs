//! The rules for the data of requests, as the config says.

use std::sync::Arc;

use crate::config::Config;
use crate::guard::Guard;

/// Makes the rules of a config; `None` if they let everything pass.
pub(super) fn make_guard(config: &Config) -> Option<Arc<Guard>> {
    Guard::of(config).map(Arc::new)
}
