//! Weir joins many MCP servers into one tool catalog.
//!
//! Layers only look down: [`json`], [`name`], [`secret`] (words) → [`protocol`], [`config`], [`catalog`]
//! (decisions, no IO) → [`auth`], [`connector`], [`upstream`] (outward) → [`live`] (moving state) →
//! [`relay`], [`front`], [`admin`] (inward) → [`cli`].

pub mod catalog;
pub mod config;
pub mod json;
pub mod name;
pub mod protocol;
pub mod secret;
pub mod upstream;
