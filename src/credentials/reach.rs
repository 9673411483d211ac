//! Protection against server-side request forgery: URLs that a remote party names may not lead to
//! metadata services and other link-local hosts.
//!
//! An upstream's 401 and an authorization server's metadata name URLs. With them, the other side
//! could make weir send requests to this machine's metadata service, which gives away credentials.
//! So [`check`] examines every such URL, and the client that uses it resolves names with a
//! [`Resolver`]. The client connects to exactly the addresses that were examined, so a name that
//! changes its address meanwhile (DNS rebinding) gains nothing. Such a client must not follow
//! redirects. Loopback and private addresses stay allowed where the upstream is as near itself
//! ([`ReachLimit`]), because authorization servers are there too; `https` and the issuer's origin
//! are required of them as of all.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

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
    /// It is nearer than the peer that named it, or at another port near weir.
    #[error(
        "it is nearer to weir than the upstream that named it, or another port there; if it is right, name it in `allowed_hosts`"
    )]
    Nearer,
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
    match is_listed(url, allowed_hosts) {
        true => Ok(()),
        false => Err(ForbiddenUrl::OtherOrigin),
    }
}

/// Returns whether a URL has a host of `allowed_hosts`.
fn is_listed(url: &Url, allowed_hosts: &[String]) -> bool {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let with_port = format!("{host}:{port}");
    let listed = |allowed: &String| *allowed == host || *allowed == with_port;
    allowed_hosts.iter().any(listed)
}

/// The reach of what an upstream names: nothing nearer than the upstream itself. Its word must not
/// make weir ask services of this machine or of the organisation that the upstream cannot reach.
#[derive(Clone, Debug)]
pub struct ReachLimit {
    upstream: Url,
    /// The issuer of the config.
    issuer: Option<Url>,
    /// `allowed_hosts`: `HOST` or `HOST:PORT`, lower case.
    allowed_hosts: Vec<String>,
}

/// The port of `https`, at which an organisation's authorization server is.
const HTTPS: u16 = 443;

impl ReachLimit {
    /// Makes the limit for what an upstream names. What the operator named is not limited.
    #[must_use]
    pub fn new(upstream: &Url, issuer: Option<&Url>, allowed_hosts: &[String]) -> Self {
        Self {
            upstream: upstream.clone(),
            issuer: issuer.cloned(),
            allowed_hosts: allowed_hosts.to_vec(),
        }
    }

    /// Checks a URL by its look: its host is as far as the upstream's at least, and unless it is
    /// public, its port is the upstream's, or that of `https` beyond this machine.
    ///
    /// # Errors
    /// It is too near.
    pub fn check(&self, url: &Url) -> Result<(), ForbiddenUrl> {
        let named = [Some(&self.upstream), self.issuer.as_ref()];
        let is_named = |named: &Url| named.origin() == url.origin();
        if named.into_iter().flatten().any(is_named) || is_listed(url, &self.allowed_hosts) {
            return Ok(());
        }
        let (own, reach) = (Reach::of_url(&self.upstream), Reach::of_url(url));
        let port = url.port_or_known_default();
        let has_port = port == self.upstream.port_or_known_default()
            || (reach == Reach::Private && url.scheme() == "https" && port == Some(HTTPS));
        match distance(reach) < distance(own) || (reach != Reach::Public && !has_port) {
            true => Err(ForbiddenUrl::Nearer),
            false => Ok(()),
        }
    }

    /// Returns whether the operator named this host.
    fn is_named(&self, name: &str) -> bool {
        let named = [Some(&self.upstream), self.issuer.as_ref()];
        let mut hosts = named.into_iter().flatten().filter_map(Url::host_str);
        let listed = |allowed: &String| {
            let host = allowed
                .rsplit_once(':')
                .map_or(&**allowed, |(host, _)| host);
            name.eq_ignore_ascii_case(host)
        };
        hosts.any(|host| name.eq_ignore_ascii_case(host)) || self.allowed_hosts.iter().any(listed)
    }
}

/// Returns how far a reach is; what nobody but the operator may name is nearest.
fn distance(reach: Reach) -> u8 {
    match reach {
        Reach::LinkLocal => 0,
        Reach::Loopback => 1,
        Reach::Private => 2,
        Reach::Public => 3,
    }
}

/// Returns how far the nearest of some addresses is.
fn nearest(addresses: &[SocketAddr]) -> u8 {
    let each = addresses.iter();
    let each = each.map(|address| distance(Reach::of_address(address.ip())));
    each.min().unwrap_or_default()
}

/// Resolves names as this machine does, except to link-local addresses and metadata services.
///
/// To be used with `reqwest::ClientBuilder::dns_resolver`. URLs with an address instead of a name
/// do not get here: [`check`] examines those.
pub struct Resolver {
    lookup: Arc<dyn Resolve>,
    limit: Option<ReachLimit>,
}

impl Resolver {
    /// Creates one that uses this machine's resolver.
    #[must_use]
    pub fn new(limit: Option<ReachLimit>) -> Arc<Self> {
        Self::with_lookup(Arc::new(SystemResolver), limit)
    }

    /// Creates one that uses another resolver.
    #[must_use]
    pub fn with_lookup(lookup: Arc<dyn Resolve>, limit: Option<ReachLimit>) -> Arc<Self> {
        Arc::new(Self { lookup, limit })
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
        let limit = self.limit.clone();
        let limit = limit.filter(|limit| !limit.is_named(name.as_str()));
        let found = self.lookup.resolve(name);
        let lookup = Arc::clone(&self.lookup);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            let forbidden =
                |address: &SocketAddr| Reach::of_address(address.ip()) == Reach::LinkLocal;
            // One such address is enough: which address is tried first is up to chance.
            if found.iter().any(forbidden) {
                return Err(ForbiddenUrl::LinkLocal.into());
            }
            if let Some(limit) = limit
                && nearest(&found) < distance(Reach::of_url(&limit.upstream))
            {
                // The upstream too may be nearer than its name looks: inside, `mcp.example.com` can
                // be a private address.
                let Some(Host::Domain(host)) = limit.upstream.host() else {
                    return Err(ForbiddenUrl::Nearer.into());
                };
                let own = lookup.resolve(host.parse()?).await?;
                if nearest(&found) < nearest(&own.collect::<Vec<_>>()) {
                    return Err(ForbiddenUrl::Nearer.into());
                }
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
    fn an_upstream_names_nothing_nearer_than_itself() {
        let hosts = ["keycloak.internal:8080".to_owned()];
        let of = |upstream: &str, named: &str| {
            let limit = ReachLimit::new(&url(upstream), None, &hosts);
            limit.check(&url(named)).is_ok()
        };
        let (public, private, local) = (
            "https://mcp.example.com/",
            "https://erp.internal:8443/",
            "http://localhost:9000/",
        );
        for (upstream, named, fine) in [
            (public, "https://id.example.com/", true),
            (public, "https://id.example.com:9443/", true),
            (public, "https://10.0.0.1/", false),
            (public, "https://erp.internal/", false),
            (public, "http://127.0.0.1:8001/", false),
            (public, "https://keycloak.internal:8080/", true),
            (private, "https://id.example.com/", true),
            (private, "https://sso.internal/", true),
            (private, "https://sso.internal:8443/", true),
            (private, "https://sso.internal:6379/", false),
            (private, "http://sso.internal:443/", false),
            (private, "https://127.0.0.1:8443/", false),
            (local, "http://127.0.0.1:9000/", true),
            (local, "http://127.0.0.1:9001/", false),
            (local, "https://127.0.0.1/", false),
            (local, "https://id.example.com/", true),
        ] {
            assert_eq!(of(upstream, named), fine, "{upstream} {named}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_nearer_than_the_upstream_is_not_resolved() {
        let limit = || Some(ReachLimit::new(&url("https://mcp.example.com/"), None, &[]));
        // Both names lead here, so the upstream is as near.
        let both = Resolver::with_lookup(Arc::new(HostileResolver(vec!["10.0.0.1:0"])), limit());
        assert!(
            both.resolve("id.example.com".parse().unwrap())
                .await
                .is_ok()
        );
        let local = url("https://1.1.1.1/");
        let far = Some(ReachLimit::new(&local, None, &[]));
        let near = Resolver::with_lookup(Arc::new(HostileResolver(vec!["10.0.0.1:0"])), far);
        let refused = near.resolve("id.example.com".parse().unwrap()).await;
        assert!(refused.is_err());
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
            let resolver =
                Resolver::with_lookup(Arc::new(HostileResolver(addresses.to_vec())), None);
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
                .dns_resolver(Resolver::with_lookup(
                    Arc::new(HostileResolver(addresses)),
                    None,
                ))
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
