//! Protection against server-side request forgery: URLs that a remote party names may not lead to
//! metadata services and other link-local hosts.
//!
//! An upstream's 401 and an authorization server's metadata name URLs. With them, the other side
//! could make weir send requests to this machine's metadata service, which gives away credentials.
//! So [`check`] examines every such URL, and the client that uses it resolves names with a
//! [`Resolver`]. The client connects to exactly the addresses that were examined, so a name that
//! changes its address meanwhile (DNS rebinding) gains nothing. Such a client must not follow
//! redirects. Loopback and private addresses stay allowed, because authorization servers are there
//! too; `https` and the issuer's origin are required of them as of all.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::config::Reach;

/// The reason why weir sends no request to a URL that a remote party named. Contains no text of
/// that party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenUrl {
    /// The scheme is neither `https` nor `http`.
    #[error("it is not an https URL")]
    Scheme,
    /// It is plain `http` beyond loopback, which is not allowed.
    #[error("it is plain http; `allow_plain_http: true` would allow that")]
    Plain,
    /// It has a user name, a password or a fragment.
    #[error("it has a user name or a `#` part")]
    Parts,
    /// Only the operator may name this host.
    #[error("its host is a link-local address or a metadata service")]
    LinkLocal,
    /// It has neither the issuer's origin nor a host of `allowed_hosts`.
    #[error("its host is not the issuer's, and not in `allowed_hosts`")]
    OtherOrigin,
}

/// Checks that weir may send requests to a URL that a remote party named.
///
/// # Errors
/// It may not.
pub fn check(url: &Url, allow_plain_http: bool) -> Result<(), ForbiddenUrl> {
    let reach = Reach::of_url(url);
    match url.scheme() {
        "https" => {}
        "http" if reach == Reach::Loopback || allow_plain_http => {}
        "http" => return Err(ForbiddenUrl::Plain),
        _ => return Err(ForbiddenUrl::Scheme),
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.fragment().is_some() {
        return Err(ForbiddenUrl::Parts);
    }
    match reach {
        Reach::LinkLocal => Err(ForbiddenUrl::LinkLocal),
        Reach::Loopback | Reach::Private | Reach::Public => Ok(()),
    }
}

/// Does the same as [`check`], and checks that the URL has the issuer's origin or a host of
/// `allowed_hosts` (`HOST` or `HOST:PORT`, lower case).
///
/// # Errors
/// It has neither, or [`check`] fails.
pub fn check_origin(
    url: &Url,
    issuer: &Url,
    allowed_hosts: &[String],
    allow_plain_http: bool,
) -> Result<(), ForbiddenUrl> {
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
        false => Err(ForbiddenUrl::OtherOrigin),
    }
}

/// Resolves names as this machine does, except to link-local addresses and metadata services.
///
/// To be used with `reqwest::ClientBuilder::dns_resolver`. URLs with an address instead of a name
/// do not get here: [`check`] examines those.
pub struct Resolver {
    lookup: Arc<dyn Resolve>,
}

impl Resolver {
    /// Creates one that uses this machine's resolver.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_lookup(Arc::new(SystemResolver))
    }

    /// Creates one that uses another resolver.
    #[must_use]
    pub fn with_lookup(lookup: Arc<dyn Resolve>) -> Arc<Self> {
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
            return Box::pin(async { Err(ForbiddenUrl::LinkLocal.into()) });
        }
        let found = self.lookup.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            let forbidden =
                |address: &SocketAddr| Reach::of_address(address.ip()) == Reach::LinkLocal;
            // One such address is enough: which address is tried first is up to chance.
            if found.iter().any(forbidden) {
                return Err(ForbiddenUrl::LinkLocal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// This machine's resolver.
struct SystemResolver;

impl Resolve for SystemResolver {
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
            ("http://id.example.com/token", ForbiddenUrl::Plain),
            ("http://10.0.0.1/token", ForbiddenUrl::Plain),
            ("file:///etc/passwd", ForbiddenUrl::Scheme),
            ("https://me@id.example.com/", ForbiddenUrl::Parts),
            ("https://id.example.com/#x", ForbiddenUrl::Parts),
            (
                "https://169.254.169.254/latest/meta-data/",
                ForbiddenUrl::LinkLocal,
            ),
            ("https://2852039166/", ForbiddenUrl::LinkLocal),
            ("https://[fd00:ec2::254]/", ForbiddenUrl::LinkLocal),
            ("https://[::ffff:169.254.169.254]/", ForbiddenUrl::LinkLocal),
            ("https://metadata.google.internal/", ForbiddenUrl::LinkLocal),
            ("https://0.0.0.0/", ForbiddenUrl::LinkLocal),
        ] {
            assert_eq!(of(text), Err(why), "{text}");
        }
        let plain = url("http://169.254.169.254/latest/meta-data/");
        assert_eq!(check(&plain, true), Err(ForbiddenUrl::LinkLocal));
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
            assert_eq!(of(text), Err(ForbiddenUrl::OtherOrigin), "{text}");
        }
    }

    /// A resolver that answers with these addresses.
    struct HostileResolver(Vec<&'static str>);

    impl Resolve for HostileResolver {
        fn resolve(&self, _: Name) -> Resolving {
            let found: Vec<SocketAddr> = self.0.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn a_name_with_a_forbidden_address_is_not_asked() {
        let ask = async |addresses: &[&'static str], name: &str| {
            let resolver = Resolver::with_lookup(Arc::new(HostileResolver(addresses.to_vec())));
            let found = resolver.resolve(name.parse().unwrap()).await;
            found
                .map(Iterator::count)
                .map_err(|error| error.to_string())
        };
        let fine = ["192.0.2.1:0", "10.0.0.1:0", "[2001:db8::1]:0"];
        assert_eq!(ask(&fine, "id.example.com").await, Ok(3));
        let refused = Err(ForbiddenUrl::LinkLocal.to_string());
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
                .dns_resolver(Resolver::with_lookup(Arc::new(HostileResolver(addresses))))
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
