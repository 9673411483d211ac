//! Policy: what callers may do, in the language Cedar, with the entities of AgentCore.
//!
//! The policies of a config are taken apart once ([`PolicyRules`]) and sliced for each catalog
//! ([`Policies`]): the policies that apply to a route are a small set of their own. Callers between
//! whom no policy can tell a difference are one class ([`ClassKey`]); what a class sees is computed
//! once. A [`Decision`] that allows makes a [`Permit`], without which nothing is sent.

mod access;
mod actions;
mod asked;
mod bits;
mod classes;
mod classify;
mod decision;
mod entities;
mod findings;
mod input;
mod input_types;
mod list_form;
mod permit;
mod policies;
mod request;
mod rules;
mod slices;
#[cfg(test)]
pub(crate) mod tests;
mod trials;
mod validation;
mod views;

pub use access::{Access, AccessChange, AccessItem, CallerName, KnownCaller, compare_access};
pub use bits::BitSet;
pub use classes::ClassKey;
pub use decision::Decision;
pub use findings::PolicyFinding;
pub use permit::Permit;
pub use policies::Policies;
pub use request::PolicyRequest;
pub use rules::PolicyRules;
pub use trials::FailedPolicyTest;
pub use views::{ClassView, Visible};
