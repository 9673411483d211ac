//! Where weir goes for credentials: `https`, and nowhere that only an operator may name.
//!
//! A metadata document, a challenge or a redirect can name any address. Link-local addresses and the metadata
//! services of clouds hand out credentials to whoever asks from this machine, so that is never asked on a stranger's word.

use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::config::Reach;

/// Who named a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The operator, in the config.
    Operator,
    /// Another party: metadata, a challenge, a redirect.
    Peer,
}

/// Why weir does not go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// Neither `https` nor `http`.
    #[error("its URL is neither https nor http")]
    Scheme,
    /// A URL with a user name or a password in it.
    #[error("its URL has a user name or a password in it")]
    UserInfo,
    /// `http` beyond this machine.
    #[error("its URL is plain http; `allow_plain_http` would allow it")]
    PlainHttp,
    /// Link-local, a metadata service, or no single host.
    #[error("its address is link-local or a metadata service, which only the config may name")]
    LinkLocal,
}

/// Whether weir goes there, as far as the URL itself says. What a name resolves to, [`resolver`] looks at.
///
/// # Errors
/// Why not.
pub fn allowed(url: &Url, allow_plain_http: bool, named_by: NamedBy) -> Result<(), ReachError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ReachError::UserInfo);
    }
    let reach = Reach::of_url(url);
    if reach == Reach::LinkLocal && named_by == NamedBy::Peer {
        return Err(ReachError::LinkLocal);
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_plain_http || reach == Reach::Loopback => Ok(()),
        "http" => Err(ReachError::PlainHttp),
        _ => Err(ReachError::Scheme),
    }
}

/// Resolves names for reqwest, without the addresses that only an operator may name. `named` are hosts that the
/// operator did name. Behind a proxy it is the proxy that resolves names.
#[must_use]
pub fn resolver(named: Vec<String>) -> Arc<dyn Resolve> {
    Arc::new(Resolver {
        named: named.into(),
    })
}

struct Resolver {
    named: Arc<[String]>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let named = Arc::clone(&self.named);
        Box::pin(async move {
            let host = name.as_str().trim_end_matches('.');
            let is_named = named.iter().any(|named| named.eq_ignore_ascii_case(host));
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found
                .filter(|address| {
                    is_named || Reach::of_address(address.ip()) != Reach::LinkLocal
                })
                .collect();
            match found.is_empty() {
                true => Err(ReachError::LinkLocal.into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_names_no_metadata_service_and_nobody_names_plain_http_by_accident() {
        use NamedBy::{Operator, Peer};
        let cases = [
            ("https://as.example/token", Peer, Ok(())),
            ("https://10.1.2.3/token", Peer, Ok(())),
            ("http://127.0.0.1:9/token", Peer, Ok(())),
            ("http://localhost:9/token", Peer, Ok(())),
            ("http://as.example/token", Peer, Err(ReachError::PlainHttp)),
            ("http://10.1.2.3/", Operator, Err(ReachError::PlainHttp)),
            ("https://169.254.169.254/", Peer, Err(ReachError::LinkLocal)),
            ("http://169.254.169.254/", Peer, Err(ReachError::LinkLocal)),
            ("https://169.254.7.7/", Operator, Ok(())),
            ("https://[fe80::1]/", Peer, Err(ReachError::LinkLocal)),
            ("https://[fd00:ec2::254]/", Peer, Err(ReachError::LinkLocal)),
            (
                "https://metadata.google.internal/",
                Peer,
                Err(ReachError::LinkLocal),
            ),
            ("https://a:b@as.example/", Operator, Err(ReachError::UserInfo)),
            ("ftp://as.example/", Operator, Err(ReachError::Scheme)),
        ];
        for (url, named_by, expected) in cases {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(allowed(&parsed, false, named_by), expected, "{url}");
        }
        let plain = Url::parse("http://as.example/").unwrap();
        assert_eq!(allowed(&plain, true, Peer), Ok(()));
    }

    #[tokio::test]
    async fn a_name_of_a_link_local_address_resolves_for_the_operator_only() {
        // Numbers are resolved without a DNS server.
        let resolve = |named: &[&str], name: &str| {
            let named = named.iter().map(|&name| name.to_owned()).collect();
            resolver(named).resolve(name.parse().unwrap())
        };
        assert!(resolve(&[], "169.254.169.254").await.is_err());
        let found = resolve(&["169.254.169.254"], "169.254.169.254").await;
        assert_eq!(found.unwrap().count(), 1);
        assert_eq!(resolve(&[], "127.0.0.1").await.unwrap().count(), 1);
    }
}
