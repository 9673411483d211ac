//! AWS credentials: Signature Version 4 for upstreams, and the AWS services that weir calls itself.

pub mod agentcore_identity;
mod api;
mod cache;
pub mod clock;
pub mod context;
pub mod control_plane;
pub mod http;
mod lambda;
pub mod rejection;
pub mod secrets_manager;
pub mod sign;
pub mod signer;
mod source;

pub use agentcore_identity::AgentcoreIdentityClient;
pub use context::AwsContext;
pub use control_plane::ControlPlane;
pub use lambda::{InvokeError, LambdaClient};
pub use signer::Signer;
