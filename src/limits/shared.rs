//! Rates that replicas count together, in their store.
//!
//! Each request is counted here first, and then there, so that a replica without the store knows how
//! much it has let pass itself. The store keeps one number for each rule and key: when all that was
//! taken has come back, by its own clock. A key is forgotten once it has everything back.

use std::sync::Arc;
use std::time::Duration;

use crate::caller::ShareKey;
use crate::hex;
use crate::limits::key::RateKey;
use crate::replicas::{SharedStore, StoreLost};

/// Takes of all keys, or of none. For each: the microseconds in which what is taken comes back, and
/// those that may be owed before it. Returns the number of the first key that has not enough left,
/// or 0, and the microseconds until it has.
const TAKE: &str = "\
local t = redis.call('TIME') \
local now = (t[1] - 1600000000) * 1000000 + t[2] \
local after = {} \
for i = 1, #KEYS do \
  local at = tonumber(redis.call('GET', KEYS[i]) or 0) \
  if at < now then at = now end \
  local over = at - now - ARGV[2 * i] \
  if over > 0 then return {i, math.ceil(over)} end \
  after[i] = at + ARGV[2 * i - 1] \
end \
for i = 1, #KEYS do \
  local left = math.ceil((after[i] - now) / 1000) + 1 \
  redis.call('SET', KEYS[i], string.format('%.3f', after[i]), 'PX', left) \
end \
return {0, 0}";

/// Takes of a key whatever is left, or gives back.
const ADD: &str = "\
local t = redis.call('TIME') \
local now = (t[1] - 1600000000) * 1000000 + t[2] \
local at = tonumber(redis.call('GET', KEYS[1]) or 0) \
if at < now then at = now end \
at = at + ARGV[1] \
if at <= now then redis.call('DEL', KEYS[1]) return 0 end \
redis.call('SET', KEYS[1], string.format('%.3f', at), 'PX', math.ceil((at - now) / 1000) + 1) \
return 1";

/// Rates in the store.
#[derive(Debug)]
pub struct SharedRates {
    store: Arc<SharedStore>,
}

/// An amount to be taken of one rate.
#[derive(Debug)]
pub(super) struct SharedAmount {
    /// The key in the store.
    pub(super) key: String,
    /// The nanoseconds in which it comes back.
    pub(super) nanos: u64,
    /// The nanoseconds of what may be owed before it.
    pub(super) owed: u64,
}

impl SharedRates {
    /// Makes the rates of a store.
    #[must_use]
    pub fn new(store: Arc<SharedStore>) -> Arc<Self> {
        Arc::new(Self { store })
    }

    pub(super) fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Returns the key of a rate: of a rule, of requests or of bytes, for the requests that count
    /// together.
    pub(super) fn key(&self, rule: &str, of: &str, key: &RateKey) -> String {
        let (kind, name) = describe(key);
        self.store
            .key("rate", &self.store.mark(&[rule, of, kind, name.as_str()]))
    }

    /// Takes all amounts, or none. Returns the index of the first one of which there is not enough
    /// left, and for how long.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn take(
        &self,
        amounts: &[SharedAmount],
    ) -> Result<Option<(usize, Duration)>, StoreLost> {
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(amounts.len());
        for amount in amounts {
            command.arg(&amount.key);
        }
        for amount in amounts {
            command.arg(micros(amount.nanos)).arg(micros(amount.owed));
        }
        let (number, wait): (usize, u64) = self.store.ask(&command).await?;
        let refused = number.checked_sub(1);
        Ok(refused.map(|index| (index, Duration::from_micros(wait))))
    }

    /// Takes nanoseconds, whether they are left or not.
    pub(super) fn charge(&self, key: &str, nanos: u64) {
        self.add(key, &micros(nanos));
    }

    /// Gives nanoseconds back.
    pub(super) fn refund(&self, key: &str, nanos: u64) {
        self.add(key, &format!("-{}", micros(nanos)));
    }

    fn add(&self, key: &str, micros: &str) {
        let mut command = redis::cmd("EVAL");
        command.arg(ADD).arg(1).arg(key).arg(micros);
        self.store.post(command);
    }
}

/// Writes nanoseconds as microseconds.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

/// Describes a key by its kind and name, the same on each replica.
fn describe(key: &RateKey) -> (&'static str, String) {
    match key {
        RateKey::All => ("all", String::new()),
        RateKey::Caller(ShareKey::Local) => ("local", String::new()),
        RateKey::Caller(ShareKey::Address(address)) => ("address", address.to_string()),
        RateKey::Caller(ShareKey::Principal(principal)) => {
            ("principal", hex::text(&principal.bytes()))
        }
        RateKey::Tool(tool) => ("tool", tool.as_ref().to_owned()),
        RateKey::Upstream(upstream) => ("upstream", upstream.as_str().to_owned()),
        RateKey::Class(None) => ("nobody", String::new()),
        RateKey::Class(Some(class)) => ("class", hex::text(class.as_bytes())),
    }
}
