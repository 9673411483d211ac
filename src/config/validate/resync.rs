//! `resync:`: an interval or a cron expression.

use super::check::Check;
use crate::config::error::ProblemKind;
use crate::config::raw::forms;
use crate::config::resync::parser;
use crate::config::{Resync, units};
use crate::document::path::KeyPath;

/// Checks a schedule. One that cannot be read is reported, and replaced by `base`.
pub(super) fn check_resync(
    check: &mut Check<'_>,
    written: forms::Resync,
    base: Resync,
    at: &KeyPath,
) -> Resync {
    let (at, parsed) = match written {
        forms::Resync::Cron(text) => (at.key("cron"), parse_cron(text)),
        forms::Resync::Text(text) if is_meant_as_cron(&text) => (at.clone(), parse_cron(text)),
        forms::Resync::Text(text) => {
            let every = units::duration(&text).map(Resync::Every);
            (at.clone(), every.map_err(ProblemKind::from))
        }
    };
    check.or(&at, parsed, base)
}

/// `@daily`, five words or more, or nothing but `*`, numbers and what stands between them.
fn is_meant_as_cron(text: &str) -> bool {
    let words = text.split_whitespace().count();
    let of_cron = |c: char| c.is_ascii_digit() || c.is_whitespace() || "*,-/?".contains(c);
    let only_those = text.chars().all(of_cron);
    text.starts_with('@') || words >= 5 || (only_those && (words > 1 || text.contains('*')))
}

/// Parsed as the scheduler parses it, so that it cannot be refused later.
fn parse_cron(text: String) -> Result<Resync, ProblemKind> {
    match parser().parse(&text) {
        Ok(_) => Ok(Resync::Cron(text)),
        Err(_) if !text.starts_with('@') && text.split_whitespace().count() != 6 => {
            let found = text.split_whitespace().count();
            Err(ProblemKind::CronFields { found })
        }
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.rsplit(": ").next().unwrap_or(&reason);
            let reason = reason.trim_end_matches('.').to_lowercase();
            Err(ProblemKind::Cron { reason })
        }
    }
}
