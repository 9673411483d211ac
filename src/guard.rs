//! The guard: what may pass, in both directions.
//!
//! The rules of weir, of an upstream and of a tool are merged into a plan for each route
//! ([`RoutePlan`]) when a config comes into force. A request looks its plan up once; where there is
//! none, its data is not looked at. [`validate`] checks arguments and results against the schemas of
//! their tool, and [`invisible`] finds characters in which text can be hidden from people.

mod blob;
pub mod coverage;
pub mod detectors;
pub mod fields;
mod findings;
pub mod invisible;
mod plan;
pub mod pseudonyms;
mod redact;
mod request;
pub mod strings;
pub mod validate;
mod views;

pub use findings::{Blocked, Direction, Findings};
pub use plan::{DirectionPlan, Guard, RoutePlan};
pub use request::RequestGuard;
