//! The cookies that an upstream sets in one of its sessions (RFC 6265). Balancers name in them the
//! replica that knows the session.
//!
//! A jar lives and ends with one upstream session, so no cookie reaches another upstream, or another
//! caller. An upstream without sessions serves all callers over one connection of weir's. There only
//! the handshake, which is weir's own, sets cookies; those of answers to callers are ignored.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use cookie_store::CookieStore;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use url::Url;

/// The most cookies of one session.
const MOST: usize = 32;

/// The most bytes of one `Set-Cookie`, attributes included: what RFC 6265 §6.1 asks of clients.
const LONGEST: usize = 4096;

/// The most bytes of a `Cookie` header. Common servers refuse more than 8 KiB.
const LONGEST_HEADER: usize = 7 * 1024;

/// The cookies of one upstream session. The default has none, and costs nothing until there is one.
#[derive(Default)]
pub struct Cookies {
    /// Whether there may be a cookie to send.
    has_any: AtomicBool,
    /// Whether no more cookies are taken.
    is_sealed: AtomicBool,
    jar: Mutex<Option<Box<CookieStore>>>,
}

/// Leaves the values out: some are credentials.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies")
            .field("has_any", &self.has_any)
            .field("is_sealed", &self.is_sealed)
            .finish_non_exhaustive()
    }
}

impl Cookies {
    /// Ignores what later answers set. For a connection that all callers share.
    pub fn seal(&self) {
        self.is_sealed.store(true, Ordering::Relaxed);
    }

    /// Adds the cookies to a request to this URL, if there are any for it.
    pub fn add_to(&self, url: &Url, headers: &mut HeaderMap) {
        if !self.has_any.load(Ordering::Relaxed) {
            return;
        }
        let jar = self.jar.lock();
        let Some(jar) = &*jar else {
            return;
        };
        let mut text = String::new();
        for (name, value) in jar.get_request_values(url) {
            if text.len() + name.len() + value.len() + 3 > LONGEST_HEADER {
                continue;
            }
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.extend([name, "=", value]);
        }
        if let Ok(mut value) = HeaderValue::try_from(text)
            && !value.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(header::COOKIE, value);
        }
    }

    /// Takes the cookies that an answer from this URL sets. Cookies for other hosts, malformed ones,
    /// and those over the limits are ignored.
    pub fn update_from(&self, url: &Url, headers: &HeaderMap) {
        if !headers.contains_key(header::SET_COOKIE) || self.is_sealed.load(Ordering::Relaxed) {
            return;
        }
        let set = headers.get_all(header::SET_COOKIE).iter().take(MOST);
        let set = set.filter(|value| value.len() <= LONGEST);
        let mut jar = self.jar.lock();
        let jar = jar.get_or_insert_default();
        for text in set.filter_map(|value| value.to_str().ok()) {
            let _ = jar.parse(text, url);
            if jar.iter_any().count() > MOST {
                drop_one(jar);
            }
        }
        self.has_any.store(true, Ordering::Relaxed);
    }
}

/// Removes a cookie that has expired, or else any one.
fn drop_one(jar: &mut CookieStore) {
    let expired = jar.iter_any().find(|cookie| cookie.is_expired());
    let Some(cookie) = expired.or_else(|| jar.iter_any().next()) else {
        return;
    };
    let domain = cookie.domain.as_cow().unwrap_or_default().into_owned();
    let (path, name) = (cookie.path.to_string(), cookie.name().to_owned());
    jar.remove(&domain, &path, &name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(set: &[&str]) -> HeaderMap {
        let set = set.iter().map(|text| HeaderValue::from_str(text).unwrap());
        set.map(|value| (header::SET_COOKIE, value)).collect()
    }

    /// Returns the cookies that a request to this URL carries.
    fn sent(cookies: &Cookies, url: &str) -> String {
        let mut headers = HeaderMap::new();
        cookies.add_to(&url.parse().unwrap(), &mut headers);
        let sent = headers.get(header::COOKIE);
        sent.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    const URL: &str = "https://mcp.example.com/mcp";

    fn taken(set: &[&str]) -> Cookies {
        let cookies = Cookies::default();
        cookies.update_from(&URL.parse().unwrap(), &answer(set));
        cookies
    }

    #[test]
    fn a_cookie_goes_back_to_where_it_may() {
        let cookies = taken(&["AWSALB=a/b+c=; Expires=Wed, 01 Jan 2098 00:00:00 GMT; Path=/"]);
        assert_eq!(sent(&cookies, URL), "AWSALB=a/b+c=");
        assert_eq!(
            sent(&cookies, "https://mcp.example.com/other"),
            "AWSALB=a/b+c="
        );
        let cookies = taken(&[
            "a=1; Path=/mcp",
            "b=2; Path=/elsewhere",
            "c=3; Secure; Path=/",
        ]);
        assert_eq!(
            sent(&cookies, "https://mcp.example.com/elsewhere/x").len(),
            "b=2; c=3".len()
        );
        assert_eq!(sent(&cookies, "http://mcp.example.com/mcp"), "a=1");
        // Of other hosts, malformed, without a value that a header can carry.
        for odd in ["x=1; Domain=example.org", "", "=", "; ;", "x", "x=é"] {
            assert_eq!(sent(&taken(&[odd]), URL), "", "{odd}");
        }
        assert_eq!(sent(&taken(&["x=1; Domain=example.com"]), URL), "x=1");
        assert_eq!(
            sent(&taken(&["x=\"q\"; HttpOnly; SameSite=None"]), URL),
            "x=\"q\""
        );
    }

    #[test]
    fn a_cookie_ends_when_its_server_says_so() {
        let cookies = taken(&["a=1; Max-Age=600", "b=2", "c=3; Max-Age=0"]);
        cookies.update_from(&URL.parse().unwrap(), &answer(&["b=; Max-Age=0", "a=9"]));
        assert_eq!(sent(&cookies, URL), "a=9");
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let cookies = Cookies::default();
        let url = URL.parse().unwrap();
        for n in 0..1000 {
            let long = format!("n{n}={}; Max-Age=9", "v".repeat(1000));
            cookies.update_from(&url, &answer(&[&long]));
        }
        assert_eq!(
            cookies.jar.lock().as_ref().unwrap().iter_any().count(),
            MOST
        );
        let header = sent(&cookies, URL);
        assert!(
            (5000..=LONGEST_HEADER).contains(&header.len()),
            "{}",
            header.len()
        );
        let huge = format!("n={}", "v".repeat(LONGEST));
        assert_eq!(sent(&taken(&[&huge]), URL), "");
    }

    #[test]
    fn a_sealed_jar_takes_nothing_and_no_value_is_shown() {
        let cookies = taken(&["a=secret"]);
        cookies.seal();
        cookies.update_from(&URL.parse().unwrap(), &answer(&["b=2", "a=3"]));
        assert_eq!(sent(&cookies, URL), "a=secret");
        assert!(!format!("{cookies:?}").contains("secret"));
    }
}
