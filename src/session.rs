//! Legacy sessions of callers (2025-11-25 `basic/transports.mdx#session-management`): their sealed
//! ids, and their state in memory.
//!
//! A session's id is a sealed token ([`SessionToken`]), so any replica with the same key can serve
//! it. All else is in a [`CallerSession`]: sessions at upstreams, requests of upstreams that the
//! caller has not answered, the stream for messages that belong to no call. It is made when it is
//! first needed, and dropped when the session has done nothing for a while.
//!
//! Modern callers have no session. Where a legacy upstream may ask them something, weir opens sessions
//! there for single calls ([`ExclusiveSession`]), and finds a call again whose caller comes back with
//! its answers ([`Crossings`]).

mod caller_session;
mod crossings;
mod exclusive;
mod exclusive_pool;
mod lives;
mod parked;
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
pub use crossings::Crossings;
pub use exclusive::{ExclusiveSession, SessionSort};
pub use lives::DamagedSessions;
pub use parked::{
    ExchangeId, ParkedCall, ParkedTicket, RequestDigest, Resumption, StateCheck, request_digest,
};
pub use platform_sessions::PlatformSessions;
pub use server_requests::{Asker, CallerAnswer, PendingServerRequest, ServerRequests};
pub use stream::{SessionStream, UnaskedMessage};
pub use table::{IDLE, SessionTable};
pub use token::{NewSession, SessionToken, session_name};
