//! Errors from HTTP answers that are not MCP (RFC 9110).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::protocol::headers;
use crate::upstream::error::LinkError;

/// The longest `Retry-After` that weir follows: a mistake there should not cost a day.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Returns the error for a status, with `Retry-After` where it means something.
#[must_use]
pub fn status_error(status: StatusCode, headers: &HeaderMap) -> LinkError {
    let retry_after = read_retry_after(headers);
    match status {
        StatusCode::TOO_MANY_REQUESTS => LinkError::Throttled {
            status: Some(status),
            retry_after,
        },
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => LinkError::Throttled {
            status: Some(status),
            retry_after,
        },
        status => LinkError::Status(status),
    }
}

/// Returns the error for an answer whose media type is not one of MCP.
#[must_use]
pub fn media_type_error(headers: &HeaderMap) -> LinkError {
    let found: String = essence(headers)
        .chars()
        .filter(char::is_ascii_graphic)
        .take(60)
        .collect();
    LinkError::MediaType(found.to_ascii_lowercase())
}

/// Returns the media type without its parameters. Empty if there is none.
#[must_use]
pub fn essence(headers: &HeaderMap) -> &str {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). At most an hour.
fn read_retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers::retry_after(headers, SystemTime::now()).map(|after| after.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    fn message(status: u16, retry_after: &str) -> String {
        let headers = headers(header::RETRY_AFTER, retry_after);
        status_error(StatusCode::from_u16(status).unwrap(), &headers).full_text()
    }

    #[test]
    fn a_status_is_named_with_when_to_come_back() {
        assert_eq!(
            message(429, "7"),
            "HTTP status 429 Too Many Requests, to be asked again in 7 s"
        );
        assert_eq!(
            message(503, "9999999"),
            "HTTP status 503 Service Unavailable, to be asked again in 3600 s"
        );
        assert_eq!(message(429, "soon"), "HTTP status 429 Too Many Requests");
        assert_eq!(message(503, "soon"), "HTTP status 503 Service Unavailable");
        assert_eq!(message(500, "7"), "HTTP status 500 Internal Server Error");
    }

    #[test]
    fn a_date_says_when_too() {
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let after = read_retry_after(&headers(header::RETRY_AFTER, &soon)).unwrap();
        assert!((50..=60).contains(&after.as_secs()), "{after:?}");
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        let after = read_retry_after(&headers(header::RETRY_AFTER, past));
        assert_eq!(after, Some(Duration::ZERO));
    }

    #[test]
    fn a_foreign_media_type_is_named() {
        let found =
            |value: &str| media_type_error(&headers(header::CONTENT_TYPE, value)).to_string();
        assert_eq!(
            found("Text/HTML; charset=utf-8"),
            "not MCP: a web page (text/html)"
        );
        assert_eq!(
            found("text/plain"),
            "not MCP: text/plain, neither JSON nor an event stream"
        );
        assert_eq!(
            media_type_error(&HeaderMap::new()).to_string(),
            "not MCP: an answer without a media type"
        );
    }
}
