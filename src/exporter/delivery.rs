//! Batches on their way: sent again while a receiver is busy, and counted if it never takes them.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exporter::client::{ExportError, OtlpClient};
use crate::telemetry::{Batch, Envelope, ExportBuffer, PartialSuccess};

/// The pause before the second attempt; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever the receiver asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a batch is sent again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of a batch.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The receiver took it, or all but some of it.
    Taken(Option<PartialSuccess>),
    /// It did not, and the batch is dropped: why.
    Dropped(ExportError),
}

/// Counts the items of a batch as dropped, unless it was delivered.
struct DroppedItems<'b> {
    buffer: &'b ExportBuffer,
    items: u64,
}

impl Drop for DroppedItems<'_> {
    fn drop(&mut self) {
        self.buffer.drop_items(self.items);
    }
}

/// Sends a batch, again and again while the receiver may take it later. After `stop` there is one more
/// attempt. `note` is told each failure.
pub(super) async fn deliver(
    client: &OtlpClient,
    (envelope, buffer): (&Envelope, &ExportBuffer),
    batch: Batch,
    stop: &CancellationToken,
    mut note: impl FnMut(&ExportError),
) -> Delivery {
    let mut dropped = DroppedItems {
        buffer,
        items: batch.items,
    };
    let body = client.encode(envelope.wrap(&batch.bytes)).await;
    drop(batch);
    let (until, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
    loop {
        let is_last = stop.is_cancelled();
        let error = match client.send(&body).await {
            Ok(partial) => {
                dropped.items = partial.as_ref().map_or(0, |partial| partial.rejected);
                return Delivery::Taken(partial);
            }
            Err(error) => error,
        };
        note(&error);
        let ExportError::Later { after, .. } = &error else {
            return Delivery::Dropped(error);
        };
        let wait = after.unwrap_or(pause).min(LONGEST_PAUSE);
        if is_last || Instant::now() + wait > until {
            return Delivery::Dropped(error);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
