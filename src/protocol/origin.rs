//! The check of `Host` and `Origin` (`transports/streamable-http.mdx#security`).

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, header};
use url::Url;

/// Why a request is turned away before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// A browser page of somewhere else.
    #[error("this Origin is not allowed")]
    Origin,
    /// A name this endpoint does not go by: DNS rebinding.
    #[error("this Host is not allowed")]
    Host,
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

    /// Bound to loopback, only loopback and what is listed passes. Bound elsewhere, an `Origin` must be
    /// listed, and a `Host` if hosts are listed at all.
    ///
    /// # Errors
    /// Which of the two is not allowed.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), OriginError> {
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin
                .to_str()
                .map_err(|_| OriginError::Origin)?
                .to_ascii_lowercase();
            let local =
                || self.loopback && Url::parse(&origin).is_ok_and(|url| is_local(url.host_str()));
            if !self.origins.contains(&origin) && !local() {
                return Err(OriginError::Origin);
            }
        }
        if !self.loopback && self.hosts.is_empty() {
            return Ok(());
        }
        let Some(host) = headers.get(header::HOST) else {
            return Ok(());
        };
        let host = host.to_str().map_err(|_| OriginError::Host)?;
        let name = without_port(host);
        let listed = |allowed: &String| {
            allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name)
        };
        if (self.loopback && is_local(Some(name))) || self.hosts.iter().any(listed) {
            return Ok(());
        }
        Err(OriginError::Host)
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // Inside brackets the colon is part of an IPv6 address.
        Some(at) if !host.get(at..).unwrap_or_default().contains(']') => {
            host.get(..at).unwrap_or_default()
        }
        _ => host,
    }
}

/// Whether a host means this machine: `localhost`, a name under it, or a loopback address.
fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    if host.starts_with(|c: char| c.is_ascii_digit()) {
        return host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.is_loopback());
    }
    let local = "localhost";
    let tail = host
        .len()
        .checked_sub(local.len())
        .and_then(|at| host.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(local))
        && (host.len() == local.len()
            || host
                .get(..host.len() - local.len())
                .is_some_and(|rest| rest.ends_with('.')))
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
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        listener.check(&headers)
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
            "::1",
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
        ] {
            assert_eq!(
                check(&listener, "localhost", Some(origin)),
                Err(OriginError::Origin),
                "{origin}"
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
