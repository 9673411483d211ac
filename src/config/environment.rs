//! `inherit_env`: which variables of weir's environment a child process gets.

/// The entries that every list begins with. First those that the official SDKs pass on
/// (`getDefaultEnvironment`: HOME, LOGNAME, PATH, SHELL, TERM, USER), the locale, the time zone, and
/// where to keep files; then what a program needs to reach anything from a company's network, and
/// what `npx`, `uvx`, `pip` and `docker run` need to find what they start.
const USUAL: [&str; 34] = [
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "*_PROXY",
    "*_proxy",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "NPM_CONFIG_*",
    "npm_config_*",
    "PIP_*",
    "UV_*",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
];

/// Parts of names, in lower case, that tell of a secret.
const SECRET_PARTS: [&str; 8] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "_auth",
    "apikey",
];

/// A list of entries: the names of variables, in which `*` stands for any characters, and those with
/// `!` before them, which leave variables out. The last entry that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritEnv(Vec<EnvEntry>);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvEntry {
    pattern: String,
    leaves_out: bool,
}

/// The verdict of a list on a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvDecision {
    /// The child gets it.
    Inherit,
    /// A pattern matches it, but it looks like a secret: it has to be named as a whole.
    Withhold,
    /// The child does not get it.
    Omit,
}

impl EnvEntry {
    /// Parses an entry. `None` if no variable can have such a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (leaves_out, pattern) = match text.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, text),
        };
        let legal = !pattern.is_empty() && !pattern.contains(['=', '\0', '!']);
        legal.then(|| Self {
            pattern: pattern.to_owned(),
            leaves_out,
        })
    }

    fn is_exact(&self) -> bool {
        !self.pattern.contains('*')
    }
}

impl Default for InheritEnv {
    /// Returns what a child inherits if no config says more.
    fn default() -> Self {
        Self(
            USUAL
                .iter()
                .filter_map(|entry| EnvEntry::parse(entry))
                .collect(),
        )
    }
}

impl InheritEnv {
    /// Returns the entries that every list begins with, as they are written.
    #[must_use]
    pub fn usual() -> &'static [&'static str] {
        &USUAL
    }

    /// Adds entries, which win over those before them.
    #[must_use]
    pub(super) fn and(&self, entries: impl IntoIterator<Item = EnvEntry>) -> Self {
        let mut all = self.0.clone();
        all.extend(entries);
        Self(all)
    }

    /// Decides on one variable.
    #[must_use]
    pub fn decide(&self, name: &str, value: &str) -> EnvDecision {
        let mut entries = self.0.iter().rev();
        match entries.find(|entry| matches(&entry.pattern, name)) {
            None => EnvDecision::Omit,
            Some(entry) if entry.leaves_out => EnvDecision::Omit,
            Some(entry) if entry.is_exact() => EnvDecision::Inherit,
            // Patterns do not know what they match.
            Some(_) if is_secret_name(name) => EnvDecision::Omit,
            Some(_) if has_credentials(value) => EnvDecision::Withhold,
            Some(_) => EnvDecision::Inherit,
        }
    }
}

/// Returns whether a pattern matches a whole name. The time is at most the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

/// Returns whether the name of a variable tells of a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("key") || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Returns whether a value holds a URL with user information: `https://token@host/`, or `user:password@host`
/// as proxies are written too.
fn has_credentials(value: &str) -> bool {
    let pieces = value.split(|c: char| c.is_whitespace() || c == ',');
    pieces.into_iter().any(|piece| {
        let (is_url, rest) = match piece.split_once("://") {
            Some((_, rest)) => (true, rest),
            None => (false, piece),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| is_url || user.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("A*", "A", true),
            ("*_PROXY", "HTTP_PROXY", true),
            ("*_PROXY", "HTTP_PROXY_X", false),
            ("*", "", true),
            ("A*B*C", "AxBxBC", true),
            ("A*B*C", "AxC", false),
            ("AB*B", "AB", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_entry_that_matches_decides_and_patterns_pass_no_secret() {
        let list = |entries: &[&str]| {
            let entries = entries.iter().filter_map(|entry| EnvEntry::parse(entry));
            InheritEnv::default().and(entries)
        };
        let usual = list(&[]);
        assert_eq!(usual.decide("PATH", "/bin"), EnvDecision::Inherit);
        assert_eq!(usual.decide("LC_ALL", "de_DE@euro"), EnvDecision::Inherit);
        assert_eq!(usual.decide("HOME", "/a:b@c"), EnvDecision::Inherit);
        assert_eq!(usual.decide("MINE", ""), EnvDecision::Omit);
        for name in [
            "npm_config__auth",
            "npm_config__password",
            "npm_config_//r/:_authToken",
            "UV_PUBLISH_TOKEN",
            "PIP_KEYRING_SECRET",
        ] {
            assert_eq!(usual.decide(name, "x"), EnvDecision::Omit, "{name}");
        }
        for value in [
            "http://u:p@h",
            "u:p@h:1",
            "a http://t@h/x",
            "socks5://u:p@w@h",
        ] {
            assert_eq!(
                usual.decide("X_PROXY", value),
                EnvDecision::Withhold,
                "{value}"
            );
        }
        let named = list(&["X_PROXY", "!PATH", "!Y_*", "Y_TOKEN"]);
        assert_eq!(named.decide("X_PROXY", "u:p@h"), EnvDecision::Inherit);
        assert_eq!(named.decide("PATH", "/bin"), EnvDecision::Omit);
        assert_eq!(named.decide("Y_TOKEN", "x"), EnvDecision::Inherit);
        assert_eq!(list(&["!*"]).decide("PATH", "/bin"), EnvDecision::Omit);
    }
}
