//! Upstreams: how weir reaches them and what it knows about them.

pub mod guard;
pub mod stdio;
