//! How far away a host can be: what `http` may go to, and what nobody but the operator may name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// How far away a host can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// The organisation's network: private addresses, `.internal`, `.local`, one label.
    Private,
    /// Link-local addresses, the metadata services of clouds wherever they are, and addresses that are no single
    /// host's. Only an operator has business there.
    LinkLocal,
    /// Anywhere.
    Public,
}

/// Metadata services at addresses that are not link-local: Alibaba Cloud, Azure.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];
/// Names of metadata services.
const METADATA_NAMES: [&str; 3] = [
    "metadata.google.internal",
    "metadata.goog",
    "instance-data.ec2.internal",
];

impl Reach {
    /// Of a URL's host. A name is judged by its look: it is not resolved.
    #[must_use]
    pub fn of_url(url: &Url) -> Self {
        match url.host() {
            Some(Host::Ipv4(address)) => Self::of_v4(address),
            Some(Host::Ipv6(address)) => Self::of_v6(address),
            Some(Host::Domain(name)) => Self::of_name(name),
            None => Self::Public,
        }
    }

    /// Of a host name, by its look.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let within = |zone: &str| name.ends_with(zone);
        if METADATA_NAMES.contains(&name.as_str()) {
            Self::LinkLocal
        } else if name == "localhost" || within(".localhost") {
            Self::Loopback
        } else if !name.contains('.') || within(".internal") || within(".local") {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Of an address.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, ..] = address.octets();
        // RFC 6598: networks of carriers, and of clusters that have run out of the others.
        let shared = first == 100 && (64..128).contains(&second);
        if METADATA_V4.contains(&address)
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            // 0.0.0.0/8 is this machine on Linux.
            || first == 0
        {
            Self::LinkLocal
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_private() || shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if let Some(address) = embedded(address) {
            return Self::of_v4(address);
        }
        let [first, second, ..] = address.segments();
        if address.is_loopback() {
            Self::Loopback
        } else if address.is_unspecified()
            || address.is_multicast()
            || address.is_unicast_link_local()
            // fd00:ec2::/32: the metadata services of EC2 and EKS.
            || (first == 0xfd00 && second == 0x0ec2)
        {
            Self::LinkLocal
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The IPv4 address that packets to an IPv6 address end at: mapped, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        let cases = [
            ("127.0.0.1", Reach::Loopback),
            ("127.9.9.9", Reach::Loopback),
            ("[::1]", Reach::Loopback),
            ("[::ffff:127.0.0.1]", Reach::Loopback),
            ("localhost", Reach::Loopback),
            ("a.LOCALHOST.", Reach::Loopback),
            ("10.1.2.3", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("[fd12::1]", Reach::Private),
            ("mcp", Reach::Private),
            ("erp.mcp.internal", Reach::Private),
            ("x.svc.cluster.local", Reach::Private),
            ("169.254.169.254", Reach::LinkLocal),
            ("2852039166", Reach::LinkLocal),
            ("0xa9fea9fe", Reach::LinkLocal),
            ("169.254.170.2", Reach::LinkLocal),
            ("100.100.100.200", Reach::LinkLocal),
            ("168.63.129.16", Reach::LinkLocal),
            ("0.0.0.0", Reach::LinkLocal),
            ("0.1.2.3", Reach::LinkLocal),
            ("224.0.0.1", Reach::LinkLocal),
            ("255.255.255.255", Reach::LinkLocal),
            ("[fe80::1]", Reach::LinkLocal),
            ("[::]", Reach::LinkLocal),
            ("[ff02::1]", Reach::LinkLocal),
            ("[fd00:ec2::254]", Reach::LinkLocal),
            ("[fd00:ec2::23]", Reach::LinkLocal),
            ("[::ffff:169.254.169.254]", Reach::LinkLocal),
            ("[64:ff9b::a9fe:a9fe]", Reach::LinkLocal),
            ("[2002:a9fe:a9fe::1]", Reach::LinkLocal),
            ("metadata.google.internal.", Reach::LinkLocal),
            ("172.32.0.1", Reach::Public),
            ("100.128.0.1", Reach::Public),
            ("8.8.8.8", Reach::Public),
            ("[2001:db8::1]", Reach::Public),
            ("[64:ff9b::808:808]", Reach::Public),
            ("internal.example.com", Reach::Public),
        ];
        for (host, reach) in cases {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(Reach::of_url(&url), reach, "{host}");
        }
    }
}
