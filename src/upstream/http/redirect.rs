//! Redirects (RFC 9110 §15.4). A request is sent to another path of the same server if the server
//! says by 307 or 308 that it did not run it; credentials are for no other server.

use http::{HeaderMap, StatusCode, Uri, header};
use url::Url;

use crate::upstream::error::{LinkError, RedirectTarget};

/// The most redirects of one request that are followed.
pub(super) const MOST: usize = 5;

/// The longest name of a server in an error, in characters.
const LONGEST_NAME: usize = 100;

/// Returns the URL that a redirected request has to go to.
///
/// # Errors
/// It leads to another server, or asks for another method.
pub(super) fn target(
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Url, LinkError> {
    let refuse = |to| LinkError::Redirected { status, to };
    let location = headers.get(header::LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    let Some(to) = location.and_then(|location| from.join(location).ok()) else {
        // 300, 304 and 305 need not say where to.
        return Err(match location {
            Some(_) => refuse(RedirectTarget::Unreadable),
            None => LinkError::Status(status),
        });
    };
    let has_no_uri = to.as_str().parse::<Uri>().is_err();
    if to.origin() != from.origin() {
        let name = match to.has_host() {
            true => to.origin().ascii_serialization(),
            false => format!("{}:", to.scheme()),
        };
        let name = name.chars().take(LONGEST_NAME).collect();
        return Err(refuse(RedirectTarget::Server(name)));
    }
    match status {
        _ if has_no_uri => Err(refuse(RedirectTarget::Unreadable)),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Ok(to),
        _ => Err(refuse(RedirectTarget::Path(slash(from, &to)))),
    }
}

/// Returns how the path differs, if only by a slash at its end. The path itself may be a secret.
fn slash(from: &Url, to: &Url) -> &'static str {
    let (from, to) = (from.path(), to.path());
    if to.strip_suffix('/') == Some(from) {
        ", with a slash at its end"
    } else if from.strip_suffix('/') == Some(to) {
        ", without the slash at its end"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn led(status: u16, location: &str) -> Result<String, String> {
        let from = "https://mcp.example.com/secret/mcp".parse().unwrap();
        let headers = HeaderValue::from_str(location).unwrap();
        let headers = HeaderMap::from_iter([(header::LOCATION, headers)]);
        let led = target(&from, StatusCode::from_u16(status).unwrap(), &headers);
        led.map(|url| url.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_not_run_goes_to_another_path_of_the_same_server() {
        for (location, to) in [
            ("/secret/mcp/", "https://mcp.example.com/secret/mcp/"),
            ("mcp/", "https://mcp.example.com/secret/mcp/"),
            (
                "https://mcp.example.com:443/x?y",
                "https://mcp.example.com/x?y",
            ),
            ("//MCP.example.com/x", "https://mcp.example.com/x"),
        ] {
            assert_eq!(led(307, location).as_deref(), Ok(to));
            assert_eq!(led(308, location).as_deref(), Ok(to));
        }
    }

    #[test]
    fn another_server_is_named_and_nothing_else_of_it() {
        for (location, name) in [
            (
                "https://login.example.com/a?token=t#f",
                "https://login.example.com",
            ),
            (
                "http://mcp.example.com/secret/mcp",
                "http://mcp.example.com",
            ),
            (
                "https://mcp.example.com:8443/",
                "https://mcp.example.com:8443",
            ),
            ("//u:p@evil.example/", "https://evil.example"),
            ("app:login", "app:"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                let error = led(status, location).unwrap_err();
                assert!(error.contains(&format!("to {name},")), "{error}");
                assert!(
                    !error.contains("secret") && !error.contains("token"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_redirect_that_changes_the_method_is_not_followed() {
        let error = led(301, "/secret/mcp/").unwrap_err();
        assert_eq!(
            error,
            "HTTP status 301 Moved Permanently: redirected to another path of the same server, with a slash at its end, which weir follows after 307 and 308 only: correct `url`"
        );
        assert!(!led(302, "/other").unwrap_err().contains("slash"));
        assert!(led(304, "/x").unwrap_err().contains("304"));
        let from = "https://mcp.example.com/mcp".parse().unwrap();
        let none = target(&from, StatusCode::FOUND, &HeaderMap::new());
        assert_eq!(none.unwrap_err().to_string(), "HTTP status 302 Found");
    }
}
