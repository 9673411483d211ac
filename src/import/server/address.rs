//! The URL of a server: no secret stays in it.

use super::super::variables::{self, rewrite, single};
use super::super::{sort, yaml};
use super::UpstreamWriter;
use crate::config::is_plain;
use crate::document::node::Node;

impl UpstreamWriter<'_> {
    pub(in crate::import) fn url(&mut self, key: &str, node: &Node) {
        if self.blocks.has("url") {
            return self.twice(key);
        }
        let Some(text) = node.scalar() else {
            return self.disable("`url` is not text");
        };
        let place = self.place("url");
        let (text, fragment) = variables::split_once(&text, &['#']).unwrap_or((&text, ""));
        if !fragment.is_empty() {
            self.comments
                .push("the part of the url after `#` is left out".to_owned());
            self.left_out("#", "no server sees that part of its url");
        }
        let (base, query) = match variables::split_once(text, &['?']) {
            Some((base, query)) => (base, Some(query)),
            None => (text, None),
        };
        let Some(base) = self.credentials(base) else {
            self.disable("weir takes no URL like this: there is a user in it");
            let wanted = format!("{}_URL", self.stem);
            let name = self.hide(&wanted, text, &place);
            return self.set("url", format!("\"${{{name}}}\""), "url");
        };
        let mut url = self.pieces(&base, '/', &place);
        if let Some(query) = query {
            url = format!("{url}?{}", self.pieces(query, '&', &place));
        }
        let url = self.rewritten(&url, &place);
        self.set("url", yaml::quoted(&url), "url");
        if is_plain(&url) {
            let value = "true # what is sent can be read on the way".to_owned();
            if self.blocks.set("allow_plain_http", value) {
                self.changed(
                    "`allow_plain_http` is there now: what is sent can be read on the way",
                );
            }
        }
    }

    /// `https://user:password@host` → `auth`, and the URL without. None if it is hardly a URL, but has a user.
    fn credentials(&mut self, base: &str) -> Option<String> {
        let (scheme, rest) = variables::split_once(base, &[':']).unwrap_or(("", base));
        let slashes = ['/', '\\'];
        let after = rest.trim_start_matches(slashes);
        let authority = variables::split_once(after, &slashes).map_or(after, |(host, _)| host);
        let Some((user, host)) = variables::rsplit_once(authority, &['@']) else {
            return Some(base.to_owned());
        };
        if !rest.starts_with("//") {
            return None;
        }
        let (user, password) = variables::split_once(user, &[':']).unwrap_or((user, ""));
        if password.is_empty() {
            let why = "a user without a password; if it is a token, write it as `auth`";
            self.left_out("user@", why);
        } else if self.blocks.has("auth") {
            self.twice("user@");
        } else {
            self.user(user, password);
        }
        let path = after.strip_prefix(authority).unwrap_or_default();
        Some(format!("{scheme}://{host}{path}"))
    }

    /// `auth` of what a URL says, percent-encoded.
    fn user(&mut self, user: &str, password: &str) {
        let place = self.place("auth");
        let plain = decoded(user);
        let user = if sort::is_token(&variables::literal(user)) {
            let wanted = format!("{}_USERNAME", self.stem);
            format!("\"${{{}}}\"", self.hide(&wanted, &plain, &place))
        } else if variables::refers(user) {
            // Decoded text must not become a reference.
            let is_same = plain.matches('$').count() == user.matches('$').count();
            self.quoted(if is_same { &plain } else { user }, "auth")
        } else {
            yaml::quoted(&plain.replace("${", "$${"))
        };
        let written = rewrite(password, |_| {});
        let name = match single(&written) {
            Some(name) => {
                self.variables.refer(name, &place);
                name.to_owned()
            }
            None => {
                let secret = match variables::refers(password) {
                    true => password.to_owned(),
                    false => decoded(password),
                };
                self.hide(&format!("{}_PASSWORD", self.stem), &secret, &place)
            }
        };
        if variables::refers(password) || password.contains('%') {
            let itself = "is the password itself, without the url's percent-encoding";
            self.changed(&format!("{name} {itself}"));
        }
        let value = format!("{{ type: basic, username: {user}, password: {{ env: {name} }} }}");
        self.set("auth", value, "auth");
    }

    /// The pieces of a path or a query, secrets replaced by variables.
    fn pieces(&mut self, text: &str, separator: char, place: &str) -> String {
        let stem = self.stem.clone();
        let mut hide = |piece: &str| {
            let (name, value) = variables::split_once(piece, &['=']).unwrap_or(("", piece));
            let head = piece.strip_suffix(value).unwrap_or_default();
            if value.is_empty() || !sort::is_secret(name, value) {
                return piece.to_owned();
            }
            let name = if name.is_empty() { "SECRET" } else { name };
            let wanted = format!("{stem}_{}", yaml::variable(name));
            format!("{head}${{{}}}", self.hide(&wanted, value, place))
        };
        let pieces = variables::split(text, separator);
        let pieces: Vec<String> = pieces.into_iter().map(&mut hide).collect();
        pieces.join(&separator.to_string())
    }
}

/// Text without its percent-encoding.
fn decoded(text: &str) -> String {
    // Both mean something else in a form.
    let form = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}
