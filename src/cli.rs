//! The commands: one file each. What they print goes through [`output`].

pub mod demo;
pub mod output;
