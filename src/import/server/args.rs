//! The arguments of a child: no secret stays in them.

use super::super::{sort, variables, yaml};
use super::UpstreamWriter;
use crate::document::node::{Node, Value};

impl UpstreamWriter<'_> {
    pub(in crate::import) fn args(&mut self, node: &Node) {
        let Value::List(items) = &node.value else {
            return self.disable("`args` is not a list");
        };
        let place = self.place("args");
        let mut args: Vec<String> = Vec::new();
        let mut flag = String::new();
        for item in items {
            self.at = item.at;
            let Some(text) = item.scalar() else {
                self.disable("an argument is not text");
                continue;
            };
            let hidden = self.arg(&flag, &text, &place);
            args.push(yaml::quoted(&hidden));
            flag = if text.starts_with('-') && is_name(&text) {
                text
            } else {
                String::new()
            };
        }
        if !args.is_empty() {
            self.set("args", format!("[{}]", args.join(", ")), "args");
        }
    }

    /// An argument without its secret: `--key=x`, `--key x`, `Authorization: Bearer x`, or a token by its look.
    fn arg(&mut self, flag: &str, text: &str, place: &str) -> String {
        let name = match text.starts_with('-') {
            true => "",
            false => flag.trim_start_matches('-'),
        };
        self.named(name, text, place)
    }

    /// The value under a name. It may be another name with its value: `--header=X-Api-Key: x`.
    fn named(&mut self, name: &str, text: &str, place: &str) -> String {
        if let Some((scheme, value)) = scheme(name, text) {
            let name = match scheme.eq_ignore_ascii_case("bearer") {
                true => "token",
                false => name,
            };
            return format!("{scheme} {}", self.certain(name, value, place));
        }
        if sort::is_secret_name(name) && sort::is_secret(name, text) {
            return self.hidden(name, text, place);
        }
        if let Some((inner, value)) = pair(text) {
            let is_user = matches!(name, "u" | "user");
            let inner = match is_user && !sort::is_secret_name(inner) {
                true => "password",
                false => inner,
            };
            let head = text.strip_suffix(value).unwrap_or_default();
            return format!("{head}{}", self.named(inner, value, place));
        }
        if sort::is_secret(name, text) {
            return self.hidden(name, text, place);
        }
        match text.split_once("Bearer ") {
            Some((head, value)) if !value.is_empty() => {
                let head = self.rewritten(head, place);
                format!("{head}Bearer {}", self.certain("token", value, place))
            }
            _ => self.rewritten(text, place),
        }
    }

    /// A secret, if there is more to it than references.
    fn certain(&mut self, name: &str, value: &str, place: &str) -> String {
        match variables::literal(value).contains(|c: char| c.is_alphanumeric()) {
            true => self.hidden(name, value, place),
            false => self.rewritten(value, place),
        }
    }

    fn hidden(&mut self, name: &str, value: &str, place: &str) -> String {
        let name = if name.is_empty() { "secret" } else { name };
        let wanted = format!("{}_{}", self.stem, yaml::variable(name));
        format!("${{{}}}", self.hide(&wanted, value, place))
    }
}

/// `Bearer x` and `Basic x`, however they are written where a name says that a secret follows.
fn scheme<'t>(name: &str, text: &'t str) -> Option<(&'t str, &'t str)> {
    let (word, value) = sort::scheme(text)?;
    let is_certain = match sort::is_secret_name(name) {
        true => ["bearer", "basic"]
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme)),
        false => matches!(word, "Bearer" | "Basic"),
    };
    is_certain.then_some((word, value))
}

/// A name and its value, apart where the first `=` or `:` is. What looks like no name is none.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (head, value) = variables::split_once(text, &['=', ':'])?;
    let name = head.trim_start_matches('-');
    let is_url = value.starts_with("//") && text.get(head.len()..)?.starts_with(':');
    let value = value.trim_start();
    let is_pair = !name.is_empty() && is_name(name) && !is_url && !value.is_empty();
    is_pair.then_some((name, value))
}

/// Returns whether a text may be used in the name of a variable.
fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.bytes().all(legal)
}
