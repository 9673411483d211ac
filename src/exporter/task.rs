//! The task that sends one signal.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::exporter::client::{ExportError, OtlpClient};
use crate::exporter::delivery::{Delivery, deliver};
use crate::telemetry::{ExportBuffer, Pipeline, Signal};

/// How often what waits is sent, full or not.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a stopping weir, or a reload, waits for the receiver to take what is left.
pub(super) const FLUSH: Duration = Duration::from_secs(2);

/// The task that sends one signal.
pub(super) struct ExportTask {
    pub(super) signal: Signal,
    pub(super) client: OtlpClient,
    pub(super) pipeline: Arc<Pipeline>,
    /// Cancelled when weir stops, or other settings are in force.
    pub(super) stop: CancellationToken,
}

impl ExportTask {
    /// Sends until it is told to stop, and then what is left.
    pub(super) async fn run(self) {
        let Some(buffer) = self.pipeline.buffer(self.signal) else {
            return;
        };
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.send_all(buffer) => {}
            () = too_late => {}
        }
        buffer.close();
        let mut lost = 0;
        while let Some(batch) = buffer.take() {
            lost += batch.items;
        }
        buffer.drop_items(lost);
        if lost > 0 {
            let (signal, host) = (self.signal.as_str(), self.client.host());
            tracing::warn!(signal, host, lost, "telemetry was not taken before the end");
        }
    }

    async fn send_all(&self, buffer: &ExportBuffer) {
        let mut is_failing = false;
        loop {
            let is_due = tokio::select! {
                () = buffer.wait_full() => false,
                () = tokio::time::sleep(INTERVAL) => true,
                () = self.stop.cancelled() => true,
            };
            // All that ends from now on is sent too, if it ends before the buffer is empty.
            let is_last = self.stop.is_cancelled();
            let next = || match is_due {
                true => buffer.take(),
                false => buffer.take_full(),
            };
            while let Some(batch) = next() {
                let context = (&self.pipeline.envelope, buffer);
                let note = |error: &ExportError| {
                    if !std::mem::replace(&mut is_failing, true) {
                        self.warn(error);
                    }
                };
                let delivery = deliver(&self.client, context, batch, &self.stop, note).await;
                self.report(&delivery, &mut is_failing);
            }
            if is_last {
                return;
            }
        }
    }

    fn warn(&self, error: &ExportError) {
        let (signal, host) = (self.signal.as_str(), self.client.host());
        tracing::warn!(
            signal,
            host,
            %error,
            "telemetry is not taken; calls go on, and what finds no room is dropped (weir_telemetry_dropped_total)"
        );
    }

    fn report(&self, delivery: &Delivery, is_failing: &mut bool) {
        let (signal, host) = (self.signal.as_str(), self.client.host());
        match delivery {
            Delivery::Taken(partial) => {
                if std::mem::take(is_failing) {
                    tracing::info!(signal, host, "telemetry is taken again");
                }
                if let Some(partial) = partial {
                    let (rejected, message) = (partial.rejected, &*partial.message);
                    tracing::warn!(
                        signal,
                        host,
                        rejected,
                        message,
                        "the receiver took a part of the telemetry"
                    );
                }
            }
            Delivery::Dropped(error) => {
                tracing::debug!(signal, host, %error, "a batch of telemetry is dropped");
            }
        }
    }
}
