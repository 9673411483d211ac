//! Towards the callers: one MCP endpoint for both eras, over HTTP or stdio.

mod answer;
mod body;
mod changes;
mod guard;
pub mod http;
mod legacy;
mod modern;
mod session;
pub mod stdio;

pub use http::{Front, router};
pub use session::Sessions;
