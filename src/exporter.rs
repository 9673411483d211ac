//! Sends spans, log records and metrics to a receiver of OpenTelemetry: OTLP over HTTP with protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! One task for each signal takes what waits in the buffers of the [`Pipeline`], 512 items at a time,
//! at least once a second; another one sends all metrics, from time to time. Calls never wait for it. What a slow or broken receiver does not take in
//! time is dropped, and counted.

mod client;
mod delivery;
mod emf_task;
mod metrics_task;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{Fingerprint, Telemetry};
use crate::credentials::{CredentialsContext, SetupError};
use crate::name::Instance;
use crate::seal;
use crate::telemetry::{LogKinds, Pipeline, Sampler, Signal, Tracer};
use client::OtlpClient;
use emf_task::EmfTask;
use metrics_task::MetricsTask;
use task::ExportTask;

pub use emf_task::WriteLines;
pub use metrics_task::MetricsSource;

/// The exporter of one weir, which follows its config.
#[derive(Debug)]
pub struct Exporter {
    tracer: Arc<Tracer>,
    context: CredentialsContext,
    /// Tells the processes of replicas apart: `service.instance.id`.
    process: String,
    /// Where metrics come from.
    metrics: Arc<MetricsSource>,
    /// Writes lines for CloudWatch; `None` where there is no place for them.
    write_lines: Option<WriteLines>,
    running: Option<RunningExport>,
}

/// The export of the telemetry of one config.
#[derive(Debug)]
struct RunningExport {
    settings: Fingerprint,
    stop: CancellationToken,
}

/// The effect of another config on the exporter.
pub enum ExportChange {
    /// Nothing.
    None,
    /// Nothing is sent any more.
    Off,
    /// Something is sent, or elsewhere.
    To(NextExport),
}

/// Other settings, ready to be put in force.
pub struct NextExport {
    pipeline: Arc<Pipeline>,
    settings: Fingerprint,
    clients: Vec<(Signal, OtlpClient)>,
    /// How often metrics are sent.
    interval: Duration,
    /// The namespace of lines for CloudWatch; `None` if there are none.
    namespace: Option<String>,
}

impl Exporter {
    /// Makes an exporter that sends nothing yet.
    #[must_use]
    pub fn new(
        tracer: Arc<Tracer>,
        context: CredentialsContext,
        write_lines: Option<WriteLines>,
    ) -> Self {
        let random = seal::random::<8>().unwrap_or_default();
        Self {
            tracer,
            context,
            process: format!("{:016x}", u64::from_be_bytes(random)),
            metrics: Arc::default(),
            write_lines,
            running: None,
        }
    }

    /// Returns the place of what makes the metrics, which is put there once weir has them.
    #[must_use]
    pub fn metrics(&self) -> &MetricsSource {
        &self.metrics
    }

    /// Makes what puts other settings in force. Opens no connection.
    ///
    /// # Errors
    /// A file or a secret that cannot be used.
    pub fn prepare(
        &self,
        settings: Option<&Telemetry>,
        instance: Option<&Instance>,
    ) -> Result<ExportChange, SetupError> {
        let current = self.running.as_ref().map(|running| running.settings);
        if current == settings.map(|settings| settings.fingerprint) {
            return Ok(ExportChange::None);
        }
        match settings {
            Some(settings) => self.make(settings, instance).map(ExportChange::To),
            None => Ok(ExportChange::Off),
        }
    }

    fn make(
        &self,
        settings: &Telemetry,
        instance: Option<&Instance>,
    ) -> Result<NextExport, SetupError> {
        let endpoints = [
            (Signal::Traces, settings.traces.as_ref()),
            (Signal::Logs, settings.logs.as_ref()),
            (Signal::Metrics, settings.metrics.as_ref()),
        ];
        let clients = endpoints.into_iter().filter_map(|(signal, endpoint)| {
            let client = OtlpClient::new(settings, endpoint?, &self.context);
            Some(client.map(|client| (signal, client)))
        });
        let clients = clients.collect::<Result<_, _>>()?;
        let sampler = settings.traces.as_ref().map(|_| Sampler {
            follows_parent: settings.follows_parent,
            ratio: settings.ratio,
        });
        let has_logs = settings.logs.is_some();
        let log_kinds = LogKinds {
            requests: settings.logs_requests && has_logs,
            audit: settings.logs_audit && has_logs,
        };
        let resource = self.resource(settings, instance);
        let resource = resource.iter().map(|(key, value)| (&**key, &**value));
        Ok(NextExport {
            pipeline: self.tracer.make_pipeline(sampler, log_kinds, resource),
            interval: settings.metrics_interval,
            namespace: settings.emf_namespace.clone(),
            settings: settings.fingerprint,
            clients,
        })
    }

    /// Returns the attributes of the resource: those of the config, and those that it leaves open.
    fn resource(&self, settings: &Telemetry, instance: Option<&Instance>) -> Vec<(String, String)> {
        let own = [
            ("service.name", Some("weir")),
            ("service.version", Some(env!("CARGO_PKG_VERSION"))),
            ("service.instance.id", Some(&*self.process)),
            ("weir.instance", instance.map(Instance::as_str)),
        ];
        let mut all = settings.resource.clone();
        for (key, value) in own {
            let is_written = all.iter().any(|(known, _)| known == key);
            if let Some(value) = value.filter(|_| !is_written) {
                all.push((key.to_owned(), value.to_owned()));
            }
        }
        all
    }

    /// Puts other settings in force. What was recorded under the earlier ones is still sent, for two
    /// seconds at most.
    pub fn apply(&mut self, change: ExportChange) {
        let next = match change {
            ExportChange::None => return,
            ExportChange::Off => None,
            ExportChange::To(next) => Some(next),
        };
        let pipeline = next.as_ref().map(|next| Arc::clone(&next.pipeline));
        self.tracer.replace(pipeline);
        if let Some(before) = self.running.take() {
            before.stop.cancel();
        }
        let Some(next) = next else { return };
        let stop = self.context.stop.child_token();
        if let Some(namespace) = next.namespace {
            let (pipeline, stop) = (Arc::clone(&next.pipeline), stop.clone());
            self.write_metrics(namespace, next.interval, pipeline, stop);
        }
        for (signal, client) in next.clients {
            let (pipeline, stop) = (Arc::clone(&next.pipeline), stop.clone());
            if signal == Signal::Metrics {
                let task = MetricsTask {
                    client,
                    pipeline,
                    source: Arc::clone(&self.metrics),
                    interval: next.interval,
                    stop,
                };
                self.context.tasks.spawn(task.run());
                continue;
            }
            let task = ExportTask {
                signal,
                client,
                pipeline,
                stop,
            };
            self.context.tasks.spawn(task.run());
        }
        self.running = Some(RunningExport {
            settings: next.settings,
            stop,
        });
    }

    /// Starts to write metrics for CloudWatch.
    fn write_metrics(
        &self,
        namespace: String,
        interval: Duration,
        pipeline: Arc<Pipeline>,
        stop: CancellationToken,
    ) {
        let Some(write) = self.write_lines else {
            let reason = "stdout belongs to the client";
            tracing::warn!(
                reason,
                "no metrics are written: `telemetry.emf` has no place"
            );
            return;
        };
        let task = EmfTask {
            pipeline,
            source: Arc::clone(&self.metrics),
            namespace,
            interval,
            write,
            stop,
        };
        self.context.tasks.spawn(task.run());
    }
}
