//! Towards the upstreams: links, the probe, listings. Opens connections, decides nothing about
//! routes.

pub mod ask;
pub mod caller_login;
pub mod circuit;
pub mod client;
pub mod confinement;
mod cookies;
pub mod delegated_peer;
pub mod delegations;
pub mod error;
pub mod exchange;
pub mod gate;
pub mod health;
pub mod http;
mod instructions;
mod introduction;
mod leaving;
pub mod link;
pub mod list;
pub mod outbox;
pub mod peer;
pub mod probe;
pub mod quirks;
pub mod reaper;
mod request;
pub mod rounds;
pub mod sessions;
pub mod spans;
pub mod status;
pub mod stdio;
pub mod subscriptions;
pub mod watch;

pub use error::LinkError;
pub use exchange::{Exchange, RelayedMessage};
pub use gate::{Gate, InFlightSlot};
pub use health::HealthState;
pub use leaving::leave_session;
pub use link::{Link, Wire};
pub use peer::{Capabilities, Connection, Peer};
pub use request::OutboundRequest;
