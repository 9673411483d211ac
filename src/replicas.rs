//! The state that replicas of one weir share: a store (Valkey or Redis) that all of them reach; and the
//! ids by which they tell one another apart.
//!
//! [`SharedStore`] keeps one connection, on which the commands of all tasks go and news of the other
//! replicas come. Nothing waits for it longer than `replicas.store.timeout`: while there is no
//! connection, whoever asks is told so at once, and goes on by a rule of its own. Everything that a
//! replica reads there and acts on is sealed with the key of the replicas, but for counters: who can
//! write in the store can make limits wrong and news lost, and nothing else.
//!
//! This room knows the protocol and no network: the caller gives it the way to connect.

mod connection;
mod id;
mod lead;
mod lease;
mod news;
mod sealed;
mod status;
mod store;
#[cfg(test)]
mod tests;

pub use connection::{Dial, DialError, DialFuture, DialedStore, StoreLogin, StoreStream};
pub use id::{ReplicaId, ReplicaTag};
pub(crate) use lead::{LedValue, milliseconds};
pub use lease::StoreLease;
pub use news::{NewsTopic, StoreNews};
pub use status::{ListingCounts, StoreState, StoreStatus};
pub use store::{SharedStore, StoreLost};
