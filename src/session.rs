//! Legacy sessions of callers (2025-11-25 `basic/transports.mdx#session-management`): their sealed
//! ids, and their state in memory.
//!
//! A session's id is a sealed token ([`SessionToken`]), so any replica with the same key can serve
//! it. All else is in a [`CallerSession`]: sessions at upstreams, requests of upstreams that the
//! caller has not answered, the stream for messages that belong to no call. It is made when it is
//! first needed, and dropped when the session has done nothing for a while.

mod caller_session;
mod lives;
mod platform_sessions;
mod server_requests;
mod shared_lives;
mod sharing;
mod stream;
mod table;
mod token;
mod upstream_session;
mod upstream_sessions;
mod usage;

pub use caller_session::{CallerSession, ResourceSubscription, RunningCall};
pub use lives::DamagedSessions;
pub use platform_sessions::PlatformSessions;
pub use server_requests::{Asker, CallerAnswer, PendingServerRequest, ServerRequests};
pub use stream::{SessionStream, UnaskedMessage};
pub use table::{IDLE, SessionTable};
pub use token::{NewSession, SessionToken, session_name};
