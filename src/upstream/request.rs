//! A request to an upstream, before its envelope is written.

use crate::memory::MemoryShare;
use http::HeaderMap;

/// A request to an upstream, all but its JSON-RPC envelope.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// The JSON-RPC id, from [`Link::next_id`](super::Link::next_id). Progress tokens are the same
    /// number.
    pub id: u64,
    /// The method.
    pub method: &'static str,
    /// The params as JSON text, with this hop's `_meta`.
    pub params: String,
    /// Headers for an upstream over HTTP: `Mcp-*` where it is modern, and the caller's trace
    /// context.
    pub headers: HeaderMap,
    /// The share that pays for the answer: that of the caller's connection, or of the upstream for
    /// requests of weir's own.
    pub memory: MemoryShare,
}

impl OutboundRequest {
    /// Counts the bytes of its params and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
        self.params.len() + headers.sum::<usize>()
    }
}
