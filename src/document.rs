//! YAML and JSON documents as trees with positions: line, column and key path.
//!
//! The config and `weir import` read their files through this.

mod advice;
pub(crate) mod de;
pub(crate) mod jsonc;
pub mod node;
pub(crate) mod parse;
pub(crate) mod path;

pub use node::{Position, SyntaxError};
