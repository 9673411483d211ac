//! Leads: what one replica does for all of them, for as long as it says that it goes on.

use std::time::Duration;

use crate::replicas::lease::RELEASE;
use crate::replicas::store::{SharedStore, StoreLost};

/// Takes each lead that nobody has, and renews each that this replica has. Says of each whether it has
/// it now.
const CLAIM: &str = "local done = {} \
    for at, key in ipairs(KEYS) do \
      if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then done[at] = 1 \
      elseif redis.call('GET', key) == ARGV[1] then redis.call('PEXPIRE', key, ARGV[2]) done[at] = 1 \
      else done[at] = 0 end \
    end return done";

/// Writes a value for as long as it counts, if this replica has the lead.
const WRITE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) return 1";

/// A value that only the replica with a lead may write.
pub(crate) struct LedValue<'v> {
    /// The name of the lead.
    pub(crate) lead: &'v str,
    /// Where the value is.
    pub(crate) key: &'v str,
    /// The value.
    pub(crate) value: &'v str,
    /// How long it counts.
    pub(crate) life: Duration,
}

impl SharedStore {
    /// Takes the leads of these names that no replica has, and renews those that this one has, for some
    /// time. Returns of each whether this replica has it.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn claim_leads(
        &self,
        names: &[&str],
        life: Duration,
    ) -> Result<Vec<bool>, StoreLost> {
        let mut command = redis::cmd("EVAL");
        command.arg(CLAIM).arg(names.len());
        for name in names {
            command.arg(self.lead_key(name));
        }
        command.arg(self.me()).arg(milliseconds(life));
        let found: Vec<i64> = self.ask(&command).await?;
        Ok(found.into_iter().map(|has| has == 1).collect())
    }

    /// Writes a value, unless another replica has its lead by now. Returns whether it was written.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn write_led(&self, led: LedValue<'_>) -> Result<bool, StoreLost> {
        let mut command = redis::cmd("EVAL");
        command.arg(WRITE).arg(2);
        command.arg(self.lead_key(led.lead)).arg(led.key);
        command.arg(self.me()).arg(led.value);
        command.arg(milliseconds(led.life));
        Ok(self.ask::<u8>(&command).await? == 1)
    }

    /// Gives a lead back, soon, if this replica has it.
    pub(crate) fn give_up_lead(&self, name: &str) {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(self.lead_key(name));
        command.arg(self.me());
        self.post(command);
    }

    fn lead_key(&self, name: &str) -> String {
        self.key("lead", name)
    }
}

/// Returns a time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
