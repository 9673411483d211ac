//! One server of an `mcp.json` → one upstream in YAML.

use std::path::Path;

use super::variables::{Variables, rewrite, single};
use super::{sort, yaml};
use crate::config::load::parse;
use crate::config::node::{Entry, Node, Value};
use crate::config::validate::{is_plain, is_refused_header};

/// The lines of one upstream, as they grow.
pub(super) struct Server<'v> {
    name: String,
    /// What its variables begin with.
    stem: String,
    variables: &'v mut Variables,
    lines: Vec<String>,
    comments: Vec<String>,
    disabled: bool,
}

impl<'v> Server<'v> {
    pub(super) fn new(name: &str, node: &Node, variables: &'v mut Variables) -> Self {
        let mut server = Self {
            name: name.to_owned(),
            stem: yaml::variable(name),
            variables,
            lines: Vec::new(),
            comments: Vec::new(),
            disabled: false,
        };
        server.read(node);
        server
    }

    /// The upstream, indented. If weir would refuse it, it is disabled and says why.
    pub(super) fn yaml(mut self) -> String {
        if !self.disabled
            && let Err(errors) = parse(
                &format!("upstreams:\n{}", self.render()),
                Path::new(""),
                &stand_in,
            )
        {
            self.disabled = true;
            self.comments.extend(
                errors
                    .iter()
                    .map(|problem| format!("{}: {}", problem.key(), problem.defect())),
            );
        }
        self.render()
    }

    fn render(&self) -> String {
        let mut text = format!("  {}:\n", yaml::scalar(&self.name));
        for comment in &self.comments {
            text.push_str(&format!("    # {}\n", yaml::comment(comment)));
        }
        for line in &self.lines {
            text.push_str(&format!("    {line}\n"));
        }
        if self.disabled {
            text.push_str("    disabled: true\n");
        } else if self.lines.is_empty() {
            text.push_str("    {}\n");
        }
        text
    }

    fn read(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else {
            self.disable("the file has no settings for this server");
            return;
        };
        let mut dropped = Vec::new();
        for Entry { key, node, .. } in entries {
            match key.as_str() {
                "command" => self.text("command", node),
                "url" | "serverUrl" | "httpUrl" => self.url(node),
                "cwd" => self.text("cwd", node),
                "args" => self.args(node),
                "env" => self.env(node),
                "headers" => self.headers(node),
                "type" | "transport" | "transportType"
                    if node.scalar().as_deref() == Some("sse") =>
                {
                    self.disable("the file says HTTP+SSE, which weir does not speak: try the server's Streamable HTTP URL");
                }
                "type" | "transport" | "transportType" => {}
                "disabled" => self.disabled |= matches!(node.value, Value::Bool(true)),
                "enabled" => self.disabled |= matches!(node.value, Value::Bool(false)),
                _ => dropped.push(key.as_str()),
            }
        }
        if !dropped.is_empty() {
            self.comments
                .push(format!("not taken over: {}", dropped.join(", ")));
        }
    }

    fn disable(&mut self, why: &str) {
        self.disabled = true;
        self.comments.push(why.to_owned());
    }

    fn place(&self, key: &str) -> String {
        format!("upstreams.{}.{key}", self.name)
    }

    /// A scalar with its references rewritten and listed.
    fn rewritten(&mut self, text: &str, place: &str) -> String {
        rewrite(text, |name| self.variables.refer(name, place))
    }

    /// The variable that stands for a secret from now on.
    fn hide(&mut self, wanted: &str, secret: &str, place: &str) -> String {
        let wanted = yaml::variable(wanted);
        let other = if wanted.starts_with(&self.stem) {
            format!("{wanted}_2")
        } else {
            format!("{}_{wanted}", self.stem)
        };
        self.variables.replace(&wanted, &other, secret, place)
    }

    fn text(&mut self, key: &str, node: &Node) {
        let Some(text) = node.scalar() else {
            return self.disable(&format!("`{key}` is not text"));
        };
        let text = self.rewritten(&text, &self.place(key));
        self.lines.push(format!("{key}: {}", yaml::scalar(&text)));
    }

    fn args(&mut self, node: &Node) {
        let Value::List(items) = &node.value else {
            return self.disable("`args` is not a list");
        };
        let place = self.place("args");
        let mut args: Vec<String> = Vec::new();
        let mut flag = String::new();
        for item in items {
            let Some(text) = item.scalar() else {
                self.disable("an argument is not text");
                continue;
            };
            let hidden = self.arg(&flag, &text, &place);
            args.push(yaml::quoted(&hidden));
            flag = if text.starts_with('-') && !text.contains('=') {
                text
            } else {
                String::new()
            };
        }
        if !args.is_empty() {
            self.lines.push(format!("args: [{}]", args.join(", ")));
        }
    }

    /// An argument without its secret: `--key=x`, `--key x`, `Authorization: Bearer x`, or a token by its look.
    fn arg(&mut self, flag: &str, text: &str, place: &str) -> String {
        if text.contains("${") {
            return self.rewritten(text, place);
        }
        let (head, value, name) = if text.starts_with('{') {
            (String::new(), text, flag.trim_start_matches('-').to_owned())
        } else if let Some((head, value)) = text.split_once("Bearer ") {
            (format!("{head}Bearer "), value, "token".to_owned())
        } else if let Some((name, value)) = text.split_once('=') {
            (
                format!("{name}="),
                value,
                name.trim_start_matches('-').to_owned(),
            )
        } else if let Some((name, value)) = text.split_once(": ") {
            (format!("{name}: "), value, name.to_owned())
        } else if !text.starts_with('-') {
            (String::new(), text, flag.trim_start_matches('-').to_owned())
        } else {
            return text.to_owned();
        };
        if name != "token" && !sort::is_secret(&name, value) || value.is_empty() {
            return text.to_owned();
        }
        let name = if name.is_empty() { "secret" } else { &name };
        let wanted = format!("{}_{}", self.stem, yaml::variable(name));
        let name = self.hide(&wanted, value, place);
        format!("{head}${{{name}}}")
    }

    fn env(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else {
            return self.disable("`env` is not a mapping");
        };
        let mut lines = Vec::new();
        for Entry { key, node, .. } in entries {
            let Some(text) = node.scalar() else {
                continue;
            };
            let place = self.place(&format!("env.{key}"));
            let value = self.value(key, key, &text, &place);
            lines.push(format!("  {}: {value}", yaml::scalar(key)));
        }
        if !lines.is_empty() {
            self.lines.push("env:".to_owned());
            self.lines.append(&mut lines);
        }
    }

    /// A value of `env` or `headers`: a reference, a hidden secret, or what it is.
    fn value(&mut self, key: &str, wanted: &str, text: &str, place: &str) -> String {
        if text.contains("${") {
            let text = self.rewritten(text, place);
            return match single(&text) {
                Some(name) => format!("{{ env: {name} }}"),
                None => yaml::quoted(&text),
            };
        }
        if sort::is_secret(key, text) {
            return format!("{{ env: {} }}", self.hide(wanted, text, place));
        }
        yaml::quoted(text)
    }

    fn headers(&mut self, node: &Node) {
        let Value::Map(entries) = &node.value else {
            return self.disable("`headers` is not a mapping");
        };
        let mut lines = Vec::new();
        for Entry { key, node, .. } in entries {
            let Some(text) = node.scalar() else {
                continue;
            };
            if is_refused_header(key) {
                self.comments
                    .push(format!("header left out, weir sets it itself: {key}"));
                continue;
            }
            let place = self.place(&format!("headers.{key}"));
            let bearer = key
                .eq_ignore_ascii_case("authorization")
                .then(|| text.strip_prefix("Bearer "));
            if let Some(token) = bearer.flatten().filter(|token| !token.is_empty())
                && let Some(token) = self.token(token, &place)
            {
                self.lines
                    .push(format!("auth: {{ type: bearer, token: {token} }}"));
                continue;
            }
            let wanted = format!("{}_{key}", self.stem);
            let value = self.value(key, &wanted, &text, &place);
            lines.push(format!("  {}: {value}", yaml::scalar(key)));
        }
        if !lines.is_empty() {
            self.lines.push("headers:".to_owned());
            self.lines.append(&mut lines);
        }
    }

    /// A bearer token as a secret reference, if it is one variable or one secret.
    fn token(&mut self, token: &str, place: &str) -> Option<String> {
        let name = if token.contains("${") {
            let text = rewrite(token, |_| {});
            let name = single(&text)?.to_owned();
            self.variables.refer(&name, place);
            name
        } else {
            self.hide(&format!("{}_TOKEN", self.stem), token, place)
        };
        Some(format!("{{ env: {name} }}"))
    }

    fn url(&mut self, node: &Node) {
        let Some(text) = node.scalar() else {
            return self.disable("`url` is not text");
        };
        let place = self.place("url");
        let (text, fragment) = text.split_once('#').unwrap_or((&text, ""));
        if !fragment.is_empty() {
            self.comments
                .push("the part of the url after `#` is left out".to_owned());
        }
        let (base, query) = match text.split_once('?') {
            Some((base, query)) => (base, Some(query)),
            None => (text, None),
        };
        let base = self.credentials(base);
        let mut url = self.pieces(&base, '/', &place);
        if let Some(query) = query {
            url = format!("{url}?{}", self.pieces(query, '&', &place));
        }
        let url = self.rewritten(&url, &place);
        self.lines.push(format!("url: {}", yaml::quoted(&url)));
        if is_plain(&url) {
            self.lines
                .push("allow_plain_http: true # what is sent can be read on the way".to_owned());
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
        self.lines.push(format!(
            "auth: {{ type: basic, username: {user}, password: {{ env: {name} }} }}"
        ));
        format!("{scheme}://{host}{path}")
    }

    /// The pieces of a path or a query, secrets replaced by variables.
    fn pieces(&mut self, text: &str, separator: char, place: &str) -> String {
        let stem = self.stem.clone();
        let mut hide = |piece: &str| {
            let (head, name, value) = match piece.split_once('=') {
                Some((name, value)) => (format!("{name}="), name, value),
                None => (String::new(), "", piece),
            };
            let named = !head.is_empty() && sort::is_secret(name, value);
            if value.contains("${") || !named && !sort::is_secret_value(value) {
                return piece.to_owned();
            }
            let name = if name.is_empty() { "SECRET" } else { name };
            let wanted = format!("{stem}_{}", yaml::variable(name));
            format!("{head}${{{}}}", self.hide(&wanted, value, place))
        };
        let pieces: Vec<String> = text.split(separator).map(&mut hide).collect();
        pieces.join(&separator.to_string())
    }
}

/// Values for a trial run, likely to fit where a variable of such a name stands.
fn stand_in(name: &str) -> Option<String> {
    let name = name.to_uppercase();
    let value = if name.contains("PORT") {
        "1"
    } else if name.contains("URL") || name.contains("ENDPOINT") {
        "https://localhost"
    } else {
        "localhost"
    };
    Some(value.to_owned())
}
