//! Towards the callers: one MCP endpoint for both eras, over HTTP or stdio.

mod answer;
mod body;
mod changes;
mod endpoint;
mod guard;
pub mod http;
mod legacy;
mod modern;
mod session;
pub mod stdio;

pub use endpoint::Endpoint;
pub use http::{Draining, Front, endpoint, probes};
pub use session::Sessions;
