//! The parts of the texts of errors that depend on what happened.

use std::time::Duration;

use http::StatusCode;

/// Explains the status that refuses a message of a handshake, where it is known.
pub(super) fn explain_handshake(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => {
            ": it does not know the session that it has just opened. If it has several replicas, each request of a session has to reach the same one"
        }
        _ => "",
    }
}

/// Describes how the upstream throttles.
pub(super) fn throttled(status: Option<StatusCode>) -> String {
    match status {
        Some(status) => format!("HTTP status {status}"),
        None => "throttled".to_owned(),
    }
}

/// Describes when to ask again.
pub(super) fn again(retry_after: Option<Duration>) -> String {
    retry_after
        .map(|after| format!(", to be asked again in {} s", after.as_secs()))
        .unwrap_or_default()
}

/// Puts a reason behind a colon.
pub(super) fn describe_reason(reason: Option<&str>) -> String {
    reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

/// Describes a media type.
pub(super) fn describe_media(found: &str) -> String {
    match found {
        "" => "an answer without a media type".to_owned(),
        "text/html" => "a web page (text/html)".to_owned(),
        other => format!("{other}, neither JSON nor an event stream"),
    }
}
