//! What rules know of requests.

use crate::limits::bucket::Bucket;
use crate::limits::in_flight::InFlightCounts;

/// What a rule knows of requests. It outlasts reloads that do not change the rule.
#[derive(Debug)]
pub(super) struct RateState {
    pub(super) requests: Option<Bucket>,
    pub(super) bytes: Option<Bucket>,
    pub(super) in_flight: Option<InFlightCounts>,
}
