//! The media type of an answer.

use http::HeaderMap;

use crate::upstream::status;

/// The most bytes of an error's body that are read.
pub(super) const ERROR_BODY: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Events,
    Other,
}

/// Returns the media type that the headers name.
pub(super) fn media_type(headers: &HeaderMap) -> Media {
    let essence = status::essence(headers);
    if essence.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        Media::Events
    } else {
        Media::Other
    }
}
