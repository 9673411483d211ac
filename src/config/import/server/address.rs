//! The URL of a server: no secret stays in it.

use super::super::{sort, variables, yaml};
use super::Server;
use crate::config::node::Node;
use crate::config::validate::is_plain;

impl Server<'_> {
    pub(in crate::config::import) fn url(&mut self, key: &str, node: &Node) {
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
        let base = self.credentials(base);
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

    /// `https://user:password@host` → `auth`, and the URL without.
    fn credentials(&mut self, base: &str) -> String {
        let Some((scheme, rest)) = base.split_once("://") else {
            return base.to_owned();
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let Some((user, host)) = authority.rsplit_once('@') else {
            return base.to_owned();
        };
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let name = self.hide(
            &format!("{}_PASSWORD", self.stem),
            password,
            &self.place("auth"),
        );
        let user = yaml::quoted(user);
        let value = format!("{{ type: basic, username: {user}, password: {{ env: {name} }} }}");
        self.set("auth", value, "auth");
        format!("{scheme}://{host}{path}")
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
