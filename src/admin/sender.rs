//! The senders of requests to the admin listener.

use std::sync::Arc;

/// The sender of a request that is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminSender {
    /// The subject of a caller with a role; `None` for the token, a Unix socket, or open reading.
    pub subject: Option<Arc<str>>,
}
