//! Leases: what one replica does at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;

use crate::replicas::store::{SharedStore, StoreLost};
use crate::seal;

/// Removes a lease, if it is still the same.
pub(super) const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// The right to do something that no other replica does meanwhile. It ends by itself after its time,
/// because a replica may die with it; dropped, it is given back.
pub struct StoreLease {
    store: Arc<SharedStore>,
    key: String,
    holder: String,
}

impl fmt::Debug for StoreLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreLease")
    }
}

impl SharedStore {
    /// Takes the lease of this name for some time; `None` if another replica has it, or this one.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        name: &str,
        life: Duration,
    ) -> Result<Option<StoreLease>, StoreLost> {
        let (key, random) = (
            self.key("lease", name),
            seal::random().map_err(|_| StoreLost)?,
        );
        let holder = format!("{}{:016x}", self.me(), u64::from_be_bytes(random));
        let mut command = redis::cmd("SET");
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        command.arg(&key).arg(&holder).arg("NX").arg("PX").arg(life);
        let taken: Option<String> = self.ask(&command).await?;
        Ok(taken.map(|_| StoreLease {
            store: Arc::clone(self),
            key,
            holder,
        }))
    }
}

impl StoreLease {
    fn release_command(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(&self.key).arg(&self.holder);
        command
    }
}

impl Drop for StoreLease {
    fn drop(&mut self) {
        self.store.post(self.release_command());
    }
}
