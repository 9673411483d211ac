//! `telemetry`, and the variables `OTEL_*`.

use std::path::Path;

use super::*;

/// Reads a config with this `telemetry`, if it is not empty, and these variables.
fn read(telemetry: &str, variables: &[(&str, &str)]) -> Result<Option<Arc<Telemetry>>, String> {
    let text = match telemetry {
        "" => String::new(),
        written => format!("telemetry: {written}\n"),
    };
    let own = |name: &str| {
        let mut found = variables.iter();
        let found = found.find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned()).or(env(name))
    };
    let config = parse(&text, Path::new("weir.yaml"), &own);
    config
        .map(|config| config.telemetry)
        .map_err(|errors| errors.to_string())
}

fn url(endpoint: &Option<OtlpEndpoint>) -> Option<&str> {
    endpoint.as_ref().map(|endpoint| endpoint.url.as_str())
}

type Variables<'v> = &'v [(&'v str, &'v str)];

const BASE: (&str, &str) = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "https://collector:4318/base/",
);

#[test]
fn an_endpoint_is_a_base_and_that_of_a_signal_is_taken_as_it_is() {
    let telemetry = read("{ endpoint: 'http://127.0.0.1:4318' }", &[]).unwrap();
    let telemetry = telemetry.unwrap();
    assert_eq!(
        url(&telemetry.traces),
        Some("http://127.0.0.1:4318/v1/traces")
    );
    assert_eq!(url(&telemetry.logs), None);
    assert_eq!((telemetry.follows_parent, telemetry.ratio), (true, 1.0));
    let telemetry = read(
        "{ endpoint: 'https://x.example.com/otlp/?a=b', logs: true, sample: 0.25 }",
        &[],
    );
    let telemetry = telemetry.unwrap().unwrap();
    assert_eq!(
        url(&telemetry.traces),
        Some("https://x.example.com/otlp/v1/traces?a=b")
    );
    assert_eq!(
        url(&telemetry.logs),
        Some("https://x.example.com/otlp/v1/logs?a=b")
    );
    assert_eq!(telemetry.ratio, 0.25);
    let telemetry = read("{ traces_endpoint: 'http://127.0.0.1:1/t' }", &[BASE]);
    let telemetry = telemetry.unwrap().unwrap();
    assert_eq!(url(&telemetry.traces), Some("http://127.0.0.1:1/t"));
    let telemetry = read("{ logs_endpoint: 'http://127.0.0.1:1/l' }", &[BASE]);
    let telemetry = telemetry.unwrap().unwrap();
    assert_eq!(url(&telemetry.traces), None);
    assert_eq!(url(&telemetry.logs), Some("http://127.0.0.1:1/l"));
}

#[test]
fn metrics_for_cloudwatch_need_no_endpoint() {
    let namespace = |written: &str, variables: Variables<'_>| {
        let telemetry = read(written, variables)?.unwrap();
        assert!(telemetry.metrics.is_none());
        Ok::<_, String>((telemetry.emf_namespace.clone(), telemetry.traces.is_some()))
    };
    let own = |name: &str| Some(name.to_owned());
    assert_eq!(namespace("{ emf: {} }", &[]), Ok((own("weir"), false)));
    let named = "{ emf: { namespace: bedrock-agentcore } }";
    let expected = own("bedrock-agentcore");
    assert_eq!(namespace(named, &[]), Ok((expected.clone(), false)));
    assert_eq!(namespace(named, &[BASE]), Ok((expected, true)));
    for wrong in ["''", "'a b'", "'é'"] {
        let written = format!("{{ emf: {{ namespace: {wrong} }} }}");
        let errors = namespace(&written, &[]).unwrap_err();
        assert!(errors.contains("telemetry.emf.namespace"), "{errors}");
    }
}

#[test]
fn log_records_and_metrics_are_sent_where_they_are_asked_for() {
    let sent = |written: &str, variables: Variables<'_>| {
        let telemetry = read(written, variables).unwrap().unwrap();
        let of = |endpoint| url(endpoint).map(str::to_owned);
        (of(&telemetry.logs), of(&telemetry.metrics))
    };
    let base = |path: &str| Some(format!("http://127.0.0.1:1/{path}"));
    assert_eq!(
        sent("{ endpoint: 'http://127.0.0.1:1' }", &[]),
        (None, None)
    );
    assert_eq!(
        sent(
            "{ endpoint: 'http://127.0.0.1:1', metrics: true, logs: true }",
            &[]
        ),
        (base("v1/logs"), base("v1/metrics"))
    );
    assert_eq!(
        sent("{ metrics_endpoint: 'http://127.0.0.1:1/m' }", &[BASE]),
        (None, base("m"))
    );
    let of_env = [
        BASE,
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://127.0.0.1:1/m",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
    ];
    assert_eq!(sent("", &of_env), (None, base("m")));
    let interval = |written: &str| read(written, &of_env).unwrap().unwrap().metrics_interval;
    assert_eq!(interval(""), Duration::from_secs(5));
    assert_eq!(
        interval("{ metrics_interval: 2m }"),
        Duration::from_secs(120)
    );
    assert_eq!(
        interval("{ metrics_interval: 1ms }"),
        Duration::from_secs(1)
    );
}

#[test]
fn copies_of_records_need_records() {
    let error = read("{ endpoint: 'http://127.0.0.1:1', audit: true }", &[]).unwrap_err();
    assert!(error.contains("`telemetry.audit` needs `audit`"), "{error}");
    let written = "{ endpoint: 'http://127.0.0.1:1', audit: true }\naudit: { file: a.jsonl }";
    let telemetry = read(written, &[]).unwrap().unwrap();
    assert!(telemetry.logs_audit && !telemetry.logs_requests);
    assert_eq!(url(&telemetry.logs), Some("http://127.0.0.1:1/v1/logs"));
}

#[test]
fn nothing_is_sent_unless_somebody_says_where() {
    assert!(read("", &[]).unwrap().is_none());
    let name = [
        ("OTEL_SERVICE_NAME", "x"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ];
    assert!(read("", &name).unwrap().is_none());
    assert!(read("", &[BASE]).unwrap().is_some());
    let disabled = [BASE, ("OTEL_SDK_DISABLED", "true")];
    assert!(read("", &disabled).unwrap().is_none());
    assert!(read("{ sample: 1 }", &disabled).unwrap().is_some());
    let none = [BASE, ("OTEL_TRACES_EXPORTER", "none")];
    assert!(read("", &none).unwrap().is_none());
    // Empty is not set.
    let empty = [("OTEL_EXPORTER_OTLP_ENDPOINT", "")];
    assert!(read("", &empty).unwrap().is_none());
}

#[test]
fn the_variables_say_what_is_not_written() {
    let variables = [
        BASE,
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "X-Team=a%20b,authorization=Bearer%20x==",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=core"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ];
    let telemetry = read("", &variables).unwrap().unwrap();
    assert_eq!(
        url(&telemetry.traces),
        Some("https://collector:4318/base/v1/traces")
    );
    let headers = telemetry.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), value.first().unwrap().expose()))
        .collect();
    assert_eq!(
        headers,
        [("x-team", "a b"), ("authorization", "Bearer x==")]
    );
    assert_eq!(telemetry.timeout, Duration::from_millis(2500));
    assert!(telemetry.gzip);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        telemetry.resource,
        [pair("service.name", "edge"), pair("team", "core")]
    );
    assert_eq!((telemetry.follows_parent, telemetry.ratio), (false, 0.5));
    let written = read(
        "{ endpoint: 'http://127.0.0.1:1', headers: { x-a: b }, timeout: 1s, compression: none, sample: 0.1, resource: { team: web } }",
        &variables,
    );
    let written = written.unwrap().unwrap();
    assert_eq!(url(&written.traces), Some("http://127.0.0.1:1/v1/traces"));
    assert_eq!(written.headers.len(), 1);
    assert_eq!(written.timeout, Duration::from_secs(1));
    assert!(!written.gzip);
    assert_eq!((written.follows_parent, written.ratio), (true, 0.1));
    assert_eq!(
        written.resource,
        [pair("team", "web"), pair("service.name", "edge")]
    );
}

#[test]
fn signatures_are_for_the_service_of_the_url() {
    let telemetry = read(
        "{ traces_endpoint: 'https://xray.eu-west-1.amazonaws.com/v1/traces', logs_endpoint: 'https://logs.eu-west-1.amazonaws.com/v1/logs', auth: { type: sigv4 } }",
        &[],
    );
    let telemetry = telemetry.unwrap().unwrap();
    let signed = |endpoint: &Option<OtlpEndpoint>| {
        let sigv4 = endpoint.as_ref().unwrap().sigv4.as_ref().unwrap();
        (sigv4.service.clone(), sigv4.region.clone().unwrap())
    };
    let region = || "eu-west-1".to_owned();
    assert_eq!(signed(&telemetry.traces), ("xray".to_owned(), region()));
    assert_eq!(signed(&telemetry.logs), ("logs".to_owned(), region()));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let protocol = [BASE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let sampler = [BASE, ("OTEL_TRACES_SAMPLER", "jaeger_remote")];
    let ratio = [
        BASE,
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    let headers = [BASE, ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c")];
    let mistakes: &[(&str, Variables<'_>, &str, &str)] = &[
        ("{ sample: 0.5 }", &[], "telemetry", "needs `endpoint`"),
        (
            "{ endpoint: ftp://x }",
            &[],
            "telemetry.endpoint",
            "not an `https://`",
        ),
        (
            "{ endpoint: 'http://127.0.0.1:1', sample: 2 }",
            &[],
            "telemetry.sample",
            "0 to 1",
        ),
        (
            "{ endpoint: 'http://127.0.0.1:1', sampel: 1 }",
            &[],
            "telemetry.sampel",
            "sample",
        ),
        (
            "{ endpoint: 'http://far.example.com', headers: { x-key: { env: TOKEN } } }",
            &[],
            "telemetry.endpoint",
            "plain http",
        ),
        (
            "{ endpoint: 'http://127.0.0.1:1', headers: { content-type: x } }",
            &[],
            "telemetry.headers.content-type",
            "weir sets this header itself",
        ),
        ("", &protocol, "telemetry", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ("", &sampler, "telemetry", "OTEL_TRACES_SAMPLER"),
        ("", &ratio, "telemetry", "OTEL_TRACES_SAMPLER_ARG"),
        ("", &headers, "telemetry", "OTEL_EXPORTER_OTLP_HEADERS"),
    ];
    for (telemetry, variables, place, said) in mistakes {
        let error = read(telemetry, variables).unwrap_err();
        assert!(error.contains(place) && error.contains(said), "{error}");
    }
    // Spans and log records have no secret of its own.
    assert!(read("{ endpoint: 'http://collector.monitoring:4318' }", &[]).is_ok());
    // An endpoint that is written does not depend on the variables.
    assert!(read("{ endpoint: 'http://127.0.0.1:1' }", &protocol).is_ok());
}
