//! `listen.auth.api_keys`

use crate::config::validate::check::Check;
use crate::config::validate::values::expand_required;
use crate::config::{ApiKeySettings, raw};
use crate::document::path::KeyPath;

/// Validates the file of API keys.
pub(super) fn check_api_keys(
    check: &mut Check<'_>,
    raw: raw::ApiKeySettings,
    at: &KeyPath,
) -> Option<ApiKeySettings> {
    let file = expand_required(check, &raw.file, &at.key("file"));
    Some(ApiKeySettings {
        file: check.resolve(&file),
    })
}
