//! Budgets of calls: time, size, number, and what is tried again.

use std::num::NonZeroUsize;
use std::time::Duration;

/// `timeouts:` — time budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the start of a child to its first answer.
    pub start: Duration,
    /// For a whole listing, all pages.
    pub list: Duration,
    /// Between sending a request over HTTP and the head of its answer; `None` is no limit of its own.
    pub first_byte: Option<Duration>,
    /// For a whole call, to the last byte.
    pub call: Duration,
    /// Between two pieces of one message: a JSON body or an event.
    pub idle: Duration,
    /// For a caller's answer to what its upstream asks of it during a call.
    pub ask: Duration,
}

/// `retry:` — what is tried again, once, when it failed on its way. What was not sent at all, because a kept
/// connection turned out to be closed, goes over another one in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Calls of tools that say of themselves that running them twice does no more than once.
    pub idempotent: bool,
}

/// `limits:` — size budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls under way at once.
    pub in_flight: NonZeroUsize,
    /// Bytes of one answer or one event.
    pub response_bytes: usize,
    /// Items of one kind in a listing.
    pub tools: usize,
    /// Calls that wait for their callers to answer a question, without a place among those under way.
    pub parked: NonZeroUsize,
}
