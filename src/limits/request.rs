//! Requests that rules are about, and their refusals.

use std::sync::Arc;
use std::time::Duration;

use crate::caller::ShareKey;
use crate::config::RateAnswer;
use crate::name::UpstreamId;

/// The longest that a refused request is told to wait, and the wait where nobody knows how long.
const LONGEST_WAIT: u64 = 365 * 86_400;

/// A request, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct LimitedRequest<'a> {
    /// Its method.
    pub method: &'a str,
    /// The exposed name of the tool that it calls.
    pub tool: Option<&'a Arc<str>>,
    /// The upstream that it goes to.
    pub upstream: Option<&'a UpstreamId>,
    /// Its caller.
    pub caller: ShareKey,
    /// Its size in bytes.
    pub bytes: usize,
}

/// The refusal of a request that is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRefusal {
    /// The name of the rule.
    pub limit: Arc<str>,
    /// After how many seconds another attempt may succeed; at least 1.
    pub retry_after: u64,
    /// The form of the answer.
    pub answer: RateAnswer,
}

/// Returns a wait in whole seconds, so long that another attempt is not too early.
pub(super) fn seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    whole.clamp(1, LONGEST_WAIT)
}
