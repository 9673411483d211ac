//! OAuth 2: tokens from authorization servers.

mod callback;
pub mod code;
pub mod store;
