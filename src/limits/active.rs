//! One rule in force.

use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;

use crate::config::{Fingerprint, RateAnswer, RatePer, RateRule};
use crate::limits::bucket::Bucket;
use crate::limits::in_flight::InFlightCounts;
use crate::limits::key::RateKey;
use crate::limits::lease::{LeasedPart, RateLease};
use crate::limits::request::{LimitedRequest, RateRefusal, seconds};
use crate::limits::state::RateState;
use crate::metrics::LimitCounter;
use crate::policy::ClassKey;

/// One rule in force.
#[derive(Debug)]
pub(super) struct ActiveRate {
    name: Arc<str>,
    per: RatePer,
    tools: Option<GlobSet>,
    upstreams: Option<Box<[Box<str>]>>,
    methods: Box<[&'static str]>,
    answer: RateAnswer,
    fingerprint: Fingerprint,
    refused: Arc<LimitCounter>,
    state: Arc<RateState>,
}

impl ActiveRate {
    /// Puts a rule in force; `known` is the same rule from before.
    pub(super) fn new(rule: &RateRule, known: Option<&Self>, refused: Arc<LimitCounter>) -> Self {
        let state = known.map(|known| Arc::clone(&known.state));
        Self {
            name: Arc::from(&*rule.name),
            per: rule.per,
            tools: rule.tools.clone(),
            upstreams: rule.upstreams.clone(),
            methods: rule.methods.clone(),
            answer: rule.answer,
            fingerprint: rule.fingerprint,
            refused,
            state: state.unwrap_or_else(|| {
                Arc::new(RateState {
                    requests: rule.requests.map(Bucket::of_requests),
                    bytes: rule.bytes.map(Bucket::of_bytes),
                    in_flight: rule.in_flight.map(InFlightCounts::new),
                })
            }),
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        [&self.state.requests, &self.state.bytes]
            .into_iter()
            .flatten()
    }

    /// Counts its stores of keys.
    pub(super) fn stores(&self) -> usize {
        self.buckets().count()
    }

    /// Sets how many keys each store remembers at most.
    pub(super) fn set_most(&self, most: usize) {
        self.buckets().for_each(|bucket| bucket.set_most(most));
    }

    /// Returns whether the rule is about a request.
    pub(super) fn is_about(&self, request: &LimitedRequest<'_>) -> bool {
        let is_one = |names: &[Box<str>]| {
            let upstream = request.upstream.map(|upstream| upstream.as_str());
            upstream.is_some_and(|upstream| names.iter().any(|name| **name == *upstream))
        };
        let matches = |tools: &GlobSet| {
            request
                .tool
                .is_some_and(|tool| tools.is_match(tool.as_ref()))
        };
        self.methods.contains(&request.method)
            && self.upstreams.as_deref().is_none_or(is_one)
            && self.tools.as_ref().is_none_or(matches)
    }

    /// Returns the key that a request counts under; `None` for one without what the rule is per.
    pub(super) fn key_of(
        &self,
        request: &LimitedRequest<'_>,
        class: impl Fn() -> Option<ClassKey>,
    ) -> Option<RateKey> {
        match self.per {
            RatePer::All => Some(RateKey::All),
            RatePer::Caller => Some(RateKey::Caller(request.caller)),
            RatePer::Tool => request.tool.map(|tool| RateKey::Tool(Arc::clone(tool))),
            RatePer::Upstream => request.upstream.cloned().map(RateKey::Upstream),
            RatePer::Class => Some(RateKey::Class(class())),
        }
    }

    /// Takes what a request of this many bytes needs.
    ///
    /// # Errors
    /// It is too much, for so long. What was taken already is in the lease.
    pub(super) fn take(
        &self,
        key: RateKey,
        bytes: usize,
        lease: &mut RateLease,
    ) -> Result<(), Duration> {
        let mut part = LeasedPart {
            state: Arc::clone(&self.state),
            key,
            has_place: false,
            requests: 0,
            bytes: 0,
            shared: None,
        };
        let taken = self.fill(&mut part, bytes);
        lease.add(part);
        taken
    }

    fn fill(&self, part: &mut LeasedPart, bytes: usize) -> Result<(), Duration> {
        if let Some(counts) = &self.state.in_flight {
            // Nobody knows when one of them ends.
            part.has_place = counts.enter(&part.key);
            if !part.has_place {
                return Err(Duration::ZERO);
            }
        }
        if let Some(bucket) = &self.state.requests {
            part.requests = bucket.take(&part.key)?;
        }
        if let Some(bucket) = &self.state.bytes {
            part.bytes = bucket.take_bytes(&part.key, bytes)?;
        }
        Ok(())
    }

    /// Counts a refused request, and returns the refusal.
    pub(super) fn refuse(&self, wait: Duration) -> RateRefusal {
        self.refused.count();
        RateRefusal {
            limit: Arc::clone(&self.name),
            retry_after: seconds(wait),
            answer: self.answer,
        }
    }

    pub(super) fn state(&self) -> &Arc<RateState> {
        &self.state
    }
}
