//! `replicas:`

use std::time::Duration;

use url::Url;

use super::check::Check;
use super::keys::check_duration;
use super::secret_values::resolve_secret;
use super::tls;
use super::values::{expand, expand_optional};
use crate::config::reach::Reach;
use crate::config::{
    Fingerprint, ReplicaRule, ReplicaSettings, ReplicaStore, ReplicaUrl, WhenLost, raw,
};
use crate::document::path::KeyPath;
use crate::name::Instance;

/// The most bytes of a prefix.
const PREFIX: usize = 64;
/// The port of a store, if none is written.
const PORT: u16 = 6379;
/// The most entries of `peers`.
const PEERS: usize = 64;
/// How long a request waits for an answer, if nothing is written.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Checks `replicas`. `keys` is whether there is a sealing key.
pub(super) fn check_replicas(
    check: &mut Check<'_>,
    raw: Option<raw::ReplicaSettings>,
    (has_key, instance): (bool, Option<&Instance>),
    at: &KeyPath,
) -> Option<ReplicaSettings> {
    let raw = raw?;
    let fingerprint = Fingerprint::of(&raw);
    let root = KeyPath::default();
    if !has_key && !check.source.is_excused(&root, "sealing_key") {
        check.report(at, ReplicaRule::NoKey);
    }
    if instance.is_none() && !check.source.is_excused(&root, "instance") {
        check.report(at, ReplicaRule::NoInstance);
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    let is_prefix =
        |text: &String| (1..=PREFIX).contains(&text.len()) && text.chars().all(is_legal);
    if !raw.prefix.as_ref().is_none_or(is_prefix) {
        check.report(&at.key("prefix"), ReplicaRule::Prefix);
    }
    let prefix = raw.prefix.unwrap_or_else(|| {
        let instance = instance.map(ToString::to_string);
        format!("weir:{}", instance.unwrap_or_default())
    });
    if raw.store.is_none() && raw.peers.is_none() {
        check.report(at, ReplicaRule::Nothing);
    }
    let peers = check_peers(check, raw.peers.unwrap_or_default(), &at.key("peers"));
    let peer_tls = raw.peer_tls.as_ref();
    let peer_tls = peer_tls.map(|raw| tls::check_settings(check, raw, &at.key("peer_tls")));
    let store = match raw.store {
        Some(store) => Some(check_store(check, store, &at.key("store"))?),
        None => None,
    };
    Some(ReplicaSettings {
        store,
        peers,
        peer_tls: peer_tls.unwrap_or_default(),
        prefix: prefix.into(),
        when_lost: match raw.when_lost {
            Some(raw::WhenLost::Refuse) => WhenLost::Refuse,
            Some(raw::WhenLost::Local) | None => WhenLost::Local,
        },
        fingerprint,
    })
}

fn check_peers(check: &mut Check<'_>, raw: Vec<String>, at: &KeyPath) -> Box<[ReplicaUrl]> {
    if raw.len() > PEERS {
        check.report(at, ReplicaRule::Peers(PEERS));
    }
    let mut peers = Vec::new();
    for (index, raw) in raw.iter().take(PEERS).enumerate() {
        let place = at.item(index);
        let url = expand(check, raw, &place);
        let url = Url::parse(&url).map_err(|_| ReplicaRule::Peer);
        peers.extend(check.ok(&place, url.and_then(|url| read_peer(&url))));
    }
    peers.into()
}

/// Returns the listener that a URL leads to.
fn read_peer(url: &Url) -> Result<ReplicaUrl, ReplicaRule> {
    let has_tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return Err(ReplicaRule::Peer),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ReplicaRule::Credentials);
    }
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    let host = url.host_str().filter(|_| !has_more);
    let (host, port) = host
        .zip(url.port_or_known_default())
        .ok_or(ReplicaRule::Peer)?;
    if !has_tls && !is_near(host) {
        return Err(ReplicaRule::PlainPeer);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').into();
    Ok(ReplicaUrl {
        host,
        port,
        has_tls,
    })
}

fn check_store(
    check: &mut Check<'_>,
    raw: raw::ReplicaStore,
    at: &KeyPath,
) -> Option<ReplicaStore> {
    let place = at.key("url");
    let url = expand(check, &raw.url, &place);
    let url = check.ok(&place, Url::parse(&url).map_err(|_| ReplicaRule::Url));
    let username = expand_optional(check, raw.username.as_ref(), &at.key("username"));
    let password = raw.password.as_ref();
    if username.is_some() && password.is_none() {
        check.report(&at.key("username"), ReplicaRule::NoPassword);
    }
    let password = password.map(|raw| resolve_secret(check, raw, &at.key("password")));
    let has_tls = raw.tls.is_some();
    let tls = raw.tls.as_ref();
    let tls = tls.map(|raw| tls::check_settings(check, raw, &at.key("tls")));
    let timeout = check_duration(check, raw.timeout, TIMEOUT, &at.key("timeout"));
    let url = url?;
    let found = read_url(&url);
    if url.scheme() == "redis" && has_tls {
        check.report(&at.key("tls"), ReplicaRule::NoTls);
    }
    let (host, port, database) = check.ok(&place, found)?;
    Some(ReplicaStore {
        host: host.into(),
        port,
        database,
        username: username.map(Into::into),
        password,
        tls: (url.scheme() == "rediss").then(|| tls.unwrap_or_default()),
        timeout,
    })
}

/// Returns the host, the port and the database of a URL.
fn read_url(url: &Url) -> Result<(String, u16, u32), ReplicaRule> {
    if !matches!(url.scheme(), "redis" | "rediss") {
        return Err(ReplicaRule::Url);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ReplicaRule::Credentials);
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(ReplicaRule::Url)?;
    let path = url.path().trim_start_matches('/');
    let database = match path {
        "" => Some(0),
        number => number.parse().ok(),
    };
    let has_more = url.query().is_some() || url.fragment().is_some();
    let database = database
        .filter(|_| !has_more)
        .ok_or(ReplicaRule::Database)?;
    if url.scheme() == "redis" && !is_near(host) {
        return Err(ReplicaRule::Plain);
    }
    // Brackets of IPv6 belong to URLs.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), url.port().unwrap_or(PORT), database))
}

/// Returns whether a host is this machine or of a private network.
fn is_near(host: &str) -> bool {
    // Only the schemes of the web have hosts that are parsed.
    let url = Url::parse(&format!("http://{host}/"));
    let reach = url.map_or(Reach::Public, |url| Reach::of_url(&url));
    matches!(reach, Reach::Loopback | Reach::Private)
}
