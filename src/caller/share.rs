//! Shares of what all callers have in common: places at an upstream, sessions, connections.
//!
//! A share is nothing that is set aside: one caller alone may have everything. It decides only when
//! callers are in each other's way. A platform or a proxy in front of weir makes all callers one
//! address; then all of them have one share, and it is the only one.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::Instant;

use crate::caller::{Caller, PrincipalKey};

/// How long a caller counts as one that may come back. As long as two count, neither gets
/// everything.
const LATELY: Duration = Duration::from_secs(600);

/// The part of everything that one caller does not get while there are others: one in so many.
const OTHERS: usize = 8;

/// The key of a caller's share. Callers are told apart by what they proved to be, or by their addresses
/// if they proved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareKey {
    /// The caller on stdio, or a command of this process.
    Local,
    /// The callers at one address.
    Address(IpAddr),
    /// The callers that proved to be one principal, wherever they are.
    Principal(PrincipalKey),
}

impl ShareKey {
    /// Returns the key of a caller at an address.
    #[must_use]
    pub fn of_caller(caller: &Caller, address: Option<IpAddr>) -> Self {
        caller
            .owner()
            .map_or_else(|| Self::of(address), Self::Principal)
    }

    /// Returns the key of callers at an address. A subscriber of IPv6 has at least 2^64 addresses
    /// (RFC 6177 §2), so their first half counts.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        let Some(address) = address else {
            return Self::Local;
        };
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Ipv6Addr::from_bits(network).into()
            }
        })
    }
}

/// One of the queues that callers wait in: the sessions of a caller take turns, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The caller.
    pub share: ShareKey,
    /// Its session, by a number of weir's; zero without one.
    pub session: u64,
}

/// Remembers whether more than one caller was there lately: the last two are enough for that.
#[derive(Debug, Default)]
pub struct Contention {
    last: Option<(ShareKey, Instant)>,
    other: Option<(ShareKey, Instant)>,
}

impl Contention {
    /// Notes that a caller is there.
    pub fn note(&mut self, share: ShareKey, now: Instant) {
        match &mut self.last {
            Some((last, at)) if *last == share => *at = now,
            last => {
                self.other = last.take();
                self.last = Some((share, now));
            }
        }
    }

    /// Returns how many of `all` places a caller may have at once: all of them, or less an eighth if
    /// others were there lately.
    #[must_use]
    pub fn most(&self, share: ShareKey, all: usize, now: Instant) -> usize {
        let seen = [self.last, self.other].into_iter().flatten();
        let others = |(other, at): (ShareKey, Instant)| {
            other != share && now.saturating_duration_since(at) < LATELY
        };
        if seen.into_iter().any(others) {
            all - all / OTHERS
        } else {
            all
        }
    }
}

/// Counts what each caller has.
#[derive(Debug, Default)]
pub struct Holdings(HashMap<ShareKey, usize>);

impl Holdings {
    /// Counts one more.
    pub fn add(&mut self, share: ShareKey) {
        *self.0.entry(share).or_default() += 1;
    }

    /// Counts one less.
    pub fn remove(&mut self, share: ShareKey) {
        if let Some(count) = self.0.get_mut(&share) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&share);
            }
        }
    }

    /// Returns how many a caller has.
    #[must_use]
    pub fn of(&self, share: ShareKey) -> usize {
        self.0.get(&share).copied().unwrap_or_default()
    }

    /// Returns the caller that has most, and how many.
    #[must_use]
    pub fn largest(&self) -> Option<(ShareKey, usize)> {
        let all = self.0.iter().map(|(share, count)| (*share, *count));
        all.max_by_key(|(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::caller::{Identity, Principal};

    fn at(last: u8) -> ShareKey {
        ShareKey::of(Some(Ipv4Addr::new(10, 0, 0, last).into()))
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_caller() {
        let of = |address: &str| ShareKey::of(Some(address.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), at(1));
        assert_ne!(at(1), at(2));
        assert_eq!(ShareKey::of(None), ShareKey::Local);
    }

    #[test]
    fn a_principal_has_one_share_wherever_it_is() {
        let user = Caller::new(Identity::new(Principal::ApiKey, "k"));
        let address = |last: u8| Some(Ipv4Addr::new(10, 0, 0, last).into());
        let of = |caller: &Caller, last| ShareKey::of_caller(caller, address(last));
        assert_eq!(of(&user, 1), of(&user, 2));
        assert_ne!(of(&user, 1), of(&Caller::anonymous(), 1));
        assert_eq!(of(&Caller::anonymous(), 1), at(1));
        assert_eq!(ShareKey::of_caller(&Caller::local(), None), ShareKey::Local);
    }

    #[test]
    fn one_caller_alone_may_have_everything_and_two_may_not() {
        let (mut contention, now) = (Contention::default(), Instant::now());
        for _ in 0..3 {
            contention.note(at(1), now);
        }
        assert_eq!(contention.most(at(1), 64, now), 64);
        contention.note(at(2), now);
        contention.note(at(1), now);
        contention.note(at(1), now);
        for share in [at(1), at(2), at(3)] {
            assert_eq!(contention.most(share, 64, now), 56);
            assert_eq!(contention.most(share, 7, now), 7);
        }
        let later = now + LATELY;
        contention.note(at(1), later);
        assert_eq!(contention.most(at(1), 64, later), 64);
    }

    #[test]
    fn the_caller_that_has_most_is_known() {
        let mut holdings = Holdings::default();
        assert_eq!(holdings.largest(), None);
        for share in [at(1), at(2), at(2), at(3)] {
            holdings.add(share);
        }
        assert_eq!(holdings.largest(), Some((at(2), 2)));
        holdings.remove(at(2));
        holdings.remove(at(2));
        holdings.remove(at(2));
        assert_eq!((holdings.of(at(2)), holdings.of(at(1))), (0, 1));
    }
}
