//! OAuth 2: tokens from authorization servers.

pub mod answer;
pub mod assertion;
pub mod client;
pub mod client_credentials;
pub mod discovery;
pub mod exchange;
pub mod http;
