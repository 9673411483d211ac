//! Recognizable secrets, one for each place where weir has one.

pub const BEARER: &str = "PLANTED-bearer-0b1d5f";
pub const HEADER: &str = "PLANTED-header-0b1d5f";
pub const EXTRA: &str = "PLANTED-extra-0b1d5f";
pub const PASSWORD: &str = "PLANTED-password-0b1d5f";
pub const CLIENT: &str = "PLANTED-client-0b1d5f";
pub const SUBJECT: &str = "PLANTED-subject-0b1d5f";
pub const ACTOR: &str = "PLANTED-actor-0b1d5f";
pub const KEY: &str = "PLANTED-aws-key-0b1d5f";
pub const SESSION: &str = "PLANTED-aws-session-0b1d5f";
pub const CHAIN: &str = "PLANTED-aws-chain-0b1d5f";
pub const CHILD: &str = "PLANTED-child-0b1d5f";
pub const ADMIN: &str = "PLANTED-admin-0b1d5f";
pub const SEALING: &str = "PLANTED-sealing-key-of-32-bytes-0b1d5f";
pub const REFRESH: &str = "PLANTED-refresh-0b1d5f";
pub const ACCESS: &str = "PLANTED-access-0b1d5f";
/// The secrets in answers of token endpoints and AWS.
pub const TOKEN: &str = "PLANTED-token-0b1d5f";
pub const STORED: &str = "PLANTED-stored-0b1d5f";
pub const WORKLOAD: &str = "PLANTED-workload-0b1d5f";
pub const IDENTITY: &str = "PLANTED-identity-0b1d5f";

/// The text that all of them contain.
const MARK: &str = "PLANTED-";

/// Fails if a text contains one of them, plain or encoded. `more` are further secrets, without that
/// text.
pub fn absent(what: &str, text: &str, more: &[String]) {
    if let Some(place) = text.find(MARK) {
        let (from, to) = (place.saturating_sub(300), (place + 60).min(text.len()));
        panic!(
            "{what} has a secret: …{}…",
            text.get(from..to).unwrap_or(text)
        );
    }
    for secret in more {
        assert!(!text.contains(secret.as_str()), "{what} has {secret}");
    }
}
