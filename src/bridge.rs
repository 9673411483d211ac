//! The bridge between eras: what has to change in a message so that a caller of one era and an upstream of the other
//! understand each other. Within an era nothing changes but what belongs to the hop.
//!
//! Pure functions over messages; what carries them is in `relay`.

pub mod answer;
pub mod logs;
pub mod request;
pub mod task_ids;

pub use answer::AnswerBridge;
pub use logs::LogFilter;
pub use request::{Hop, HopMeta, HopParams};
