//! `telemetry:`, and the variables `OTEL_*`, which say what is not written
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::aws::check_sigv4;
use super::check::Check;
use super::http::check_header_value;
use super::keys::check_duration;
use super::secret_values::resolve_text_or_secret;
use super::target::HttpTarget;
use super::values::{check_url, expand, expand_map, header_name};
use super::{otel, tls};
use crate::config::rules::{HeaderSettingError, Rule};
use crate::config::{
    Connector, Fingerprint, OtlpEndpoint, SecretRef, Sigv4, Telemetry, TelemetryRule, TlsSettings,
    raw,
};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// Maximum time of one request to the receiver (OTLP exporter specification).
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often metrics are sent (OpenTelemetry's `OTEL_METRIC_EXPORT_INTERVAL`).
const INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time between two times that metrics are sent.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// The namespace of metrics for CloudWatch.
const NAMESPACE: &str = "weir";
/// The most attributes of the resource, and headers.
const MOST: usize = 64;

/// Validates `telemetry`; `None` if nothing is sent. `has_audit` is whether there is a record file.
pub(super) fn check_telemetry(
    check: &mut Check<'_>,
    (raw, has_audit): (Option<raw::Telemetry>, bool),
    at: &KeyPath,
) -> Option<Arc<Telemetry>> {
    let is_written = raw.is_some();
    let raw = raw.unwrap_or_default();
    let has_endpoint = raw.endpoint.is_some() || has_own_endpoint(&raw);
    let env = otel::OtelEnv::read(check.env, !is_written);
    if !has_endpoint && !env.has_endpoint() && raw.emf.is_none() {
        if is_written && !check.source.is_excused(at, "endpoint") {
            let (key, other) = ("telemetry", "endpoint");
            check.report(at, Rule::Needs { key, other });
        }
        return None;
    }
    if !has_endpoint && let Err(rule) = env.check_protocol() {
        check.report(at, Rule::from(rule));
    }
    let fingerprint = Fingerprint::of(&(&raw, &env));
    let headers = check_headers(check, &raw, &env, at);
    let sends_secrets = !headers.is_empty() || raw.auth.is_some();
    let url = UrlContext {
        allow_plain: raw.allow_plain_http == Some(true) || !sends_secrets,
        raw: &raw,
        env: &env,
    };
    let has_audit = has_audit || check.source.is_excused(&KeyPath::default(), "audit");
    if raw.audit == Some(true) && !has_audit {
        let (key, other) = ("telemetry.audit", "audit");
        check.report(&at.key("audit"), Rule::Needs { key, other });
    }
    let wanted = WantedSignals::of(&raw, &env, has_endpoint);
    let traces = url.find(check, url.traces(), at);
    let logs = (wanted.requests || wanted.audit).then(|| url.find(check, url.logs(), at));
    let metrics = wanted.metrics.then(|| url.find(check, url.metrics(), at));
    let (follows_parent, ratio) = check_sampler(check, &raw, &env, at);
    let timeout = env.timeout.unwrap_or(TIMEOUT);
    Some(Arc::new(Telemetry {
        traces,
        logs: logs.flatten(),
        logs_requests: wanted.requests,
        logs_audit: wanted.audit,
        metrics: metrics.flatten(),
        metrics_interval: check_interval(check, &raw, &env, at),
        emf_namespace: check_namespace(check, raw.emf.as_ref(), at),
        headers,
        tls: check_tls(check, &raw, at),
        follows_parent,
        ratio,
        resource: check_resource(check, &raw, &env, at),
        timeout: check_duration(check, raw.timeout, timeout, &at.key("timeout")),
        gzip: match raw.compression {
            Some(raw::Compression::Gzip) => true,
            Some(raw::Compression::None) => false,
            None => env.gzip,
        },
        fingerprint,
    }))
}

/// Returns whether the receiver of a signal is written.
fn has_own_endpoint(raw: &raw::Telemetry) -> bool {
    let own = [
        &raw.traces_endpoint,
        &raw.logs_endpoint,
        &raw.metrics_endpoint,
    ];
    own.iter().any(|own| own.is_some())
}

/// The signals that are sent besides spans.
struct WantedSignals {
    requests: bool,
    audit: bool,
    metrics: bool,
}

impl WantedSignals {
    /// Returns what is written, and otherwise what has a receiver of its own.
    fn of(raw: &raw::Telemetry, env: &otel::OtelEnv, has_endpoint: bool) -> Self {
        let has = |own: &Option<String>, of_env: &Option<String>| {
            own.is_some() || (!has_endpoint && of_env.is_some())
        };
        let logs = has(&raw.logs_endpoint, &env.logs_endpoint);
        let metrics = has(&raw.metrics_endpoint, &env.metrics_endpoint);
        Self {
            requests: raw.logs.unwrap_or(logs),
            audit: raw.audit.unwrap_or(false),
            metrics: raw.metrics.unwrap_or(metrics),
        }
    }
}

/// Returns the namespace of metrics for CloudWatch (CloudWatch API, `PutMetricData`).
fn check_namespace(
    check: &mut Check<'_>,
    raw: Option<&raw::CloudWatchLines>,
    at: &KeyPath,
) -> Option<String> {
    let Some(text) = raw?.namespace.as_deref() else {
        return Some(NAMESPACE.to_owned());
    };
    let at = at.key("emf").key("namespace");
    let written = expand(check, text, &at);
    // A variable that is not set is reported already.
    let is_unknown = written.is_empty() && !text.is_empty();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
    let is_legal = (1..=255).contains(&written.len()) && written.chars().all(is_allowed);
    if !is_legal && !is_unknown {
        check.report(&at, Rule::from(TelemetryRule::Namespace));
    }
    Some(written)
}

fn check_interval(
    check: &mut Check<'_>,
    raw: &raw::Telemetry,
    env: &otel::OtelEnv,
    at: &KeyPath,
) -> Duration {
    let base = env.interval.unwrap_or(INTERVAL);
    let written = raw.metrics_interval.clone();
    let interval = check_duration(check, written, base, &at.key("metrics_interval"));
    interval.max(LEAST_INTERVAL)
}

/// Where one signal goes, as it is written and as the variables say.
struct SignalUrls<'c> {
    own: Option<&'c String>,
    of_env: Option<&'c String>,
    key: &'static str,
    path: &'static str,
}

/// The parts that URLs are made of.
struct UrlContext<'c> {
    allow_plain: bool,
    raw: &'c raw::Telemetry,
    env: &'c otel::OtelEnv,
}

impl<'c> UrlContext<'c> {
    fn traces(&self) -> SignalUrls<'c> {
        SignalUrls {
            own: self.raw.traces_endpoint.as_ref(),
            of_env: self.env.traces_endpoint.as_ref(),
            key: "traces_endpoint",
            path: "v1/traces",
        }
    }

    fn logs(&self) -> SignalUrls<'c> {
        SignalUrls {
            own: self.raw.logs_endpoint.as_ref(),
            of_env: self.env.logs_endpoint.as_ref(),
            key: "logs_endpoint",
            path: "v1/logs",
        }
    }

    fn metrics(&self) -> SignalUrls<'c> {
        SignalUrls {
            own: self.raw.metrics_endpoint.as_ref(),
            of_env: self.env.metrics_endpoint.as_ref(),
            key: "metrics_endpoint",
            path: "v1/metrics",
        }
    }

    /// Returns where a signal goes: what is written wins, and of that what is of the signal alone.
    fn find(
        &self,
        check: &mut Check<'_>,
        urls: SignalUrls<'_>,
        at: &KeyPath,
    ) -> Option<OtlpEndpoint> {
        let (raw, env) = (self.raw, self.env);
        let SignalUrls { own, of_env, .. } = urls;
        let base = raw.endpoint.as_ref().map(|base| (base, "endpoint"));
        let (text, at, is_base) = match (own, base) {
            (Some(own), _) => (own, at.key(urls.key), false),
            (None, Some((base, key))) => (base, at.key(key), true),
            // A receiver that is written for one signal is not asked to take the other.
            (None, None) if has_own_endpoint(raw) => return None,
            (None, None) => match (of_env, &env.endpoint) {
                (Some(own), _) => (own, at.clone(), false),
                (None, Some(base)) => (base, at.clone(), true),
                (None, None) => return None,
            },
        };
        let mut url = check_url(check, text, self.allow_plain, &at)?;
        if is_base {
            add_path(&mut url, urls.path);
        }
        let sigv4 = self.sign(
            check,
            &url,
            &KeyPath::default().key("telemetry").key("auth"),
        );
        Some(OtlpEndpoint { url, sigv4 })
    }

    /// Returns how requests to a URL are signed: the service and the region are those of the URL, if
    /// they are not written.
    fn sign(&self, check: &mut Check<'_>, url: &Url, at: &KeyPath) -> Option<Box<Sigv4>> {
        let Some(raw::TelemetryAuth::Sigv4(raw)) = &self.raw.auth else {
            return None;
        };
        let target = HttpTarget {
            connector: Connector::Saas,
            url: url.clone(),
            gateway: None,
            region: None,
        };
        Some(check_sigv4(check, raw, Some(&target), at))
    }
}

/// Adds a path to that of a URL, of which a query stays.
fn add_path(url: &mut Url, path: &str) {
    let base = url.path().trim_end_matches('/');
    let path = format!("{base}/{path}");
    url.set_path(&path);
}

fn check_tls(check: &mut Check<'_>, raw: &raw::Telemetry, at: &KeyPath) -> TlsSettings {
    let at = at.key("tls");
    match &raw.tls {
        Some(written) => {
            if written.server_name.is_some() {
                let (key, other) = ("server_name", "telemetry");
                check.report(&at.key(key), Rule::NotWith { key, other });
            }
            tls::check_settings(check, written, &at)
        }
        None => TlsSettings::default(),
    }
}

fn check_headers(
    check: &mut Check<'_>,
    raw: &raw::Telemetry,
    env: &otel::OtelEnv,
    at: &KeyPath,
) -> Vec<(HeaderName, SecretRef)> {
    let mut headers: Vec<(HeaderName, SecretRef)> = Vec::new();
    let Some(written) = &raw.headers else {
        for (name, value) in env.headers() {
            match (header_name(&name), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(_)) => {
                    headers.push((name, SecretRef::Fixed(Secret::new(&value))));
                }
                _ => check.report(at, Rule::from(TelemetryRule::Variable(otel::HEADERS))),
            }
        }
        return headers;
    };
    if written.len() > MOST {
        check.report(&at.key("headers"), Rule::Most(MOST as u64));
    }
    for (name, value) in written {
        let at = at.key("headers").key(name);
        let name = check.ok(&at, header_name(name));
        let value = resolve_text_or_secret(check, value, &at);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        let value = check_header_value(check, value, &at);
        if headers.iter().any(|(taken, _)| *taken == name) {
            check.report(&at, HeaderSettingError::Twice);
        }
        headers.push((name, value));
    }
    headers
}

/// Returns whether the sender's decision is followed, and the part of the rest that is recorded.
fn check_sampler(
    check: &mut Check<'_>,
    raw: &raw::Telemetry,
    env: &otel::OtelEnv,
    at: &KeyPath,
) -> (bool, f64) {
    let Some(raw::Ratio(text)) = &raw.sample else {
        return match env.sampler() {
            Ok(sampler) => sampler,
            Err(rule) => {
                check.report(at, Rule::from(rule));
                (true, 1.0)
            }
        };
    };
    let ratio = otel::parse_ratio(text).ok_or(Rule::from(TelemetryRule::Ratio));
    (true, check.or(&at.key("sample"), ratio, 1.0))
}

/// Returns the attributes of the resource: what is written wins over the variables.
fn check_resource(
    check: &mut Check<'_>,
    raw: &raw::Telemetry,
    env: &otel::OtelEnv,
    at: &KeyPath,
) -> Vec<(String, String)> {
    let at = at.key("resource");
    let written = expand_map(check, raw.resource.as_ref(), &at);
    let mut all = written.into_iter().collect::<Vec<_>>();
    for (key, value) in env.resource() {
        if !all.iter().any(|(known, _)| *known == key) {
            all.push((key, value));
        }
    }
    if all.len() > MOST {
        check.report(&at, Rule::Most(MOST as u64));
    }
    all
}
