//! `listen.auth.platform`

use crate::config::validate::check::Check;
use crate::config::validate::values::expand_required;
use crate::config::{PlatformIdentity, raw};
use crate::document::path::KeyPath;

/// Validates the identity that a platform in front asserts.
pub(super) fn check_platform(
    check: &mut Check<'_>,
    raw: raw::PlatformIdentity,
    at: &KeyPath,
) -> Option<PlatformIdentity> {
    let subject_header = expand_required(check, &raw.subject_header, &at.key("subject_header"));
    Some(PlatformIdentity {
        subject_header: subject_header.into(),
        from: raw.from.into_iter().map(String::into_boxed_str).collect(),
    })
}
