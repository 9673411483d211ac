//! The check of `Host` and `Origin` (`transports/streamable-http.mdx#security`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use http::request::Parts;
use http::{HeaderMap, header};

/// Why a request is turned away before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// A browser page of somewhere else.
    #[error("this Origin is not allowed")]
    Origin,
    /// A name this endpoint does not go by: DNS rebinding.
    #[error("this Host is not allowed")]
    Host,
    /// No authority, several, or one that is not `host` or `host:port`.
    #[error(
        "exactly one Host is needed, as `host` or `host:port`, and the same in the request's target"
    )]
    Authority,
}

/// The rule for one listener.
#[derive(Clone, Debug)]
pub struct OriginCheck {
    loopback: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl OriginCheck {
    /// For a listener on loopback or elsewhere; these hosts and origins pass besides.
    #[must_use]
    pub fn new(loopback: bool, hosts: &[String], origins: &[String]) -> Self {
        let lower = |list: &[String]| {
            list.iter()
                .map(|item| item.trim_end_matches('/').to_ascii_lowercase())
                .collect()
        };
        Self {
            loopback,
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Checks the origin and the authority of a request. Bound to loopback, only loopback and what
    /// is listed passes. Bound elsewhere, an `Origin` must be listed, and a `Host` if hosts are
    /// listed at all.
    ///
    /// # Errors
    /// Which of the two is not allowed, or that there is no single authority.
    pub fn check(&self, request: &Parts) -> Result<(), OriginError> {
        let authority = Authority::of(request)?;
        self.check_origin(&request.headers)?;
        if !self.loopback && self.hosts.is_empty() {
            return Ok(());
        }
        let listed = |allowed: &String| {
            let is = |text: &str| allowed.eq_ignore_ascii_case(text);
            is(authority.text) || is(authority.host)
        };
        if (self.loopback && authority.is_local()) || self.hosts.iter().any(listed) {
            return Ok(());
        }
        Err(OriginError::Host)
    }

    /// Checks `Origin`. A browser sends at most one, so that two are nobody's.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), OriginError> {
        let mut sent = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = sent.next() else {
            return Ok(());
        };
        let origin = origin.to_str().map_err(|_| OriginError::Origin)?;
        let listed = |allowed: &String| allowed.eq_ignore_ascii_case(origin);
        let local = || {
            let authority = origin.split_once("://");
            let authority = authority.and_then(|(_, authority)| Authority::parse(authority));
            self.loopback && authority.is_some_and(|authority| authority.is_local())
        };
        if sent.next().is_none() && (self.origins.iter().any(listed) || local()) {
            return Ok(());
        }
        Err(OriginError::Origin)
    }
}

/// Returns the authority of a request if it is this machine, in the caller's spelling.
#[must_use]
pub fn local_authority(request: &Parts) -> Option<&str> {
    let authority = Authority::of(request).ok()?;
    authority.is_local().then_some(authority.text)
}

/// Returns whether a request is of a page of the same origin, or of no browser: `Sec-Fetch-Site` says
/// so (W3C, Fetch Metadata), or, where there is none, `Origin` is not there either or names the
/// authority of the request itself.
#[must_use]
pub fn is_same_origin(request: &Parts) -> bool {
    let headers = &request.headers;
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if let Some(site) = sites.next() {
        return site == "same-origin" && sites.next().is_none();
    }
    is_own_origin(request)
}

/// Returns whether `Origin` is not there or names the authority of the request itself.
#[must_use]
pub fn is_own_origin(request: &Parts) -> bool {
    let mut origins = request.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    let (Some((scheme, authority)), Ok(own)) = (origin, Authority::of(request)) else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && authority.eq_ignore_ascii_case(own.text)
        && origins.next().is_none()
}

/// The authority that a request is meant for: `host` or `host:port`, without userinfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'r> {
    text: &'r str,
    host: &'r str,
}

impl<'r> Authority<'r> {
    /// Returns the one authority of a request. It may be written in the target (absolute form in
    /// HTTP/1.1, `:authority` in HTTP/2), in `Host`, or in both, and is then the same: whatever
    /// stands before weir may have decided by either (RFC 9112 §3.2, RFC 9113 §8.3.1).
    fn of(request: &'r Parts) -> Result<Self, OriginError> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let (first, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(OriginError::Authority);
        }
        let sent = match first {
            Some(host) => Some(host.to_str().map_err(|_| OriginError::Authority)?),
            None => None,
        };
        let target = request.uri.authority().map(http::uri::Authority::as_str);
        let text = match (target, sent) {
            (Some(target), Some(sent)) if !target.eq_ignore_ascii_case(sent) => None,
            (Some(text), _) | (None, Some(text)) => Some(text),
            (None, None) => None,
        };
        text.and_then(Self::parse).ok_or(OriginError::Authority)
    }

    /// Parses `uri-host [":" port]` (RFC 9110 §7.2) as far as anybody sends it: a name of letters,
    /// digits, `-`, `_` and single dots inside, an IPv4 address, or an IPv6 address in brackets and
    /// without a zone; the port from 1 to 65535.
    fn parse(text: &'r str) -> Option<Self> {
        let end = match text.strip_prefix('[') {
            Some(inner) => inner.find(']')?.checked_add(2)?,
            None => memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len()),
        };
        let (host, port) = text.split_at_checked(end)?;
        if !port.is_empty() {
            let digits = port.strip_prefix(':')?;
            // `parse` alone would take a sign.
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            digits.parse::<NonZeroU16>().ok()?;
        }
        let is_legal = match inside_brackets(host) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.as_bytes().split(|byte| *byte == b'.').all(is_label),
        };
        is_legal.then_some(Self { text, host })
    }

    /// Returns whether it means this machine: `localhost`, a name under it, or a loopback address.
    fn is_local(&self) -> bool {
        if let Some(address) = inside_brackets(self.host) {
            let address = address.parse::<Ipv6Addr>();
            return address.is_ok_and(|address| address.is_loopback());
        }
        if let Ok(address) = self.host.parse::<Ipv4Addr>() {
            return address.is_loopback();
        }
        let last = self.host.rsplit('.').next();
        last.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
    }
}

/// Returns the address inside the brackets of an IPv6 host.
fn inside_brackets(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn is_label(label: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check_with(loopback: bool, hosts: &[&str], origins: &[&str]) -> OriginCheck {
        let own = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        OriginCheck {
            loopback,
            hosts: own(hosts),
            origins: own(origins),
        }
    }

    fn check(listener: &OriginCheck, host: &str, origin: Option<&str>) -> Result<(), OriginError> {
        let (mut request, ()) = http::Request::new(()).into_parts();
        let headers = &mut request.headers;
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        listener.check(&request)
    }

    #[test]
    fn on_loopback_only_loopback_passes() {
        let listener = check_with(true, &["weir.local"], &["https://app.example"]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:8000",
            "localhost:1",
            "LOCALHOST",
            "[::1]:8000",
            "[::1]",
            "weir.local:80",
            "127.9.9.9",
        ] {
            assert_eq!(check(&listener, host, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8000",
            "localhost.evil.example",
            "10.0.0.1",
            "notlocalhost",
        ] {
            assert_eq!(
                check(&listener, host, None),
                Err(OriginError::Host),
                "{host}"
            );
        }
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://app.example",
            "http://[::1]:1",
        ] {
            assert_eq!(
                check(&listener, "localhost", Some(origin)),
                Ok(()),
                "{origin}"
            );
        }
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost.evil.example",
            "https://app.example.evil",
            "http://evil.example@localhost",
            "http://evil.example/.localhost",
            "http://localhost/",
        ] {
            assert_eq!(
                check(&listener, "localhost", Some(origin)),
                Err(OriginError::Origin),
                "{origin}"
            );
        }
    }

    #[test]
    fn what_is_no_single_authority_is_nobodys() {
        let listener = check_with(true, &[], &[]);
        for host in [
            "::1",
            "localhost.",
            "a..localhost",
            "localhost:",
            "user@localhost",
        ] {
            assert_eq!(
                check(&listener, host, None),
                Err(OriginError::Authority),
                "{host}"
            );
        }
    }

    #[test]
    fn elsewhere_origins_must_be_listed_and_hosts_if_any_are() {
        let open = check_with(false, &[], &[]);
        assert_eq!(check(&open, "anything.example", None), Ok(()));
        assert_eq!(
            check(&open, "anything.example", Some("http://localhost")),
            Err(OriginError::Origin)
        );
        let named = check_with(false, &["weir.example"], &["https://app.example"]);
        assert_eq!(
            check(&named, "weir.example:443", Some("https://app.example")),
            Ok(())
        );
        assert_eq!(check(&named, "other.example", None), Err(OriginError::Host));
        assert_eq!(check(&named, "127.0.0.1", None), Err(OriginError::Host));
    }
}
