use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::telemetry::SpanContext;

fn call(upstream: &Arc<UpstreamMetrics>, tool: &str, ending: Ending) {
    let series = upstream.series("tools/call", Some(tool));
    series.record(ending, Duration::from_millis(1));
}

fn metrics() -> (Arc<Metrics>, Arc<UpstreamMetrics>) {
    let metrics = Metrics::new();
    let upstream = metrics.upstream(&UpstreamId::parse("erp").unwrap());
    (metrics, upstream)
}

fn text(metrics: &Metrics) -> String {
    metrics.text(&Observed::default(), MetricsFormat::Prometheus)
}

fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[test]
fn a_call_is_counted_by_how_it_ended() {
    let (metrics, upstream) = metrics();
    for ending in [Ending::Ok, Ending::Ok, Ending::Error, Ending::Cancelled] {
        call(&upstream, "erp__a", ending);
    }
    let prompts = upstream.series("prompts/get", None);
    prompts.record(Ending::Cancelled, Duration::from_millis(1));
    let text = text(&metrics);
    let labels = r#"upstream="erp",method="tools/call",tool="erp__a""#;
    for (outcome, count) in [
        ("ok", Some(2.0)),
        ("error", Some(1.0)),
        ("cancelled", Some(1.0)),
        ("failed", None),
    ] {
        let series = format!("weir_calls_total{{{labels},outcome=\"{outcome}\"}}");
        assert_eq!(value(&text, &series), count, "{text}");
    }
    let count = format!("weir_call_duration_seconds_count{{{labels}}}");
    assert_eq!(value(&text, &count), Some(4.0));
    let other =
        r#"weir_calls_total{upstream="erp",method="prompts/get",tool="",outcome="cancelled"}"#;
    assert_eq!(value(&text, other), Some(1.0));
}

#[test]
fn what_fails_is_counted_by_who_has_to_act() {
    let (metrics, _) = metrics();
    let fault = Fault::Upstream {
        upstream: "erp".into(),
        reason: "no answer in time",
    };
    metrics.refused(&fault);
    metrics.refused(&fault);
    metrics.refused(&Fault::Cursor);
    let text = text(&metrics);
    let of = |blame: &str| value(&text, &format!("weir_errors_total{{blame=\"{blame}\"}}"));
    assert_eq!(
        (of("caller"), of("upstream"), of("weir")),
        (Some(1.0), Some(2.0), Some(0.0))
    );
}

#[test]
fn there_is_an_end_to_series_of_tools() {
    let (metrics, upstream) = metrics();
    let second = metrics.upstream(&UpstreamId::parse("crm").unwrap());
    // A tool that is called that is counted there from the start, or its series would be there twice.
    call(&upstream, "other", Ending::Ok);
    for tool in 0..TOOLS + 10 {
        call(&upstream, &format!("t{tool}"), Ending::Ok);
        call(&upstream, "t0", Ending::Ok);
    }
    call(&second, "crm__late", Ending::Ok);
    let text = text(&metrics);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("weir_calls_total{"));
    assert_eq!(lines.count(), TOOLS + 2);
    let of = |upstream: &str, tool: &str| {
        value(
            &text,
            &format!(
                "weir_calls_total{{upstream=\"{upstream}\",method=\"tools/call\",tool=\"{tool}\",outcome=\"ok\"}}"
            ),
        )
    };
    assert_eq!(of("erp", "other"), Some(11.0));
    assert_eq!(of("erp", "t0"), Some((TOOLS + 11) as f64));
    assert_eq!(
        (of("crm", "other"), of("crm", "crm__late")),
        (Some(1.0), None)
    );
}

#[test]
fn the_time_that_weir_adds_has_bounds_in_microseconds() {
    let (metrics, upstream) = metrics();
    let series = upstream.series("tools/call", Some("erp__a"));
    for micros in [20, 30, 90, 700_000] {
        series.record_added(Duration::from_micros(micros));
    }
    let text = text(&metrics);
    let of = |suffix: &str, bound: &str| {
        let labels = r#"upstream="erp",method="tools/call",tool="erp__a""#;
        value(
            &text,
            &format!("weir_call_added_seconds{suffix}{{{labels}{bound}}}"),
        )
    };
    assert_eq!(of("_bucket", ",le=\"2.5e-5\""), Some(1.0), "{text}");
    assert_eq!(of("_bucket", ",le=\"5e-5\""), Some(2.0));
    assert_eq!(of("_bucket", ",le=\"0.0001\""), Some(3.0));
    assert_eq!(of("_bucket", ",le=\"0.5\""), Some(3.0));
    assert_eq!(of("_bucket", ",le=\"+Inf\""), Some(4.0));
    assert_eq!(of("_count", ""), Some(4.0));
    assert_eq!(of("_sum", ""), Some(0.70014));
}

#[test]
fn a_recorded_trace_is_the_example_of_its_bucket_where_the_format_has_examples() {
    let (metrics, upstream) = metrics();
    let series = upstream.series("tools/call", Some("erp__a"));
    let trace = |last: u8| SpanContext {
        trace: [0xab, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last],
        span: [1; 8],
        is_sampled: true,
    };
    let open = || metrics.text(&Observed::default(), MetricsFormat::OpenMetrics);
    let took = Duration::from_millis(3);
    series.record(Ending::Ok, took);
    assert!(!open().contains(" # {"));
    series.note_trace(&trace(1), took, None);
    series.note_trace(
        &trace(2),
        Duration::from_millis(4),
        Some(Duration::from_micros(30)),
    );
    let text = open();
    let examples: Vec<_> = text.lines().filter(|line| line.contains(" # {")).collect();
    // The last of each bucket, with the time that was counted and the time of day.
    let id = format!("ab{}02", "0".repeat(28));
    let [whole, added] = examples[..] else {
        panic!("{examples:?}");
    };
    assert!(whole.contains("le=\"0.005\"} 1 # {trace_id=\""), "{whole}");
    assert!(whole.contains(&format!("\"{id}\"}} 0.004 ")), "{whole}");
    assert!(
        added.starts_with("weir_call_added_seconds_bucket{"),
        "{added}"
    );
    assert!(added.contains(&format!("\"{id}\"}} 0.00003 ")), "{added}");
    let time = whole.rsplit(' ').next().unwrap();
    assert!(time.parse::<f64>().unwrap() > 1.7e9, "{whole}");
    assert!(!self::text(&metrics).contains(&id));
}

#[test]
fn names_follow_the_conventions() {
    let mut names: Vec<_> = names::ALL.iter().map(|family| family.name).collect();
    for family in names::ALL {
        let name = family.name;
        assert!(
            name.starts_with("weir_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            family.kind == names::FamilyKind::Counter,
            "{name}"
        );
        assert!(!family.help.contains(['"', '\\', '\n', '|']), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), names::ALL.len());
}

#[test]
fn every_value_of_the_text_is_a_point_for_open_telemetry() {
    let (metrics, upstream) = metrics();
    let series = upstream.series("tools/call", Some("erp__a"));
    series.record(Ending::Ok, Duration::from_millis(3));
    series.record_added(Duration::from_micros(30));
    let observed = Observed::default();
    let text = metrics.text(&observed, MetricsFormat::Prometheus);
    let is_value = |line: &&str| !line.starts_with('#') && !line.contains("_bucket{");
    let lines = text.lines().filter(is_value);
    let names: BTreeSet<&str> = lines
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let sent = metrics.export(&observed);
    for name in names {
        let name = ["_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let is_sent = memchr::memmem::find(&sent, name.as_bytes()).is_some();
        assert!(is_sent, "{name}");
    }
    for label in ["erp__a", "upstream", "outcome"] {
        assert!(
            memchr::memmem::find(&sent, label.as_bytes()).is_some(),
            "{label}"
        );
    }
}
