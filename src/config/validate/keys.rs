//! Keys of weir itself, one or several, and durations.

use std::time::Duration;

use super::check::Check;
use crate::config::raw::forms;
use crate::config::rules::Rule;
use crate::config::{raw, units};
use crate::document::path::KeyPath;
use crate::secret::Secret;

/// The most keys that are tried for a token.
const SEALING_KEYS: usize = 16;

/// Resolves one key or several, under the two settings that hold them.
pub(super) fn check_keys(
    check: &mut Check<'_>,
    (one, several): (Option<raw::SecretRef>, Option<Vec<raw::SecretRef>>),
    [key, other]: [&'static str; 2],
    root: &KeyPath,
) -> Vec<Secret> {
    let at = root.key(other);
    let several = match several {
        Some(_) if one.is_some() => {
            check.report(&root.key(key), Rule::NotWith { key, other });
            return Vec::new();
        }
        Some(several) => several,
        None => {
            let fetched = one.and_then(|raw| fetch_sealing_key(check, &raw, &root.key(key)));
            return fetched.into_iter().collect();
        }
    };
    if several.is_empty() {
        check.report(&at, Rule::Empty);
    }
    if several.len() > SEALING_KEYS {
        check.report(&at, Rule::Most(SEALING_KEYS as u64));
    }
    let fetched = several.iter().enumerate();
    fetched
        .filter_map(|(index, raw)| fetch_sealing_key(check, raw, &at.item(index)))
        .collect()
}

fn fetch_sealing_key(check: &mut Check<'_>, raw: &raw::SecretRef, at: &KeyPath) -> Option<Secret> {
    let key = check.own_secret(raw);
    let key = check.ok(at, key)?;
    let bytes = key.expose().len();
    if bytes < 32 {
        check.report(at, Rule::SealingKey(bytes));
    }
    Some(key)
}

pub(super) fn check_duration(
    check: &mut Check<'_>,
    written: Option<forms::Duration>,
    base: Duration,
    at: &KeyPath,
) -> Duration {
    let parsed = written.map_or(Ok(base), |text| units::duration(&text.0));
    check.or(at, parsed, base)
}
