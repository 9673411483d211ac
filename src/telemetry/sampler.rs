//! Which traces are recorded (OpenTelemetry specification, `trace/sdk.md#built-in-samplers`).

use crate::telemetry::context::SpanContext;

/// Decides which traces are recorded. The same id is decided in the same way by every weir, and by
/// the SDKs of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the decision of the sender is followed, where it sent one.
    pub follows_parent: bool,
    /// The part of traces that is recorded, 0 to 1, where weir decides.
    pub ratio: f64,
}

impl Sampler {
    /// Decides about a request, of which the sender may have sent a context.
    #[must_use]
    pub(super) fn decide(&self, parent: Option<&SpanContext>, trace: &[u8; 16]) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.is_sampled,
            _ => self.takes(trace),
        }
    }

    /// Decides by the id of a trace alone: by its last 63 bits, as the SDKs do.
    #[must_use]
    pub(super) fn takes(&self, trace: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace;
        let low = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        // 2^63. At 1 the bound is above all numbers, at 0 below all.
        let bound = self.ratio.clamp(0.0, 1.0) * 9_223_372_036_854_775_808.0;
        (low as f64) < bound || self.ratio >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(low: u64) -> [u8; 16] {
        let mut trace = [9; 16];
        trace[8..].copy_from_slice(&low.to_be_bytes());
        trace
    }

    #[test]
    fn a_ratio_takes_that_part_of_all_ids_and_always_the_same() {
        let sampler = |ratio| Sampler {
            follows_parent: true,
            ratio,
        };
        for low in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(sampler(1.0).takes(&trace(low)));
            assert!(!sampler(0.0).takes(&trace(low)));
        }
        assert!(sampler(0.5).takes(&trace(u64::MAX / 2 - 4096)));
        assert!(!sampler(0.5).takes(&trace(u64::MAX / 2 + 4096)));
        let taken = |ratio: f64| {
            let ids = (0..10_000).map(|_| SpanContext::root(|_| true).trace);
            ids.filter(|id| sampler(ratio).takes(id)).count()
        };
        assert!((800..1_200).contains(&taken(0.1)));
    }

    #[test]
    fn the_sender_decides_unless_the_operator_says_otherwise() {
        let parent = |is_sampled| SpanContext {
            is_sampled,
            ..SpanContext::root(|_| true)
        };
        let (all, none) = (1.0, 0.0);
        for (follows_parent, ratio, of_sender, expected) in [
            (true, all, Some(false), false),
            (true, none, Some(true), true),
            (true, none, None, false),
            (true, all, None, true),
            (false, all, Some(false), true),
            (false, none, Some(true), false),
        ] {
            let sampler = Sampler {
                follows_parent,
                ratio,
            };
            let parent = of_sender.map(parent);
            assert_eq!(sampler.decide(parent.as_ref(), &trace(7)), expected);
        }
    }
}
