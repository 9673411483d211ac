//! Rules over time, of many callers. The clock is tokio's, and stands still but for `advance`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::caller::{Caller, Identity, Principal, ShareKey};
use crate::config;
use crate::metrics::{MetricsFormat, Observed};
use crate::name::UpstreamId;
use crate::protocol::method::{self, PROMPTS_GET, TOOLS_CALL, TOOLS_LIST};

fn config(rates: &str) -> Config {
    let yaml = format!(
        "version: 1\nlimits: {{ rates: [{rates}] }}\nupstreams: {{ a: {{ command: a }}, b: {{ command: b }} }}\n"
    );
    config::parse(&yaml, Path::new("weir.yaml"), &|_| None).unwrap()
}

fn limits(rates: &str) -> Arc<RateLimits> {
    RateLimits::of(None, &config(rates), &Metrics::new()).unwrap()
}

fn principal(number: u32) -> ShareKey {
    let identity = Identity::new(Principal::ApiKey, &number.to_string());
    ShareKey::of_caller(&Caller::new(identity), None)
}

/// A call of the tool `a__x` by a caller.
struct Call {
    caller: ShareKey,
    tool: Arc<str>,
    upstream: UpstreamId,
    method: &'static str,
    bytes: usize,
}

impl Call {
    fn by(number: u32) -> Self {
        Self {
            caller: principal(number),
            tool: "a__x".into(),
            upstream: UpstreamId::parse("a").unwrap(),
            method: TOOLS_CALL,
            bytes: 10,
        }
    }

    fn of(self, upstream: &str, tool: &str) -> Self {
        let upstream = UpstreamId::parse(upstream).unwrap();
        let tool = tool.into();
        Self {
            upstream,
            tool,
            ..self
        }
    }

    fn sent(&self, limits: &RateLimits) -> Result<RateLease, RateRefusal> {
        let is_call = self.method == TOOLS_CALL;
        let request = LimitedRequest {
            method: self.method,
            tool: is_call.then_some(&self.tool),
            upstream: Some(&self.upstream),
            caller: self.caller,
            bytes: self.bytes,
        };
        limits.admit(&request, || None)
    }

    /// How many of so many pass, one at a time.
    fn passing(&self, limits: &RateLimits, number: u32) -> u32 {
        (0..number)
            .map(|_| u32::from(self.sent(limits).is_ok()))
            .sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_minute_is_exact_under_64_callers() {
    let limits = limits(
        "{ per: caller, requests: 100/1m, burst: 20 }, { name: all, per: all, requests: 6000/1m, burst: 100 }",
    );
    let mut passed = [0; 64];
    // Every caller tries every 50 ms for a minute: 1,200 times.
    for _ in 0..1200 {
        for (number, passed) in (0..).zip(&mut passed) {
            *passed += Call::by(number).passing(&limits, 1);
        }
        advance(Duration::from_millis(50)).await;
    }
    let total: u32 = passed.iter().sum();
    assert!((6000..=6100).contains(&total), "{total}");
    for passed in passed {
        // Without the rule for all it would be 100 and the burst; that one is shared as it comes.
        assert!(passed <= 120, "{passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_its_rate_and_one_burst() {
    let limits = limits("{ per: caller, requests: 100/1m, burst: 20 }");
    let mut passed = [0; 64];
    for _ in 0..1200 {
        for (number, passed) in (0..).zip(&mut passed) {
            *passed += Call::by(number).passing(&limits, 1);
        }
        advance(Duration::from_millis(50)).await;
    }
    for passed in passed {
        assert!((100..=120).contains(&passed), "{passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_back_and_that_is_true() {
    let limits = limits("{ name: few, per: caller, requests: 2/1m }");
    let call = Call::by(1);
    assert_eq!(call.passing(&limits, 5), 2);
    let refusal = call.sent(&limits).unwrap_err();
    assert_eq!((&*refusal.limit, refusal.retry_after), ("few", 30));
    advance(Duration::from_secs(29)).await;
    assert_eq!(call.sent(&limits).unwrap_err().retry_after, 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(call.passing(&limits, 5), 1);
    // Another caller has its own.
    assert_eq!(Call::by(2).passing(&limits, 5), 2);
    // So have addresses of callers without an identity.
    for last in [1, 2] {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let caller = ShareKey::of_caller(&Caller::anonymous(), Some(address));
        let call = Call {
            caller,
            ..Call::by(0)
        };
        assert_eq!(call.passing(&limits, 5), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_about_its_tools_upstreams_and_methods() {
    let limits = limits(
        "{ name: t, per: tool, tools: ['a__*'], requests: 1/1h }, { name: u, per: upstream, upstreams: [b], requests: 2/1h }, { name: p, per: all, methods: [prompts/get], requests: 1/1h }",
    );
    let call = |upstream: &str, tool: &str| Call::by(1).of(upstream, tool);
    assert_eq!(call("a", "a__x").passing(&limits, 5), 1);
    assert_eq!(call("a", "a__y").passing(&limits, 5), 1);
    assert_eq!(call("a", "other").passing(&limits, 5), 5);
    assert_eq!(call("b", "b__x").passing(&limits, 1), 1);
    assert_eq!(call("b", "b__y").passing(&limits, 5), 1);
    let prompt = |number| Call {
        method: PROMPTS_GET,
        ..Call::by(number)
    };
    assert_eq!(prompt(1).passing(&limits, 5), 1);
    assert_eq!(prompt(2).passing(&limits, 5), 0);
    let list = Call {
        method: TOOLS_LIST,
        ..Call::by(1)
    };
    assert_eq!(list.passing(&limits, 5), 5);
}

#[tokio::test(start_paused = true)]
async fn what_one_rule_refuses_takes_nothing_of_the_others() {
    let limits = limits(
        "{ per: caller, requests: 10/1h, in_flight: 3, bytes: 10KiB/1h }, { per: tool, tools: [a__x], requests: 1/1h }",
    );
    assert_eq!(Call::by(1).passing(&limits, 1), 1);
    assert_eq!(Call::by(1).passing(&limits, 500), 0);
    let other = Call::by(1).of("a", "a__y");
    assert_eq!(other.passing(&limits, 500), 9);
}

#[tokio::test(start_paused = true)]
async fn places_are_given_back_whatever_the_end() {
    let limits = limits("{ per: caller, in_flight: 2 }");
    let call = Call::by(1);
    let first = call.sent(&limits).unwrap();
    let second = call.sent(&limits).unwrap();
    assert_eq!(call.sent(&limits).unwrap_err().retry_after, 1);
    assert_eq!(Call::by(2).passing(&limits, 5), 5);
    drop(first);
    let held = call.sent(&limits).unwrap();
    assert!(call.sent(&limits).is_err());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = held;
        panic!("a mistake");
    }));
    assert!(panicked.is_err());
    drop(second);
    let counts = limits.rates[0].state().in_flight.as_ref().unwrap();
    assert_eq!(counts.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_are_paid_for_when_they_are_there() {
    let limits = limits("{ per: caller, bytes: 60KiB/1m }");
    let call = Call::by(1);
    let lease = call.sent(&limits).unwrap();
    lease.charge(119 * 1024);
    drop(lease);
    // Two minutes' worth is owed: one KiB is left after the first minute.
    let wait = call.sent(&limits).unwrap_err().retry_after;
    assert!((60..=62).contains(&wait), "{wait}");
    assert!(Call::by(2).sent(&limits).is_ok());
    advance(Duration::from_secs(wait)).await;
    assert_eq!(call.passing(&limits, 3), 1);
    // A large request is paid for as a whole.
    let large = Call {
        bytes: 600 * 1024,
        ..Call::by(3)
    };
    assert_eq!(large.passing(&limits, 3), 1);
    advance(Duration::from_secs(500)).await;
    assert_eq!(large.passing(&limits, 3), 0);
    advance(Duration::from_secs(100)).await;
    assert_eq!(large.passing(&limits, 3), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_rules_know_that_did_not_change() {
    let metrics = Metrics::new();
    let one = "{ name: one, per: caller, requests: 2/1h, in_flight: 5 }";
    let before = RateLimits::of(None, &config(one), &metrics).unwrap();
    let held = Call::by(1).sent(&before).unwrap();
    // Another rule comes first, and the name is another: it is the same rule.
    let next = config(
        "{ per: all, requests: 100/1s }, { name: uno, per: caller, requests: 2/1h, in_flight: 5 }",
    );
    let after = RateLimits::of(Some(&before), &next, &metrics).unwrap();
    assert_eq!(Call::by(1).passing(&after, 5), 1);
    drop(held);
    let counts = after.rates[1].state().in_flight.as_ref().unwrap();
    assert_eq!(counts.len(), 0);
    // A rule that changed begins anew.
    let other = config("{ name: one, per: caller, requests: 3/1h }");
    let after = RateLimits::of(Some(&after), &other, &metrics).unwrap();
    assert_eq!(Call::by(1).passing(&after, 5), 3);
    assert!(RateLimits::of(Some(&after), &config(""), &metrics).is_none());
    let text = metrics.text(&Observed::default(), MetricsFormat::Prometheus);
    for line in [
        "weir_limited_total{rule=\"uno\"} 4",
        "weir_limited_total{rule=\"one\"} 2",
        "weir_limited_total{rule=\"rate-1\"} 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_100_000_principals_is_bounded() {
    let limits = limits("{ per: caller, requests: 1/1h }");
    let bucket = limits.rates[0].state().requests.as_ref().unwrap();
    let first = Call::by(0);
    for number in 0..300_000 {
        assert!(Call::by(number + 1).sent(&limits).is_ok());
        // A caller that comes again and again stays refused.
        if number % 10_000 == 0 {
            assert_eq!(first.passing(&limits, 1), u32::from(number == 0));
        }
    }
    let (keys, bytes) = bucket.size();
    assert!(keys <= KEYS, "{keys}");
    assert!(bytes <= 8 << 20, "{bytes}");
    // Those that have everything back need no place.
    advance(Duration::from_secs(3600)).await;
    for number in 0..60_000 {
        let _ = Call::by(1_000_000 + number).sent(&limits);
    }
    assert!(bucket.size().0 <= KEYS);
}

#[tokio::test(start_paused = true)]
async fn all_rules_together_remember_no_more_keys() {
    let rates: Vec<_> = (0..50)
        .map(|n| format!("{{ per: caller, requests: {}/1h, bytes: 1MiB/1h }}", n + 1))
        .collect();
    let limits = limits(&rates.join(", "));
    for number in 0..20_000 {
        let _ = Call::by(number).sent(&limits);
    }
    let sizes = limits.rates.iter().flat_map(|rate| {
        let state = rate.state();
        [&state.requests, &state.bytes].map(|bucket| bucket.as_ref().unwrap().size())
    });
    let keys: usize = sizes.clone().map(|(keys, _)| keys).sum();
    let bytes: usize = sizes.map(|(_, bytes)| bytes).sum();
    assert!(keys <= KEYS, "{keys}");
    assert!(bytes <= 12 << 20, "{bytes}");
}

#[test]
fn rules_are_about_methods_that_there_are() {
    for name in config::limitable_methods() {
        assert_eq!(method::known(name), Some(name));
    }
}
