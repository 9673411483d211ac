//! Towards the callers: one MCP endpoint for both eras, over HTTP or stdio.

mod answer;
mod batch;
mod body;
mod changes;
mod cors;
mod drain;
mod endpoint;
pub mod http;
mod intake;
mod legacy;
mod listen;
mod modern;
mod session;
pub mod stdio;
mod tape;

pub use drain::{Draining, GivenUp};
pub use endpoint::Endpoint;
pub use http::{Front, endpoint, probes};
pub use session::{IDLE, Sessions};
