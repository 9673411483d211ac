//! The task that sends metrics.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::exporter::client::OtlpClient;
use crate::exporter::task::FLUSH;
use crate::telemetry::{EmfEncoder, Pipeline};

/// Makes all metrics as they stand, encoded as items of an [`crate::telemetry::Envelope`].
type MakeMetrics = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// Adds all metrics as they stand to lines for CloudWatch.
type AddMetrics = Box<dyn Fn(EmfEncoder) -> EmfEncoder + Send + Sync>;

/// Where metrics come from: nowhere until weir has some.
#[derive(Default)]
pub struct MetricsSource(OnceLock<(MakeMetrics, AddMetrics)>);

impl MetricsSource {
    /// Has the metrics made in these ways from now on, unless there are ways already.
    pub fn set(
        &self,
        make: impl Fn() -> Vec<u8> + Send + Sync + 'static,
        add: impl Fn(EmfEncoder) -> EmfEncoder + Send + Sync + 'static,
    ) {
        let _ = self.0.set((Box::new(make), Box::new(add)));
    }

    /// Adds the metrics to lines.
    pub(super) fn encode(&self, lines: EmfEncoder) -> EmfEncoder {
        match self.0.get() {
            Some((_, add)) => add(lines),
            None => lines,
        }
    }
}

impl fmt::Debug for MetricsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSource").finish_non_exhaustive()
    }
}

/// The task that sends metrics: all of them, again and again, and once more at the end. They count
/// from the start of weir, so that one time that is missed loses nothing but its moment.
pub(super) struct MetricsTask {
    pub(super) client: OtlpClient,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) source: Arc<MetricsSource>,
    pub(super) interval: Duration,
    /// Cancelled when weir stops, or other settings are in force.
    pub(super) stop: CancellationToken,
}

impl MetricsTask {
    pub(super) async fn run(self) {
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.send_all() => {}
            () = too_late => self.pipeline.lose_metrics(),
        }
    }

    async fn send_all(&self) {
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.stop.cancelled() => {}
            }
            let is_last = self.stop.is_cancelled();
            if let Some((make, _)) = self.source.0.get() {
                self.send(make(), &mut is_failing).await;
            }
            if is_last {
                return;
            }
        }
    }

    async fn send(&self, metrics: Vec<u8>, is_failing: &mut bool) {
        let body = self.pipeline.envelope.wrap(&metrics);
        let body = self.client.encode(body).await;
        let host = self.client.host();
        let was_failing = std::mem::take(is_failing);
        match self.client.send(&body).await {
            Ok(partial) => {
                if was_failing {
                    tracing::info!(host, "metrics are taken again");
                }
                if let Some(partial) = partial {
                    let (rejected, message) = (partial.rejected, &*partial.message);
                    tracing::warn!(
                        host,
                        rejected,
                        message,
                        "the receiver took a part of the metrics"
                    );
                }
            }
            Err(error) => {
                *is_failing = true;
                self.pipeline.lose_metrics();
                if !was_failing {
                    tracing::warn!(host, %error, "metrics are not taken; they are sent again the next time");
                }
            }
        }
    }
}
