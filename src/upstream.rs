//! Towards the upstreams: links, the probe, listings. Opens connections, decides nothing about routes.

pub mod ask;
pub mod circuit;
pub mod client;
pub mod error;
pub mod exchange;
pub mod gate;
pub mod http;
mod introduction;
pub mod link;
pub mod list;
pub mod peer;
pub mod probe;
pub mod quirks;
pub mod reaper;
pub mod sessions;
pub mod standing;
pub mod status;
pub mod stdio;
pub mod subscriptions;
pub mod watch;

pub use error::LinkError;
pub use exchange::Exchange;
pub use gate::{Gate, Place};
pub use link::{Link, Outbound, Wire};
pub use peer::{Offers, Peer, Via};
pub use standing::Standing;
