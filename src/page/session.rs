//! The cookie of somebody who has logged in: sealed, so that only this weir and its replicas make
//! one.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use crate::seal::{NoRandom, Sealer};
use crate::secret::Secret;

/// How long a login is good for.
pub(super) const LIFE: Duration = Duration::from_secs(8 * 60 * 60);

/// The name of the cookie where the page came over TLS. Browsers take it over TLS only, for this
/// host alone.
const SECURE_NAME: &str = "__Host-weir";
/// The beginning of its name otherwise. The port follows: browsers keep cookies for all ports.
const PLAIN_NAME: &str = "weir-";

/// Makes and opens cookies.
#[derive(Debug)]
pub(super) struct SessionSeal(Sealer);

impl SessionSeal {
    pub(super) const fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    /// Makes the value of a cookie for a holder of the token.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub(super) fn seal(&self, token: &Secret, now: SystemTime) -> Result<String, NoRandom> {
        let mut plain = seconds(now + LIFE).to_be_bytes().to_vec();
        plain.extend_from_slice(digest(token).as_ref());
        self.0.seal(&plain)
    }

    /// Returns whether a value is a cookie that is good at `now`: made by this weir, not expired,
    /// for this token.
    pub(super) fn is_good(&self, value: &str, token: &Secret, now: SystemTime) -> bool {
        let Some(plain) = self.0.open(value) else {
            return false;
        };
        let Some((expiry, of)) = plain.split_first_chunk::<8>() else {
            return false;
        };
        u64::from_be_bytes(*expiry) > seconds(now) && of == digest(token).as_ref()
    }
}

fn digest(token: &Secret) -> ring::digest::Digest {
    ring::digest::digest(&ring::digest::SHA256, token.expose().as_bytes())
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Returns the values of all cookies that may be a session's.
pub(super) fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let sent = headers.get_all(header::COOKIE).iter();
    let pairs = sent.filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|text| text.split(';').take(64));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(|(name, _)| *name == SECURE_NAME || name.starts_with(PLAIN_NAME));
    ours.map(|(_, value)| value)
}

/// Writes `Set-Cookie` (RFC 6265) for a page that came over TLS or not, at a port.
pub(super) fn set_cookie(value: &str, port: &str, is_secure: bool, life: Duration) -> String {
    let rest = "Path=/; HttpOnly; SameSite=Strict";
    let life = life.as_secs();
    match is_secure {
        true => format!("{SECURE_NAME}={value}; {rest}; Max-Age={life}; Secure"),
        false => format!("{PLAIN_NAME}{port}={value}; {rest}; Max-Age={life}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyRing;

    fn seal(key: &'static str) -> SessionSeal {
        let keys = KeyRing::from_texts([key]).unwrap();
        SessionSeal::new(keys.sealer("page").unwrap())
    }

    #[test]
    fn a_cookie_is_good_for_its_token_its_key_and_its_time() {
        let (token, now) = (Secret::new("sesame"), SystemTime::now());
        let value = seal("a").seal(&token, now).unwrap();
        assert!(seal("a").is_good(&value, &token, now));
        assert!(seal("a").is_good(&value, &token, now + LIFE - Duration::from_secs(2)));
        assert!(!seal("a").is_good(&value, &token, now + LIFE));
        assert!(!seal("a").is_good(&value, &Secret::new("other"), now));
        assert!(!seal("b").is_good(&value, &token, now));
        for wrong in ["", "x", &value[1..], &format!("{value}A")] {
            assert!(!seal("a").is_good(wrong, &token, now), "{wrong}");
        }
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=b; weir-8001=x".parse().unwrap());
        headers.append(header::COOKIE, "__Host-weir=y; weird=z".parse().unwrap());
        assert_eq!(values(&headers).collect::<Vec<_>>(), ["x", "y"]);
    }
}
