//! OAuth 2.

pub mod code;
