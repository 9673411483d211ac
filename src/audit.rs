//! The record file: one line of JSON per request, each with the hash of the line before it, so that
//! a line that was changed, removed or moved is found.
//!
//! - [`AuditLine`] makes the members of a line; the chain adds `seq`, `prev` and `hash` in the order
//!   in which lines are written.
//! - [`AuditLog`] takes lines. One task (`writer`) writes them, many at once, and signs every
//!   1,000th line or minute (`checkpoint`). `file` keeps the file: it cuts a torn end off, rotates,
//!   and removes the oldest.
//! - [`verify`] finds the first break of a chain, [`RecordFilter`] finds lines.
//!
//! **No call without its record.** With `on_failure: refuse`, a call takes an [`AuditPlace`] before
//! it is sent: room for its line, which is given only while the file can be written. So a call that
//! was sent always has a line, which is written or waits in memory until it can be. What is lost is
//! what waited when the process was killed: some milliseconds, or longer while the disk was full.

mod chain;
mod checkpoint;
mod copies;
mod event;
mod file;
mod line;
mod log;
mod mapping;
mod names;
mod query;
mod recent;
mod state;
mod verify;
mod writer;

pub use chain::LineHash;
pub use checkpoint::{AuditPublicKey, AuditSigner};
pub use event::AuditEvent;
pub use file::AuditFileError;
pub use line::{AuditLine, GuardFinding, LONGEST_LINE, LONGEST_TEXT};
pub use log::{AuditKeys, AuditLog, AuditPlace, AuditStatus, NotRecorded};
pub use mapping::{RecordShape, in_shape};
pub use names::files_of;
pub use query::{FilterError, RecordFilter, RecordHead};
pub use recent::RecentRecords;
pub use verify::{BreakKind, ChainBreak, Verified, VerifyOptions, verify};
