//! Legacy sessions of callers (2025-11-25 `basic/transports.mdx#session-management`): their sealed ids, and what is
//! kept in memory for each of them.
//!
//! A session's id is a sealed token ([`SessionToken`]), so any replica with the same key can serve it. What a token
//! cannot hold is in a [`CallerSession`]: sessions at upstreams, requests of upstreams that wait for the caller's
//! answer, the stream for what is not part of an answer. It is made when it is first needed and forgotten when the
//! session does nothing.

mod caller_session;
mod server_requests;
mod stream;
mod table;
mod token;
mod upstream_session;

pub use caller_session::{CallerSession, ResourceSubscription, RunningCall};
pub use server_requests::{PendingServerRequest, ServerRequests};
pub use stream::{SessionStream, UnaskedMessage};
pub use table::{IDLE, SessionTable};
pub use token::SessionToken;
