//! OAuth 2: tokens from authorization servers.

pub mod code;
pub mod store;
