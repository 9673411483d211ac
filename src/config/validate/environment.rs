//! `inherit_env`: the entries of a list.

use super::check::Check;
use crate::config::environment::EnvEntry;
use crate::config::rules::Rule;
use crate::document::path::KeyPath;

/// Parses the entries, and reports those that can match no variable.
pub(super) fn check_entries(
    check: &mut Check<'_>,
    written: Vec<String>,
    at: &KeyPath,
) -> Vec<EnvEntry> {
    let mut entries = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        let entry = EnvEntry::parse(text).ok_or(Rule::EnvEntry);
        entries.extend(check.ok(&at.item(index), entry));
    }
    entries
}
