//! The knowledge that rules have of requests.

use crate::limits::bucket::Bucket;
use crate::limits::in_flight::InFlightCounts;

/// The knowledge that a rule has of requests. It outlasts reloads that do not change the rule.
#[derive(Debug)]
pub(super) struct RateState {
    pub(super) requests: Option<Bucket>,
    pub(super) bytes: Option<Bucket>,
    pub(super) in_flight: Option<InFlightCounts>,
}
