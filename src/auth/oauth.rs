//! OAuth 2: tokens from authorization servers.

mod callback;
mod client;
pub mod code;
mod door;
pub mod login;
mod register;
mod server;
pub mod store;
mod tokens;

pub use client::ProofError;
pub use door::DoorError;
pub use register::RegistrationError;
pub use server::DiscoveryError;
pub use tokens::TokensError;
