//! `telemetry:`

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, de};

use super::auth::Sigv4;
use super::endpoint::TlsSettings;
use super::forms::{Duration, ScalarText};
use super::secret::TextOrSecret;

/// Spans of requests, log records and metrics, for OpenTelemetry: OTLP over HTTP with protobuf. What is not
/// written is read from the standard variables `OTEL_*`. In all text, `${VAR}` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Telemetry {
    /// The base URL of the receiver, such as `http://127.0.0.1:4318`; `/v1/traces`, `/v1/logs` and
    /// `/v1/metrics` are added. Without it, `OTEL_EXPORTER_OTLP_ENDPOINT` counts.
    pub(in crate::config) endpoint: Option<String>,
    /// The URL that spans are sent to, as it is. Default: `endpoint` with `/v1/traces`.
    pub(in crate::config) traces_endpoint: Option<String>,
    /// The URL that log records are sent to, as it is. Default: `endpoint` with `/v1/logs`.
    pub(in crate::config) logs_endpoint: Option<String>,
    /// The URL that metrics are sent to, as it is. Default: `endpoint` with `/v1/metrics`.
    pub(in crate::config) metrics_endpoint: Option<String>,
    /// Whether a log record is sent for each request. Default: `true` if `logs_endpoint` is written,
    /// else `false`.
    pub(in crate::config) logs: Option<bool>,
    /// Whether copies of the lines of the record file are sent, as log records. Needs `audit`.
    /// Default: `false`.
    pub(in crate::config) audit: Option<bool>,
    /// Whether the metrics are sent, for where nobody can scrape them. Default: `true` if
    /// `metrics_endpoint` is written, else `false`.
    pub(in crate::config) metrics: Option<bool>,
    /// How often the metrics are sent. Default: 60s.
    pub(in crate::config) metrics_interval: Option<Duration>,
    /// Metrics as lines on stdout, of which CloudWatch makes metrics, for where weir can send nothing.
    /// They are written as often as metrics are sent.
    pub(in crate::config) emf: Option<CloudWatchLines>,
    /// Additional headers of every request to the receiver: text, or a secret reference.
    pub(in crate::config) headers: Option<IndexMap<String, TextOrSecret>>,
    /// How weir authenticates to the receiver. Default: not at all, or by `headers`.
    pub(in crate::config) auth: Option<TelemetryAuth>,
    /// TLS settings, for `https` URLs.
    pub(in crate::config) tls: Option<TlsSettings>,
    /// Allow `http://` to other machines together with `headers` or `auth`, which can then be read on
    /// the way. Default: `false`.
    pub(in crate::config) allow_plain_http: Option<bool>,
    /// The part of requests that are recorded, from 0 to 1, where their senders do not say whether.
    /// The same requests are recorded by every weir of a chain. Default: 1.
    pub(in crate::config) sample: Option<Ratio>,
    /// Attributes of everything that this weir sends, such as `deployment.environment.name`.
    pub(in crate::config) resource: Option<IndexMap<String, ScalarText>>,
    /// Maximum time of one request to the receiver. Default: 10s.
    pub(in crate::config) timeout: Option<Duration>,
    /// Whether what is sent is compressed. Default: `none`.
    pub(in crate::config) compression: Option<Compression>,
}

/// Metrics in CloudWatch's embedded metric format.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CloudWatchLines {
    /// The namespace of the metrics. AgentCore Runtime's usual role may write to `bedrock-agentcore`.
    /// Default: `weir`.
    pub(in crate::config) namespace: Option<String>,
}

/// How weir authenticates to the receiver.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(tag = "type")]
pub(in crate::config) enum TelemetryAuth {
    /// Not at all, or by `headers`.
    None {},
    /// AWS Signature Version 4, for the OTLP endpoints of CloudWatch. The service is that of the URL:
    /// `xray`, `logs`, `monitoring`.
    Sigv4(Box<Sigv4>),
}

/// `gzip` or `none`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Compression {
    /// With gzip: a third of the bytes, for some CPU.
    Gzip,
    /// Not at all.
    None,
}

/// A number from 0 to 1.
#[derive(Clone, Debug)]
pub(in crate::config) struct Ratio(pub(in crate::config) String);

struct RatioText;

impl Visitor<'_> for RatioText {
    type Value = Ratio;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Ratio, E> {
        Ok(Ratio(text.to_owned()))
    }
}

impl<'de> de::Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RatioText)
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number from 0 to 1.",
            "type": "number",
            "minimum": 0,
            "maximum": 1,
        })
    }
}
