//! Keeps ends and renewals of sessions in the state folder, so that an ended session stays ended
//! after a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::durable;
use crate::session::SessionTable;

/// The file in the state folder.
const FILE: &str = "sessions";
/// The most bytes that are read of it: more than it can have.
const MOST_BYTES: u64 = 16 << 20;
/// How long changes are gathered before they are written, and the least time between two writes.
/// A session that was ended less than this before a crash may come back to life.
const GATHER: Duration = Duration::from_secs(1);

/// Reads what was stored, if anything. If it cannot be read, no session from before is known: what
/// was ended must not come back.
pub(super) fn restore(state_dir: &Path, sessions: &SessionTable) {
    let path = state_dir.join(FILE);
    let read = match std::fs::metadata(&path) {
        Ok(found) if found.len() > MOST_BYTES => Ok(Vec::new()),
        Ok(_) => std::fs::read(&path),
        Err(error) => Err(error),
    };
    let bytes = match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Ok(bytes) => bytes,
        Err(_) => Vec::new(),
    };
    if let Err(error) = sessions.restore(&bytes) {
        tracing::warn!(
            file = %path.display(), %error,
            "what is stored of sessions cannot be read: clients of earlier sessions have to initialize again"
        );
    }
}

/// Stores what changes, until `shutdown` and once more then.
pub(super) async fn store_changes(
    sessions: Arc<SessionTable>,
    state_dir: PathBuf,
    shutdown: CancellationToken,
) {
    let path = state_dir.join(FILE);
    let mut is_failing = false;
    loop {
        let changed = shutdown.run_until_cancelled(sessions.changed()).await;
        let gathered = shutdown.run_until_cancelled(tokio::time::sleep(GATHER));
        let is_last = changed.is_none() || gathered.await.is_none();
        let (bytes, path) = (sessions.to_bytes(), path.clone());
        let written = tokio::task::spawn_blocking(move || durable::replace(&path, &bytes)).await;
        match written {
            Ok(Ok(())) => is_failing = false,
            Ok(Err(error)) if !is_failing => {
                tracing::warn!(%error, "ends of sessions cannot be stored: they are forgotten at a restart");
                is_failing = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        if is_last {
            return;
        }
    }
}
