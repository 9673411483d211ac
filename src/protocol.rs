//! MCP as weir reads and writes it: envelopes, eras, headers, metadata, error codes, SSE.
//!
//! Nothing here does IO. The words of the specification are spelled once, in [`method`] and [`meta`].

pub mod bounds;
pub mod era;
pub mod error;
pub mod headers;
pub mod hops;
pub mod message;
pub mod meta;
pub mod method;
pub mod origin;
pub mod sse;
pub mod trace;
