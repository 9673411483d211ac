//! The standard variables of OpenTelemetry.

use std::fmt;
use std::time::Duration;

use crate::config::TelemetryRule;
use crate::config::secrets::Env;

pub(super) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// The values of the variables. An empty one counts as not set.
#[derive(Default)]
pub(super) struct OtelEnv {
    pub(super) endpoint: Option<String>,
    pub(super) traces_endpoint: Option<String>,
    pub(super) logs_endpoint: Option<String>,
    pub(super) metrics_endpoint: Option<String>,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) gzip: bool,
    protocol: Option<String>,
    headers: Option<String>,
    service: Option<String>,
    attributes: Option<String>,
    sampler: Option<String>,
    ratio: Option<String>,
}

impl fmt::Debug for OtelEnv {
    /// Shows everything, for a fingerprint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = (&self.endpoint, &self.traces_endpoint, &self.logs_endpoint);
        let metrics = (&self.metrics_endpoint, self.interval);
        let sampler = (&self.sampler, &self.ratio);
        let resource = (&self.service, &self.attributes);
        let sending = (self.timeout, self.gzip, &self.protocol, &self.headers);
        write!(f, "{:?}", (urls, metrics, sampler, resource, sending))
    }
}

impl OtelEnv {
    /// Reads the variables. `may_disable`: whether `OTEL_SDK_DISABLED` counts.
    pub(super) fn read(env: Env<'_>, may_disable: bool) -> Self {
        let get = |name: &str| env(name).filter(|text| !text.trim().is_empty());
        let is = |name: &str, word: &str| {
            get(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
        };
        if may_disable && is("OTEL_SDK_DISABLED", "true") {
            return Self::default();
        }
        let millis = |name: &str| {
            let millis: u64 = get(name)?.trim().parse().ok()?;
            (millis > 0).then(|| Duration::from_millis(millis))
        };
        let sends_traces = !is("OTEL_TRACES_EXPORTER", "none");
        let when = |name: &str| get(name).filter(|_| sends_traces);
        Self {
            endpoint: when("OTEL_EXPORTER_OTLP_ENDPOINT"),
            traces_endpoint: when("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            logs_endpoint: get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"),
            metrics_endpoint: get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
            interval: millis("OTEL_METRIC_EXPORT_INTERVAL"),
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT"),
            gzip: is("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            protocol: get(PROTOCOL),
            headers: get(HEADERS),
            service: get("OTEL_SERVICE_NAME"),
            attributes: get("OTEL_RESOURCE_ATTRIBUTES"),
            sampler: get(SAMPLER),
            ratio: get("OTEL_TRACES_SAMPLER_ARG"),
        }
    }

    /// Returns whether they say where to send anything.
    pub(super) fn has_endpoint(&self) -> bool {
        let own = [
            &self.endpoint,
            &self.traces_endpoint,
            &self.logs_endpoint,
            &self.metrics_endpoint,
        ];
        own.iter().any(|own| own.is_some())
    }

    /// Checks that the endpoint of the variables speaks what weir speaks.
    pub(super) fn check_protocol(&self) -> Result<(), TelemetryRule> {
        match self.protocol.as_deref().map(str::trim) {
            None | Some("http/protobuf") => Ok(()),
            Some(_) => Err(TelemetryRule::Protocol),
        }
    }

    /// Returns whether the sender's decision is followed, and the part of the rest that is recorded.
    pub(super) fn sampler(&self) -> Result<(bool, f64), TelemetryRule> {
        let ratio = || {
            let text = self.ratio.as_deref().unwrap_or("1");
            parse_ratio(text).ok_or(TelemetryRule::Variable("OTEL_TRACES_SAMPLER_ARG"))
        };
        Ok(match self.sampler.as_deref().map(str::trim) {
            None | Some("parentbased_always_on") => (true, 1.0),
            Some("parentbased_always_off") => (true, 0.0),
            Some("parentbased_traceidratio") => (true, ratio()?),
            Some("always_on") => (false, 1.0),
            Some("always_off") => (false, 0.0),
            Some("traceidratio") => (false, ratio()?),
            Some(_) => return Err(TelemetryRule::Variable(SAMPLER)),
        })
    }

    /// Returns the headers of requests.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let pairs = pairs(self.headers.as_deref());
        pairs
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect()
    }

    /// Returns the attributes of the resource.
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let service = self.service.clone();
        let service = service.map(|name| ("service.name".to_owned(), name));
        let mut all: Vec<_> = service.into_iter().collect();
        for (key, value) in pairs(self.attributes.as_deref()) {
            if !all.iter().any(|(known, _)| *known == key) {
                all.push((key, value));
            }
        }
        all
    }
}

/// Reads `key=value,key=value`, with values in percent-encoding.
fn pairs(text: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let members = text.unwrap_or_default().split(',');
    members.filter_map(|member| {
        let (key, value) = member.split_once('=')?;
        // Of the query of a URL: the same escapes, without `+` for a space.
        let encoded = value.trim().replace('+', "%2B").replace('&', "%26");
        let mut decoded = url::form_urlencoded::parse(encoded.as_bytes());
        let value = decoded.next().map(|(text, more)| match more.is_empty() {
            true => text.into_owned(),
            // Base64 ends in `=`.
            false => format!("{text}={more}"),
        });
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), value.unwrap_or_default()))
    })
}

/// Reads a number from 0 to 1.
pub(super) fn parse_ratio(text: &str) -> Option<f64> {
    let ratio: f64 = text.trim().parse().ok()?;
    (0.0..=1.0).contains(&ratio).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let read = |text| pairs(Some(text)).collect::<Vec<_>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            read("a=b, authorization = Basic%20Zm9v+Zg== ,c=,=x,d"),
            [
                pair("a", "b"),
                pair("authorization", "Basic Zm9v+Zg=="),
                pair("c", "")
            ]
        );
        assert_eq!(pairs(None).count(), 0);
    }
}
