//! One new upstream for a config: from a command line, or from a `server.json` of the MCP registry.

use serde_json::Value as Json;

use super::sort;
use super::yaml::{quoted, scalar};

/// An upstream that is to be added to a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUpstream {
    /// The URL of the server, unless it is a program.
    pub url: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables of the program.
    pub env: Vec<(String, NewValue)>,
    /// Headers of every request.
    pub headers: Vec<(String, NewValue)>,
    /// How weir logs in.
    pub auth: Option<NewAuth>,
}

/// A value: a reference, or text that is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewValue {
    /// `{ env: NAME }`
    Env(String),
    /// `{ file: PATH }`
    File(String),
    /// The text itself.
    Text(String),
}

/// How weir logs in to a new upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewAuth {
    /// A bearer token.
    Bearer(NewValue),
    /// Signature Version 4.
    Sigv4,
}

/// Why there is no new upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewUpstreamError {
    /// `NAME=VALUE` is expected.
    #[error("`{0}` has no `=`: write NAME=env:VARIABLE, NAME=file:PATH or NAME=TEXT")]
    NoValue(String),
    /// A secret as text.
    #[error("the value of `{0}` looks like a secret: write {0}=env:VARIABLE or {0}=file:PATH")]
    Secret(String),
    /// Another word for `auth`.
    #[error("write env:VARIABLE or file:PATH for a bearer token, or sigv4")]
    Auth,
    /// The file is not what the registry has.
    #[error("not a server.json of the MCP registry: {0}")]
    NotRegistry(&'static str),
    /// None of its ways fits.
    #[error(
        "it has neither a remote that speaks Streamable HTTP nor a package of npm, pypi or oci on stdio: add it with `--url` or `-- COMMAND`"
    )]
    NoWay,
    /// An argument without value.
    #[error("its argument `{0}` needs a value: add it with `-- COMMAND ARGS`")]
    NeedsValue(String),
}

impl NewValue {
    /// Reads `NAME=env:VARIABLE`, `NAME=file:PATH` or `NAME=TEXT`.
    ///
    /// # Errors
    /// There is no `=`, or the text looks like a secret.
    pub fn parse_pair(pair: &str) -> Result<(String, Self), NewUpstreamError> {
        let no_value = || {
            // A secret may stand there without its name.
            NewUpstreamError::NoValue(pair.chars().take(8).collect())
        };
        let (name, value) = pair.split_once('=').ok_or_else(no_value)?;
        let value = match Self::parse_reference(value) {
            Some(reference) => reference,
            None if sort::is_secret(name, value) => {
                return Err(NewUpstreamError::Secret(name.to_owned()));
            }
            None => Self::Text(value.to_owned()),
        };
        Ok((name.to_owned(), value))
    }

    fn parse_reference(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::Env(name.to_owned()));
        }
        let path = text.strip_prefix("file:")?;
        Some(Self::File(path.to_owned()))
    }

    fn yaml(&self) -> String {
        match self {
            Self::Env(name) => format!("{{ env: {} }}", scalar(name)),
            Self::File(path) => format!("{{ file: {} }}", scalar(path)),
            // A `$` of the text is none of a variable.
            Self::Text(text) => quoted(&text.replace("${", "$${")),
        }
    }
}

impl NewAuth {
    /// Reads `env:VARIABLE`, `file:PATH` or `sigv4`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, NewUpstreamError> {
        match (text, NewValue::parse_reference(text)) {
            ("sigv4", _) => Ok(Self::Sigv4),
            (_, Some(reference)) => Ok(Self::Bearer(reference)),
            (_, None) => Err(NewUpstreamError::Auth),
        }
    }
}

impl NewUpstream {
    /// Returns its value in YAML, a line each, not indented.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(url) = &self.url {
            lines.push(format!("url: {}", quoted(url)));
        }
        if let Some((program, args)) = self.command.split_first() {
            lines.push(format!("command: {}", scalar(program)));
            let args: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
            if !args.is_empty() {
                lines.push(format!("args: [{}]", args.join(", ")));
            }
        }
        match &self.auth {
            Some(NewAuth::Bearer(token)) => {
                lines.push(format!("auth: {{ type: bearer, token: {} }}", token.yaml()));
            }
            Some(NewAuth::Sigv4) => lines.push("auth: { type: sigv4 }".to_owned()),
            None => {}
        }
        for (key, values) in [("env", &self.env), ("headers", &self.headers)] {
            if !values.is_empty() {
                lines.push(format!("{key}:"));
            }
            let values = values.iter();
            lines.extend(
                values.map(|(name, value)| format!("  {}: {}", scalar(name), value.yaml())),
            );
        }
        lines
    }

    /// Reads a `server.json` (schema of the MCP registry, 2025-09-29): its first remote that speaks
    /// Streamable HTTP, else its first package that weir can start.
    ///
    /// # Errors
    /// It is none, or none of its ways fits.
    pub fn from_registry(text: &str) -> Result<Self, NewUpstreamError> {
        let json: Json = serde_json::from_str(text)
            .map_err(|_| NewUpstreamError::NotRegistry("it is not JSON"))?;
        // The registry's API wraps it.
        let server = json.get("server").unwrap_or(&json);
        let list = |key| server.get(key).and_then(Json::as_array);
        if list("remotes").is_none() && list("packages").is_none() {
            return Err(NewUpstreamError::NotRegistry(
                "it has no `remotes` and no `packages`",
            ));
        }
        let remotes = list("remotes").into_iter().flatten();
        let mut remotes =
            remotes.filter(|remote| text_of(remote, "type") == Some("streamable-http"));
        if let Some(remote) = remotes.next()
            && let Some(url) = text_of(remote, "url")
        {
            return Ok(Self {
                url: Some(url.to_owned()),
                headers: values(remote, "headers"),
                ..Self::default()
            });
        }
        let packages = list("packages").into_iter().flatten();
        for package in packages {
            let transport = package
                .get("transport")
                .and_then(|way| text_of(way, "type"));
            if transport.is_none_or(|transport| transport == "stdio")
                && let Some(upstream) = from_package(package)?
            {
                return Ok(upstream);
            }
        }
        Err(NewUpstreamError::NoWay)
    }
}

fn text_of<'j>(json: &'j Json, key: &str) -> Option<&'j str> {
    json.get(key)?.as_str()
}

/// Returns the upstream of a package; `None` for a kind that weir cannot start.
fn from_package(package: &Json) -> Result<Option<NewUpstream>, NewUpstreamError> {
    let (Some(kind), Some(name)) = (
        text_of(package, "registryType"),
        text_of(package, "identifier"),
    ) else {
        return Ok(None);
    };
    let version = text_of(package, "version");
    let env = values(package, "environmentVariables");
    let at = |mark: &str| {
        version.map_or_else(
            || name.to_owned(),
            |version| format!("{name}{mark}{version}"),
        )
    };
    let runtime = arguments(package, "runtimeArguments")?;
    let mut command = match kind {
        "npm" => vec!["npx".to_owned(), "-y".to_owned()],
        "pypi" => vec!["uvx".to_owned()],
        "oci" => ["docker", "run", "-i", "--rm"].map(str::to_owned).into(),
        _ => return Ok(None),
    };
    if kind == "oci" {
        // Docker takes the value from its own environment.
        let names = env
            .iter()
            .flat_map(|(name, _)| ["-e".to_owned(), name.clone()]);
        command.extend(names);
    }
    command.extend(runtime.into_iter().filter(|argument| argument != "-y"));
    command.push(match kind {
        "npm" => at("@"),
        "pypi" => at("=="),
        _ if name.contains(':') => name.to_owned(),
        _ => at(":"),
    });
    command.extend(arguments(package, "packageArguments")?);
    Ok(Some(NewUpstream {
        command,
        env,
        ..NewUpstream::default()
    }))
}

/// Reads arguments. One that is not required and has no value is left out.
fn arguments(package: &Json, key: &str) -> Result<Vec<String>, NewUpstreamError> {
    let mut all = Vec::new();
    for argument in package
        .get(key)
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let name = text_of(argument, "name");
        let value = text_of(argument, "value").or_else(|| text_of(argument, "default"));
        let is_required = argument.get("isRequired") == Some(&Json::Bool(true));
        let value = value.filter(|value| !value.contains('{'));
        match (text_of(argument, "type"), name, value) {
            (Some("named"), Some(name), Some(value)) => {
                all.extend([name.to_owned(), value.to_owned()]);
            }
            (Some("named"), Some(name), None) if is_required => all.push(name.to_owned()),
            (_, _, Some(value)) => all.push(value.to_owned()),
            (_, _, None) if is_required => {
                let hint = text_of(argument, "valueHint").or(name).unwrap_or("unnamed");
                return Err(NewUpstreamError::NeedsValue(hint.to_owned()));
            }
            (_, _, None) => {}
        }
    }
    Ok(all)
}

/// Reads headers or variables: references, unless the file has a value that is no secret. One that is
/// neither required nor secret, and has no value, is left out.
fn values(json: &Json, key: &str) -> Vec<(String, NewValue)> {
    let items = json.get(key).and_then(Json::as_array).into_iter().flatten();
    let read = |item: &Json| {
        let name = text_of(item, "name")?;
        let is = |key| item.get(key) == Some(&Json::Bool(true));
        let text = text_of(item, "value").or_else(|| text_of(item, "default"));
        let text = text
            .filter(|text| !is("isSecret") && !text.contains('{') && !sort::is_secret(name, text));
        let value = match text {
            Some(text) => NewValue::Text(text.to_owned()),
            None if is("isRequired") || is("isSecret") => {
                NewValue::Env(super::yaml::variable(name))
            }
            None => return None,
        };
        Some((name.to_owned(), value))
    };
    items.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_the_registry_becomes_a_command() {
        let text = r#"{"name":"io.github.a/b","packages":[
            {"registryType":"mcpb","identifier":"https://a/b.mcpb"},
            {"registryType":"npm","identifier":"@a/b","version":"1.2.3","transport":{"type":"stdio"},
             "runtimeArguments":[{"type":"positional","value":"-y"}],
             "packageArguments":[{"type":"named","name":"--port","value":"7"},{"type":"positional","value":"/data"}],
             "environmentVariables":[{"name":"API_KEY","isRequired":true,"isSecret":true},{"name":"LEVEL","default":"info"},{"name":"MORE"}]}]}"#;
        let upstream = NewUpstream::from_registry(text).unwrap();
        assert_eq!(
            upstream.lines(),
            [
                "command: npx",
                r#"args: ["-y", "@a/b@1.2.3", "--port", "7", "/data"]"#,
                "env:",
                "  API_KEY: { env: API_KEY }",
                r#"  LEVEL: "info""#,
            ]
        );
    }

    #[test]
    fn a_remote_of_the_registry_becomes_a_url() {
        let text = r#"{"server":{"name":"a/b","remotes":[{"type":"sse","url":"https://a/sse"},{"type":"streamable-http","url":"https://a/mcp","headers":[{"name":"X-Api-Key","isRequired":true,"isSecret":true}]}]}}"#;
        let lines = NewUpstream::from_registry(text).unwrap().lines();
        assert_eq!(
            lines,
            [
                r#"url: "https://a/mcp""#,
                "headers:",
                "  X-Api-Key: { env: X_API_KEY }"
            ]
        );
        assert_eq!(
            NewUpstream::from_registry(r#"{"remotes":[]}"#),
            Err(NewUpstreamError::NoWay)
        );
    }

    #[test]
    fn secrets_are_references_only() {
        let secret = NewValue::parse_pair("API_KEY=sk-live-0123456789abcdef");
        assert_eq!(secret, Err(NewUpstreamError::Secret("API_KEY".to_owned())));
        let reference = NewValue::parse_pair("API_KEY=env:KEY");
        assert_eq!(
            reference,
            Ok(("API_KEY".to_owned(), NewValue::Env("KEY".to_owned())))
        );
        assert_eq!(NewAuth::parse("s3cr3t"), Err(NewUpstreamError::Auth));
    }
}
