//! Where weir does not go at the word of a remote party: metadata services and other link-local hosts.
//!
//! An upstream's 401 and an authorization server's metadata name URLs. With them, the other side could have weir ask
//! this machine's metadata service, which hands out credentials. So a URL that a remote party named passes
//! [`check`], and the client that asks it resolves names with a [`Resolver`]: it connects to the very addresses that
//! were judged, so a name that changes its address in between (DNS rebinding) gains nothing. Such a client must
//! follow no redirects. Loopback and private addresses stay allowed: authorization servers are there too, and
//! `https` and the issuer's origin hold for them as for all.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::config::Reach;

/// A URL that a remote party named and that weir does not ask. The words are weir's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Neither `https` nor `http`.
    #[error("it is no https URL")]
    Scheme,
    /// Plain `http` beyond loopback, and not allowed.
    #[error("it is plain http; `allow_plain_http: true` would allow that")]
    Plain,
    /// A user name, a password or a fragment.
    #[error("it has a user name or a `#` part")]
    Parts,
    /// A host that nobody but the operator may name.
    #[error("its host is a link-local address or a metadata service")]
    LinkLocal,
    /// Neither the issuer's origin nor a host of `allowed_hosts`.
    #[error("its host is not the issuer's, and not in `allowed_hosts`")]
    OtherOrigin,
}

/// Whether weir may ask a URL that a remote party named.
///
/// # Errors
/// It may not.
pub fn check(url: &Url, allow_plain_http: bool) -> Result<(), Unreachable> {
    let reach = Reach::of_url(url);
    match url.scheme() {
        "https" => {}
        "http" if reach == Reach::Loopback || allow_plain_http => {}
        "http" => return Err(Unreachable::Plain),
        _ => return Err(Unreachable::Scheme),
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.fragment().is_some() {
        return Err(Unreachable::Parts);
    }
    match reach {
        Reach::LinkLocal => Err(Unreachable::LinkLocal),
        Reach::Loopback | Reach::Private | Reach::Public => Ok(()),
    }
}

/// [`check`], and that it is where the issuer is, or at a host of `allowed_hosts` (`HOST` or `HOST:PORT`, lower case).
///
/// # Errors
/// It is not, or may not be asked at all.
pub fn check_origin(
    url: &Url,
    issuer: &Url,
    allowed_hosts: &[String],
    allow_plain_http: bool,
) -> Result<(), Unreachable> {
    check(url, allow_plain_http)?;
    if url.origin() == issuer.origin() {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let with_port = format!("{host}:{port}");
    let listed = |allowed: &String| *allowed == host || *allowed == with_port;
    match allowed_hosts.iter().any(listed) {
        true => Ok(()),
        false => Err(Unreachable::OtherOrigin),
    }
}

/// Resolves names as this machine does, but to no link-local address and no metadata service.
///
/// `reqwest::ClientBuilder::dns_resolver(Resolver::new())`. Addresses in place of names are not resolved: [`check`]
/// judges those.
pub struct Resolver {
    lookup: Arc<dyn Resolve>,
}

impl Resolver {
    /// Over this machine's resolver.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::over(Arc::new(Machine))
    }

    /// Over another resolver.
    #[must_use]
    pub fn over(lookup: Arc<dyn Resolve>) -> Arc<Self> {
        Arc::new(Self { lookup })
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        if Reach::of_name(name.as_str()) == Reach::LinkLocal {
            return Box::pin(async { Err(Unreachable::LinkLocal.into()) });
        }
        let found = self.lookup.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            let forbidden =
                |address: &SocketAddr| Reach::of_address(address.ip()) == Reach::LinkLocal;
            // One of them is enough: the others would be tried first only by chance.
            if found.iter().any(forbidden) {
                return Err(Unreachable::LinkLocal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// This machine's resolver.
struct Machine;

impl Resolve for Machine {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn what_a_remote_party_names_is_judged() {
        let of = |text: &str| check(&url(text), false);
        for fine in [
            "https://id.example.com/token",
            "https://10.0.0.1/token",
            "http://127.0.0.1:8080/token",
            "http://localhost/token",
        ] {
            assert_eq!(of(fine), Ok(()), "{fine}");
        }
        for (text, why) in [
            ("http://id.example.com/token", Unreachable::Plain),
            ("http://10.0.0.1/token", Unreachable::Plain),
            ("file:///etc/passwd", Unreachable::Scheme),
            ("https://me@id.example.com/", Unreachable::Parts),
            ("https://id.example.com/#x", Unreachable::Parts),
            (
                "https://169.254.169.254/latest/meta-data/",
                Unreachable::LinkLocal,
            ),
            ("https://2852039166/", Unreachable::LinkLocal),
            ("https://[fd00:ec2::254]/", Unreachable::LinkLocal),
            ("https://[::ffff:169.254.169.254]/", Unreachable::LinkLocal),
            ("https://metadata.google.internal/", Unreachable::LinkLocal),
            ("https://0.0.0.0/", Unreachable::LinkLocal),
        ] {
            assert_eq!(of(text), Err(why), "{text}");
        }
        let plain = url("http://169.254.169.254/latest/meta-data/");
        assert_eq!(check(&plain, true), Err(Unreachable::LinkLocal));
        assert_eq!(check(&url("http://id.internal/"), true), Ok(()));
    }

    #[test]
    fn other_hosts_than_the_issuers_must_be_listed() {
        let issuer = url("https://id.example.com/tenant");
        let hosts = [
            "tokens.example.com".to_owned(),
            "other.example.com:8443".to_owned(),
        ];
        let of = |text: &str| check_origin(&url(text), &issuer, &hosts, false);
        assert_eq!(of("https://id.example.com/token"), Ok(()));
        assert_eq!(of("https://id.example.com:443/token"), Ok(()));
        assert_eq!(of("https://tokens.example.com:9/token"), Ok(()));
        assert_eq!(of("https://other.example.com:8443/token"), Ok(()));
        for text in [
            "https://id.example.com:444/token",
            "https://other.example.com/token",
            "https://id.example.com.evil.example/token",
        ] {
            assert_eq!(of(text), Err(Unreachable::OtherOrigin), "{text}");
        }
    }

    /// A resolver of someone who wants weir to go elsewhere.
    struct Theirs(Vec<&'static str>);

    impl Resolve for Theirs {
        fn resolve(&self, _: Name) -> Resolving {
            let found: Vec<SocketAddr> = self.0.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn a_name_with_a_forbidden_address_is_not_asked() {
        let ask = async |addresses: &[&'static str], name: &str| {
            let resolver = Resolver::over(Arc::new(Theirs(addresses.to_vec())));
            let found = resolver.resolve(name.parse().unwrap()).await;
            found
                .map(Iterator::count)
                .map_err(|error| error.to_string())
        };
        let fine = ["192.0.2.1:0", "10.0.0.1:0", "[2001:db8::1]:0"];
        assert_eq!(ask(&fine, "id.example.com").await, Ok(3));
        let refused = Err(Unreachable::LinkLocal.to_string());
        let mixed = ["192.0.2.1:0", "169.254.169.254:0"];
        assert_eq!(ask(&mixed, "id.example.com").await, refused);
        assert_eq!(ask(&["[fe80::1]:0"], "id.example.com").await, refused);
        assert_eq!(
            ask(&["192.0.2.1:0"], "metadata.google.internal").await,
            refused
        );
    }

    #[tokio::test]
    async fn a_client_with_this_resolver_connects_nowhere_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = |addresses: Vec<&'static str>| {
            reqwest::Client::builder()
                .no_proxy()
                .dns_resolver(Resolver::over(Arc::new(Theirs(addresses))))
                .build()
                .unwrap()
        };
        let there = format!("http://id.example.com:{port}/");
        let refused = client(vec!["127.0.0.1:0", "169.254.169.254:0"])
            .get(&there)
            .send();
        assert!(refused.await.unwrap_err().is_connect());
        let asked = client(vec!["127.0.0.1:0"]).get(&there).send();
        let (accepted, _) = tokio::join!(listener.accept(), async {
            tokio::time::timeout(std::time::Duration::from_millis(50), asked).await
        });
        accepted.unwrap();
    }
}
