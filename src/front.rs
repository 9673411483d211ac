//! Towards the callers: one MCP endpoint for both eras, over HTTP or stdio.

mod admission;
mod agent;
mod answer;
mod answering;
mod batch;
mod body;
mod changes;
mod cors;
mod drain;
mod elsewhere;
mod endpoint;
mod forwarding;
mod health_check;
mod http;
mod intake;
mod legacy;
mod listen;
mod modern;
mod patience;
mod probes;
mod replay;
mod resource_metadata;
mod running;
mod standing;
mod startup;
mod state;
pub mod stdio;
mod unanswered;

pub use drain::{Draining, GivenUp};
pub use endpoint::{EndpointService, endpoint};
pub use forwarding::{Forwarding, ReplicaTarget};
pub use probes::probes;
pub use state::Front;
