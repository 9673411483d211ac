//! `telemetry:` — spans, log records and metrics for OpenTelemetry.

use std::time::Duration;

use http::HeaderName;
use url::Url;

use super::{Fingerprint, SecretRef, Sigv4, TlsSettings};

/// Where spans, log records and metrics go, and which.
#[derive(Debug)]
pub struct Telemetry {
    /// Where spans go; `None` if they are not sent.
    pub traces: Option<OtlpEndpoint>,
    /// Where log records go; `None` if they are not sent.
    pub logs: Option<OtlpEndpoint>,
    /// Whether there is a log record for each request.
    pub logs_requests: bool,
    /// Whether there is a log record for each line of the record file.
    pub logs_audit: bool,
    /// Where metrics go; `None` if they are not sent.
    pub metrics: Option<OtlpEndpoint>,
    /// How often metrics are sent.
    pub metrics_interval: Duration,
    /// The namespace of metrics that are written as lines for CloudWatch; `None` if they are not.
    pub emf_namespace: Option<String>,
    /// Additional headers of every request.
    pub headers: Vec<(HeaderName, SecretRef)>,
    /// TLS towards the receiver.
    pub tls: TlsSettings,
    /// Whether the decision of a request's sender is followed, where it sent one.
    pub follows_parent: bool,
    /// The part of traces that is recorded where weir decides, 0 to 1.
    pub ratio: f64,
    /// Attributes of everything that is sent.
    pub resource: Vec<(String, String)>,
    /// Maximum time of one request.
    pub timeout: Duration,
    /// Whether what is sent is compressed with gzip.
    pub gzip: bool,
    /// Equal for two configs that mean the same.
    pub fingerprint: Fingerprint,
}

/// Where one signal goes.
#[derive(Debug)]
pub struct OtlpEndpoint {
    /// The URL, with its path.
    pub url: Url,
    /// How requests are signed, if they are.
    pub sigv4: Option<Box<Sigv4>>,
}

impl Telemetry {
    /// Returns a digest of all settings, if there are some.
    pub(super) fn digest(settings: Option<&Self>) -> Option<String> {
        settings.map(|settings| settings.fingerprint.to_hex())
    }
}

/// A rule of `telemetry` that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryRule {
    /// `telemetry.sample`
    #[error("not a number from 0 to 1")]
    Ratio,
    /// A variable of OpenTelemetry that weir cannot use.
    #[error(
        "the environment variable `{0}` has a value that weir cannot use: correct it, or write the setting below `telemetry`"
    )]
    Variable(&'static str),
    /// `telemetry.emf.namespace`
    #[error("not a namespace: 1 to 255 letters, digits and `.-_/#:`")]
    Namespace,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`
    #[error(
        "the environment variable `OTEL_EXPORTER_OTLP_PROTOCOL` must be `http/protobuf`, which is all that weir speaks: set it so, or write `telemetry.endpoint`"
    )]
    Protocol,
}
