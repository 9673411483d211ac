//! OAuth 2: tokens of authorization servers, and logging in to them.

pub mod assertion;
pub mod authorization_code;
mod authorization_server;
mod callback;
mod client_authentication;
pub mod client_credentials;
pub mod discovery;
pub mod http;
pub mod login;
mod login_http;
mod registration;
mod shared_logins;
pub mod store;
pub mod token_client;
pub mod token_exchange;
mod token_request;
pub mod token_response;

pub use authorization_server::FindError;
pub use client_authentication::ClientSecretError;
pub use registration::RegistrationError;
pub use token_request::TokenRequestError;
