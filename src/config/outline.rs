//! The outline of a config: what decides which names there are. Nothing outside of the text is
//! read, so that a text of anybody can be looked at.

use std::path::Path;

use super::error::ConfigErrors;
use super::validate::{ParsedFile, validate};
use super::{Config, raw, source};

/// The address and program of upstreams that name them by a variable, and of children.
const STAND_IN_URL: &str = "http://127.0.0.1/mcp";
const STAND_IN_PROGRAM: &str = "program";

/// Parses a config as one file, for its names: keys and types are checked everywhere, and the values of
/// naming, defaults, and of upstreams' addresses, tools and names. Secrets, variables and files are not
/// looked up: what has to do with them is left out of the result.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn parse_outline(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let (mut raw, source) = source::read::<raw::File>(text, file, 0, &mut problems);
    strip_file(&mut raw);
    validate(ParsedFile { raw, source }, Vec::new(), &|_| None, problems)
}

/// Removes what is looked up outside of the text.
fn strip_file(raw: &mut raw::File) {
    let listen = raw.listen.take().unwrap_or_default();
    raw.listen = Some(raw::Listen {
        page_size: listen.page_size,
        ..raw::Listen::default()
    });
    raw.admin = None;
    raw.state = None;
    raw.sealing_key = None;
    raw.sealing_keys = None;
    raw.instance = None;
    raw.limits = None;
    raw.policy = None;
    raw.guard = None;
    raw.audit = None;
    raw.server = None;
    if let Some(defaults) = &mut raw.defaults {
        defaults.drift = None;
        defaults.inherit_env = None;
    }
    let upstreams = [&mut raw.upstreams, &mut raw.mcp_servers];
    for upstream in upstreams
        .into_iter()
        .flatten()
        .flat_map(|all| all.values_mut())
    {
        strip_upstream(upstream);
    }
}

fn strip_upstream(raw: &mut raw::Upstream) {
    let has_variable = |text: &str| text.contains("${");
    let gateway = format!("{:?}{:?}", raw.gateway, raw.runtime);
    if has_variable(&gateway) {
        raw.gateway = None;
        raw.runtime = None;
        // It would ask for a region.
        raw.connector = None;
        raw.url = Some(STAND_IN_URL.to_owned());
    }
    if let Some(url) = &mut raw.url
        && has_variable(url)
    {
        STAND_IN_URL.clone_into(url);
    }
    if let Some(command) = &mut raw.command {
        STAND_IN_PROGRAM.clone_into(command);
    }
    raw.args = None;
    raw.env = None;
    raw.inherit_env = None;
    raw.cwd = None;
    raw.hide_secrets = None;
    raw.user = None;
    raw.socket = None;
    raw.tls = None;
    raw.auth = None;
    raw.listing_auth = None;
    raw.headers = None;
    raw.allow_plain_http = raw.url.is_some().then_some(true);
    raw.drift = None;
    raw.guard = None;
    let tools = raw
        .tools
        .as_mut()
        .and_then(|tools| tools.overrides.as_mut());
    for change in tools.into_iter().flat_map(|tools| tools.values_mut()) {
        change.guard = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_has_the_upstreams_and_reads_nothing() {
        let text = "version: 1
listen: { address: 0.0.0.0:80, auth: { api_keys: { file: /nowhere/keys } }, tls: { cert: /nowhere/a, key: { file: /nowhere/b } } }
policy: { files: [/nowhere/*.cedar] }
upstreams:
  a: { url: 'https://${HOST}/mcp', auth: { type: bearer, token: { env: NO_SUCH_VARIABLE } } }
  b: { command: /nowhere/program, env: { T: { file: /nowhere/secret } }, namespace: x }
  c: { connector: agentcore_gateway, gateway: { id: '${ID}', region: '${REGION}' } }
";
        let config = parse_outline(text, Path::new("pasted.yaml")).unwrap();
        assert_eq!(config.upstreams.len(), 3);
        let b = config.upstreams.values().nth(1).unwrap();
        assert_eq!(b.namespace.as_str(), "x");
    }

    #[test]
    fn mistakes_have_their_place() {
        let text = "version: 1\nupstreams:\n  a: { ulr: 'https://x.example/mcp' }\n  b: [\n";
        let errors = parse_outline(text, Path::new("pasted.yaml")).unwrap_err();
        let first = errors.iter().next().unwrap();
        assert!(first.position().is_some(), "{errors}");
    }
}
