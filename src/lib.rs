//! Weir joins many MCP servers into one tool catalog.
//!
//! Layers only look down: [`build_info`], [`document`], [`json`], [`latest`], [`lookups`], [`name`], [`pem`], [`printable`], [`recent`], [`secret`], [`seal`], [`sigv4`] (words) → [`files`] → [`protocol`], [`config`],
//! [`catalog`] (decisions, no IO) → [`guard`], [`telemetry`] → [`metrics`], [`durable`], [`processes`] → [`audit`], `record` → [`limits`] → [`tls`], [`credentials`], [`authentication`], [`exporter`], [`upstream`], [`hooks`], [`connector`] (outward) → [`live`] (moving
//! state) → [`relay`], [`front`], [`admin`], [`connections`] (inward) → [`page`] → [`server`] → [`import`] → [`cli`].

#![forbid(unsafe_code)]

pub mod admin;
pub mod allowance;
pub mod audit;
pub mod authentication;
pub mod bridge;
pub mod build_info;
pub mod caller;
pub mod catalog;
pub mod classes;
pub mod cli;
pub mod config;
pub mod connections;
pub mod connector;
pub mod credentials;
pub mod document;
pub mod durable;
pub mod exporter;
pub mod files;
pub mod front;
pub mod guard;
pub mod hex;
pub mod hooks;
pub mod import;
pub mod json;
pub mod large;
pub mod latest;
pub mod limits;
pub mod live;
pub mod lookups;
pub mod memory;
pub mod metrics;
pub mod name;
pub mod page;
pub mod pem;
pub mod policy;
pub mod printable;
pub mod processes;
pub mod protocol;
pub mod recent;
pub mod record;
pub mod relay;
pub mod replicas;
pub mod seal;
pub mod secret;
pub mod server;
pub mod session;
pub mod sigv4;
pub mod telemetry;
pub mod tls;
pub mod upstream;

pub use server::{Options, ServeError, Server};
