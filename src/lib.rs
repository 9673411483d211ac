//! Weir joins many MCP servers into one tool catalog.
//!
//! Layers only look down: [`json`], [`latest`], [`name`], [`pem`], [`secret`], [`seal`] (words) → [`files`] → [`protocol`], [`config`],
//! [`catalog`] (decisions, no IO) → [`metrics`] → [`tls`], [`auth`], [`upstream`], [`connector`] (outward) → [`live`] (moving
//! state) → [`relay`], [`front`], [`admin`], [`connections`] (inward) → [`server`] → [`cli`].

pub mod admin;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod connections;
pub mod connector;
pub mod files;
pub mod front;
pub mod json;
pub mod latest;
pub mod live;
pub mod metrics;
pub mod name;
pub mod pem;
pub mod protocol;
pub mod relay;
pub mod seal;
pub mod secret;
pub mod server;
pub mod tls;
pub mod upstream;

pub use server::{Options, ServeError, Server};
