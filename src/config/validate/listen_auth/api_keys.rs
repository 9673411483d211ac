//! `listen.auth.api_keys`, and the file of the keys.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::time::SystemTime;

use chrono::{DateTime, NaiveDate, NaiveTime};

use crate::config::error::Problem;
use crate::config::rules::Rule;
use crate::config::source;
use crate::config::validate::check::Check;
use crate::config::validate::values::{check_scopes, expand_required};
use crate::config::{ApiKeyEntry, ApiKeySettings, ConfigErrors, SecretRefError, raw};
use crate::document::path::KeyPath;
use crate::files;

/// Most bytes of a subject, of a tag's name, and of its value.
const TEXT: usize = 256;
/// Its errors come after those of the config's own files.
const ORDER: usize = usize::MAX;
/// Most tags, and most scopes, of a key.
const ENTRIES: usize = 64;

/// Validates the file of API keys, and what is in it.
pub(super) fn check_api_keys(
    check: &mut Check<'_>,
    raw: &raw::ApiKeySettings,
    at: &KeyPath,
) -> ApiKeySettings {
    let at = at.key("file");
    let file = expand_required(check, &raw.file, &at);
    let file = check.resolve(&file);
    check.secret_files.push(file.clone());
    let held = files::read(&file, ApiKeyEntry::MAX_FILE).map_err(SecretRefError::File);
    if let Some(held) = check.ok(&at, held) {
        check_file(held.expose(), &file, check.problems);
    }
    ApiKeySettings { file }
}

/// Reads the API keys of a text, as if it stood in `file`.
///
/// # Errors
/// Everything that is wrong.
pub fn parse_api_keys(text: &str, file: &FilePath) -> Result<Vec<ApiKeyEntry>, ConfigErrors> {
    let mut problems = Vec::new();
    let entries = check_file(text, file, &mut problems);
    match problems.is_empty() {
        true => Ok(entries),
        false => Err(ConfigErrors::new(problems)),
    }
}

fn check_file(text: &str, file: &FilePath, problems: &mut Vec<Problem>) -> Vec<ApiKeyEntry> {
    let (raw, source) = source::read::<raw::ApiKeyFile>(text, file, ORDER, problems);
    // No variables: the file is read again while weir runs.
    let mut check = Check::new(&source, &|_| None, problems);
    if raw.len() > ApiKeyEntry::MOST {
        let most = Rule::Most(ApiKeyEntry::MOST as u64);
        check.report(&KeyPath::default(), most);
    }
    let entries = raw.iter().take(ApiKeyEntry::MOST);
    entries
        .filter_map(|(id, raw)| check_entry(&mut check, id, raw, &KeyPath::default().key(id)))
        .collect()
}

fn check_entry(
    check: &mut Check<'_>,
    id: &str,
    raw: &raw::ApiKeyEntry,
    at: &KeyPath,
) -> Option<ApiKeyEntry> {
    if !ApiKeyEntry::is_id(id) {
        check.report(at, Rule::KeyId);
    }
    check_text(check, &raw.subject, &at.key("subject"));
    let hash = parse_hash(&raw.hash).ok_or(Rule::KeyHash);
    let hash = check.ok(&at.key("hash"), hash)?;
    let scopes = check_scopes(check, raw.scopes.as_ref(), &at.key("scopes"));
    let place = at.key("tags");
    let mut tags = BTreeMap::new();
    for (name, value) in raw.tags.iter().flatten() {
        check_text(check, name, &place.key(name));
        check_text(check, &value.0, &place.key(name));
        tags.insert(name.as_str().into(), value.0.as_str().into());
    }
    for (count, key) in [(scopes.len(), "scopes"), (tags.len(), "tags")] {
        if count > ENTRIES {
            check.report(&at.key(key), Rule::Most(ENTRIES as u64));
        }
    }
    let expires = raw.expires.as_ref().and_then(|text| {
        let time = parse_time(text).ok_or(Rule::Time);
        check.ok(&at.key("expires"), time)
    });
    Some(ApiKeyEntry {
        id: id.into(),
        subject: raw.subject.as_str().into(),
        hash,
        scopes: scopes.into_iter().map(String::into_boxed_str).collect(),
        tags,
        expires,
    })
}

/// Checks a text that goes to records, logs and policies.
fn check_text(check: &mut Check<'_>, text: &str, at: &KeyPath) {
    if text.is_empty() {
        check.report(at, Rule::Empty);
    } else if text.len() > TEXT {
        let (bytes, most) = (text.len(), TEXT);
        check.report(at, Rule::LongText { bytes, most });
    } else if text.chars().any(char::is_control) {
        check.report(at, Rule::ControlCharacter);
    }
}

/// Reads `sha256:` and 64 digits of hex.
fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut hash = [0; 32];
    for (to, [high, low]) in hash.iter_mut().zip(pairs) {
        *to = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(hash)
}

/// Reads a time of RFC 3339, or a day, which means its beginning in UTC.
fn parse_time(text: &str) -> Option<SystemTime> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.into());
    }
    let day: NaiveDate = text.parse().ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc().into())
}
