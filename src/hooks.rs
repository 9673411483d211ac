//! Hooks: somebody else's code that sees requests before they go to an upstream, and their answers.
//!
//! They get and give the interceptor payload of AgentCore Gateway, version 1.0 ([`payload`]), over
//! one of four carriers: a Lambda function, HTTP, a Unix socket, or a child process. A
//! [`HookLink`] is the way to one hook: it bounds time and concurrency, and has a circuit of its own,
//! so that a hook that is down costs nobody else anything.

mod child;
mod context;
mod failure;
mod headers;
mod http;
mod link;
pub mod payload;
mod set;
mod socket;
mod subject;

pub use context::{HookContext, HookSetupError};
pub use failure::HookFailure;
pub use headers::CallerHeaders;
pub use link::{HookLink, HookStatus};
pub use payload::{Intercepted, Interception};
pub use set::Hooks;
pub use subject::{HookPhase, HookSubject};
