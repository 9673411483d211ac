//! `limits.rates`: what is read, and what is said of mistakes.

use std::path::Path;

use super::*;

fn read(rates: &str) -> Result<Config, String> {
    let yaml = format!(
        "limits:\n  rates:\n    - {rates}\nupstreams:\n  a: {{ command: a }}\n  off: {{ command: a, disabled: true }}\n"
    );
    let config = parse(&yaml, Path::new("weir.yaml"), &env);
    config.map_err(|errors| errors.to_string())
}

#[test]
fn a_rule_has_defaults() {
    let config = read("{ per: caller, requests: 100/1m }").unwrap();
    let rule = &config.rates[0];
    assert_eq!(&*rule.name, "rate-1");
    assert_eq!(&*rule.methods, ["tools/call"]);
    assert_eq!(
        (rule.per, rule.answer),
        (RatePer::Caller, RateAnswer::Error)
    );
    assert!(rule.tools.is_none() && rule.upstreams.is_none() && rule.bytes.is_none());
    let rate = rule.requests.unwrap();
    assert_eq!((rate.amount.get(), rate.burst.get()), (100, 100));
    assert_eq!(rate.period, std::time::Duration::from_secs(60));
}

#[test]
fn a_rule_has_everything() {
    let config = read(
        "{ name: x.y, per: tool, tools: ['a__*'], upstreams: [a, off], requests: 5/1s, burst: 2, in_flight: 3, bytes: 10MiB/1m, answer: tool_error }",
    );
    let config = config.unwrap();
    let rule = &config.rates[0];
    assert!(rule.tools.as_ref().unwrap().is_match("a__b/c"));
    assert_eq!(rule.in_flight.unwrap().get(), 3);
    assert_eq!(rule.requests.unwrap().burst.get(), 2);
    assert_eq!(rule.bytes.unwrap().amount.get(), 10 << 20);
    assert_eq!(rule.answer, RateAnswer::ToolError);
}

/// Rules that are wrong, where that is told, and a part of what is told.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("{ per: caller }", "limits.rates[0]", "limits nothing"),
    (
        "{ per: caller, requests: 0/1m }",
        "limits.rates[0].requests",
        "lets nothing pass",
    ),
    (
        "{ per: caller, requests: 1/0s }",
        "limits.rates[0].requests",
        "longer than zero",
    ),
    (
        "{ per: caller, requests: '100' }",
        "limits.rates[0].requests",
        "100/1m",
    ),
    (
        "{ per: caller, requests: -1/1m }",
        "limits.rates[0].requests",
        "100/1m",
    ),
    (
        "{ per: caller, requests: 100000000/1s }",
        "limits.rates[0].requests",
        "no limit",
    ),
    (
        "{ per: caller, requests: 1/1d, burst: 1000 }",
        "limits.rates[0].requests",
        "more than a year",
    ),
    (
        "{ per: caller, requests: 1/1s, burst: 0 }",
        "limits.rates[0].burst",
        "from 1 to 1000000",
    ),
    (
        "{ per: caller, in_flight: 1, burst: 2 }",
        "limits.rates[0].burst",
        "needs `requests`",
    ),
    (
        "{ per: caller, in_flight: 0 }",
        "limits.rates[0].in_flight",
        "from 1 to 1000000",
    ),
    (
        "{ per: caller, bytes: 1/1m/1m }",
        "limits.rates[0].bytes",
        "duration",
    ),
    (
        "{ per: caller, bytes: 0/1m }",
        "limits.rates[0].bytes",
        "larger than zero",
    ),
    (
        "{ per: class, in_flight: 1 }",
        "limits.rates[0].per",
        "needs `policy`",
    ),
    (
        "{ per: all, in_flight: 1, upstreams: [nope] }",
        "limits.rates[0].upstreams[0]",
        "no upstream of this name",
    ),
    (
        "{ per: all, in_flight: 1, tools: ['['] }",
        "limits.rates[0].tools[0]",
        "",
    ),
    (
        "{ per: all, in_flight: 1, tools: [] }",
        "limits.rates[0].tools",
        "must not be empty",
    ),
    (
        "{ per: all, in_flight: 1, methods: [ping] }",
        "limits.rates[0].methods[0]",
        "tools/call",
    ),
    (
        "{ per: tool, in_flight: 1, methods: [tools/call, prompts/get] }",
        "limits.rates[0].per",
        "only `tools/call` has a tool",
    ),
    (
        "{ per: upstream, in_flight: 1, methods: [tools/list] }",
        "limits.rates[0].per",
        "`tools/list` goes to no single upstream",
    ),
    (
        "{ name: 'a b', per: all, in_flight: 1 }",
        "limits.rates[0].name",
        "1 to 64",
    ),
    (
        "{ name: rate-2, per: all, in_flight: 1 }\n    - { per: all, in_flight: 2 }",
        "limits.rates[1].name",
        "weir.yaml:3 has the same name",
    ),
];

#[test]
fn what_is_wrong_with_a_rule_is_said_where_it_stands() {
    for (rates, path, said) in MISTAKES {
        let errors = read(rates).expect_err(rates);
        assert!(errors.contains(path), "{rates}: {errors}");
        assert!(errors.contains(said), "{rates}: {errors}");
        assert!(errors.contains("weir.yaml:"), "{rates}: {errors}");
    }
}
