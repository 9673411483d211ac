//! The task that writes metrics as lines for CloudWatch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::exporter::metrics_task::MetricsSource;
use crate::exporter::task::FLUSH;
use crate::telemetry::{EmfBaseline, EmfEncoder, Pipeline};

/// Writes whole lines, where CloudWatch Logs reads them. It may block.
pub type WriteLines = fn(&[u8]) -> std::io::Result<()>;

/// The task that writes all metrics, again and again, and once more at the end.
pub(super) struct EmfTask {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) source: Arc<MetricsSource>,
    pub(super) namespace: String,
    pub(super) interval: Duration,
    pub(super) write: WriteLines,
    /// Cancelled when weir stops, or other settings are in force.
    pub(super) stop: CancellationToken,
}

impl EmfTask {
    pub(super) async fn run(self) {
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.write_all() => {}
            () = too_late => self.pipeline.lose_metrics(),
        }
    }

    async fn write_all(&self) {
        let (mut before, mut is_failing) = (EmfBaseline::default(), false);
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.stop.cancelled() => {}
            }
            let is_last = self.stop.is_cancelled();
            before = self.write(before, &mut is_failing).await;
            if is_last {
                return;
            }
        }
    }

    /// Writes what has come since `before`, and returns what the next lines are compared with.
    async fn write(&self, before: EmfBaseline, is_failing: &mut bool) -> EmfBaseline {
        let encoder = self.source.encode(EmfEncoder::new(before));
        let (mut out, next) = encoder.finish(&self.namespace, SystemTime::now());
        let (left_out, write) = (out.left_out, self.write);
        out.lines.push(String::new());
        let text = out.lines.join("\n");
        // The reader at the other end may be slow.
        let written = tokio::task::spawn_blocking(move || write(text.as_bytes())).await;
        let is_written = matches!(written, Ok(Ok(())));
        if left_out > 0 || !is_written {
            self.pipeline.lose_metrics();
            if !std::mem::replace(is_failing, true) {
                tracing::warn!(
                    left_out,
                    is_written,
                    "not all metrics are written for CloudWatch"
                );
            }
        } else {
            *is_failing = false;
        }
        next
    }
}
