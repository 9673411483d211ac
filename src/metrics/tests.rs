use std::time::Duration;

use super::*;

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
