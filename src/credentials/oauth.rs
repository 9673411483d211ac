//! OAuth 2: tokens from authorization servers.

pub mod answer;
pub mod assertion;
mod callback;
pub mod client;
pub mod client_credentials;
pub mod code;
pub mod discovery;
mod door;
pub mod exchange;
pub mod http;
pub mod login;
mod proof;
mod register;
mod server;
pub mod store;
mod tokens;

pub use proof::ProofError;
pub use register::RegistrationError;
pub use server::FindError;
pub use tokens::TokensError;
