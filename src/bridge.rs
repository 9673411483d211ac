//! The bridge between eras: the changes that a message needs so that a caller of one era and an
//! upstream of the other understand each other. Within one era, only ids, tokens and `_meta`
//! change.
//!
//! The functions here have no side effects; `relay` sends the messages.

pub mod answer;
pub mod ask_rounds;
pub mod asks;
pub mod driven_task;
pub mod logs;
mod older_asks;
pub mod open_asks;
pub mod request;
pub mod request_state;
pub mod task_ids;
pub mod url_demand;

pub use answer::AnswerBridge;
pub use ask_rounds::{AskFailure, AskRounds, AskStep, CallerAsk, RetryMembers};
pub use asks::{AskKind, AskableClient};
pub use driven_task::{DrivenTask, TaskFailure, TaskStep};
pub use logs::LogFilter;
pub use open_asks::{MalformedAnswers, OpenAsks, missing_capability};
pub use request::{Hop, HopMeta, HopParams, LegacyClient};
pub use url_demand::{DemandStep, UrlDemand};
