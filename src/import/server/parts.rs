//! The parts of an upstream that only some formats have: tools, budgets, ways to log in.

use super::super::{sort, variables, yaml};
use super::UpstreamWriter;
use crate::document::node::{Node, Value};
use crate::name::Namespace;

/// An OAuth client, as far as a file describes it.
#[derive(Default)]
pub(in crate::import) struct OAuthClientKeys {
    pub(in crate::import) token_url: Option<String>,
    pub(in crate::import) client_id: Option<String>,
    pub(in crate::import) client_secret: Option<String>,
    pub(in crate::import) scopes: Vec<String>,
    pub(in crate::import) audience: Option<String>,
}

/// The settings of AWS signatures, as far as a file has them.
#[derive(Default)]
pub(in crate::import) struct SigningKeys {
    pub(in crate::import) service: Option<String>,
    pub(in crate::import) region: Option<String>,
    pub(in crate::import) role: Option<String>,
    pub(in crate::import) access_key_id: Option<String>,
    pub(in crate::import) secret_access_key: Option<String>,
    pub(in crate::import) session_token: Option<String>,
}

impl UpstreamWriter<'_> {
    /// The names in a list, for `tools.allow` or `tools.deny`.
    pub(in crate::import) fn tools(&mut self, key: &str, node: &Node, allowed: bool) {
        if matches!(node.value, Value::Null) {
            return;
        }
        let names = node.items().and_then(|items| {
            let names = items.iter().map(Node::scalar);
            names.collect::<Option<Vec<_>>>()
        });
        let Some(names) = names else {
            return self.left_out(key, "it is no list of names");
        };
        let globs = names.iter().map(|name| globset::escape(name));
        let list = match allowed {
            true => &mut self.allow,
            false => &mut self.deny,
        };
        list.get_or_insert_default().extend(globs);
        self.carried(key);
    }

    /// A time for a whole call, in seconds.
    pub(in crate::import) fn call_seconds(&mut self, key: &str, node: &Node) {
        let seconds = node.scalar().and_then(|text| text.parse::<f64>().ok());
        let millis = seconds.map(|seconds| (seconds * 1000.0).round());
        match millis.filter(|millis| (1.0..=1e11).contains(millis)) {
            Some(millis) => {
                self.set("timeouts", format!("{{ call: {millis:.0}ms }}"), key);
            }
            None => self.left_out(key, "it is no number of seconds"),
        }
    }

    /// Calls under way at once.
    pub(in crate::import) fn in_flight(&mut self, key: &str, node: &Node) {
        let most = node.scalar().and_then(|text| text.parse::<u32>().ok());
        match most.filter(|most| (1..=1_000_000).contains(most)) {
            Some(most) => {
                self.set("limits", format!("{{ in_flight: {most} }}"), key);
            }
            None => self.left_out(key, "it is no number of calls"),
        }
    }

    /// Sets the first part of its exposed names.
    pub(in crate::import) fn namespace(&mut self, key: &str, namespace: &str) {
        match Namespace::parse(namespace) {
            Ok(_) => {
                self.set("namespace", yaml::quoted(namespace), key);
            }
            Err(_) => self.left_out(key, "a `namespace` is made of a-z, 0-9 and `-`"),
        }
    }

    /// `auth: basic` of `user:password`.
    pub(in crate::import) fn basic(&mut self, key: &str, text: &str) {
        let place = self.place("auth");
        let Some((user, password)) = text.split_once(':').filter(|_| !text.contains("${")) else {
            let why = "`auth: basic` wants the user name and the password apart";
            return self.left_out(key, why);
        };
        let Some(password) = self.secret("PASSWORD", password, &place) else {
            return self.left_out(key, "it is no password");
        };
        let user = yaml::quoted(user);
        let value = format!("{{ type: basic, username: {user}, password: {password} }}");
        self.set("auth", value, "auth");
    }

    /// A header of its own that logs in.
    pub(in crate::import) fn key_header(&mut self, header: &str, text: &str) {
        let place = self.place("auth");
        match self.secret("API_KEY", text, &place) {
            Some(value) => {
                let header = yaml::scalar(header);
                let value = format!("{{ type: header, name: {header}, value: {value} }}");
                self.set("auth", value, "auth");
            }
            None => self.left_out("auth", "it is put together of several parts"),
        }
    }

    /// `auth: bearer` with a token as it is written.
    pub(in crate::import) fn token(&mut self, text: &str) {
        let place = self.place("auth");
        match self.secret("TOKEN", text, &place) {
            Some(token) => self.bearer(&token),
            None => self.left_out("auth", "the token is put together of several parts"),
        }
    }

    /// OAuth client credentials, if the file has all there is to it.
    pub(in crate::import) fn client_credentials(&mut self, client: &OAuthClientKeys) -> bool {
        let (Some(url), Some(id), Some(secret)) =
            (&client.token_url, &client.client_id, &client.client_secret)
        else {
            return false;
        };
        let place = self.place("auth");
        let Some(secret) = self.secret("CLIENT_SECRET", secret, &place) else {
            return false;
        };
        let kind = "oauth2_client_credentials".to_owned();
        let mut members = vec![("type", kind)];
        members.extend(self.member("token_url", Some(url)));
        members.extend(self.member("client_id", Some(id)));
        members.push(("client_secret", secret));
        members.extend(scopes(&client.scopes));
        members.extend(self.member("audience", client.audience.as_ref()));
        self.auth(members);
        true
    }

    /// A person logs in, once.
    pub(in crate::import) fn login(&mut self, client: &OAuthClientKeys) {
        self.keeps = true;
        let kind = "oauth2_authorization_code".to_owned();
        let mut members = vec![("type", kind)];
        members.extend(self.member("client_id", client.client_id.as_ref()));
        let place = self.place("auth");
        let secret = client.client_secret.as_ref();
        let secret = secret.filter(|_| client.client_id.is_some());
        let secret = secret.and_then(|secret| self.secret("CLIENT_SECRET", secret, &place));
        members.extend(secret.map(|secret| ("client_secret", secret)));
        members.extend(scopes(&client.scopes));
        self.auth(members);
        let name = self.name.clone();
        self.changed(&format!("log in once with `weir login {name}`"));
    }

    /// AWS Signature Version 4.
    pub(in crate::import) fn sigv4(&mut self, signing: &SigningKeys) {
        let mut members = vec![("type", "sigv4".to_owned())];
        members.extend(self.member("service", signing.service.as_ref()));
        members.extend(self.member("region", signing.region.as_ref()));
        members.extend(self.member("assume_role", signing.role.as_ref()));
        let place = self.place("auth");
        if let (Some(id), Some(key)) = (&signing.access_key_id, &signing.secret_access_key) {
            let id = self.variable("ACCESS_KEY_ID", id, &place);
            members.extend(id.map(|name| ("access_key_id", format!("\"${{{name}}}\""))));
            let secrets = [
                ("secret_access_key", Some(key)),
                ("session_token", signing.session_token.as_ref()),
            ];
            for (member, text) in secrets {
                let variable = yaml::variable(member);
                let secret = text.and_then(|text| self.secret(&variable, text, &place));
                members.extend(secret.map(|secret| (member, secret)));
            }
        }
        self.auth(members);
    }

    fn auth(&mut self, members: Vec<(&str, String)>) {
        match self.blocks.nest("auth", members) {
            true => self.carried("auth"),
            false => self.twice("auth"),
        }
    }

    fn member<'k>(&mut self, key: &'k str, text: Option<&String>) -> Option<(&'k str, String)> {
        let (text, place) = (text?, format!("auth.{key}"));
        if sort::has_credentials(&variables::literal(text)) {
            let wanted = format!("{}_{key}", self.stem);
            let name = self.hide(&wanted, text, &self.place(&place));
            return Some((key, format!("\"${{{name}}}\"")));
        }
        Some((key, self.quoted(text, &place)))
    }
}

fn scopes(scopes: &[String]) -> Option<(&'static str, String)> {
    let quoted: Vec<_> = scopes.iter().map(|scope| yaml::quoted(scope)).collect();
    (!scopes.is_empty()).then(|| ("scopes", format!("[{}]", quoted.join(", "))))
}
