//! The outline of a config: what decides which names there are. Nothing outside of the text is
//! read, so that a text of anybody can be looked at.

use std::path::Path;

use indexmap::IndexMap;

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
    let (raw, source) = source::read::<raw::File>(text, file, 0, &mut problems);
    let raw = outline_file(raw);
    validate(ParsedFile { raw, source }, Vec::new(), &|_| None, problems)
}

/// Returns the settings that decide names, and no others: a new one is left out until it is named
/// here, so that it looks up nothing.
fn outline_file(raw: raw::File) -> raw::File {
    let outline = |upstreams: IndexMap<String, raw::Upstream>| {
        let upstreams = upstreams.into_iter();
        let upstreams = upstreams.map(|(name, upstream)| (name, outline_upstream(upstream)));
        upstreams.collect()
    };
    raw::File {
        version: raw.version,
        listen: Some(raw::Listen {
            page_size: raw.listen.and_then(|listen| listen.page_size),
            ..raw::Listen::default()
        }),
        naming: raw.naming,
        defaults: raw.defaults.map(|defaults| raw::Defaults {
            resync: defaults.resync,
            stale: defaults.stale,
            timeouts: defaults.timeouts,
            limits: defaults.limits,
            retry: defaults.retry,
            instructions: defaults.instructions,
            ..raw::Defaults::default()
        }),
        upstreams: raw.upstreams.map(outline),
        mcp_servers: raw.mcp_servers.map(outline),
        ..raw::File::default()
    }
}

fn outline_upstream(raw: raw::Upstream) -> raw::Upstream {
    let has_variable = |text: &str| text.contains("${");
    let mut outline = raw::Upstream {
        url: raw.url.map(|url| match has_variable(&url) {
            true => STAND_IN_URL.to_owned(),
            false => url,
        }),
        command: raw.command.map(|_| STAND_IN_PROGRAM.to_owned()),
        transport: raw.transport,
        namespace: raw.namespace,
        names: raw.names,
        tools: raw.tools.map(outline_tools),
        read_only: raw.read_only,
        resync: raw.resync,
        stale: raw.stale,
        timeouts: raw.timeouts,
        limits: raw.limits,
        retry: raw.retry,
        instructions: raw.instructions,
        disabled: raw.disabled,
        ..raw::Upstream::default()
    };
    match has_variable(&format!("{:?}{:?}", raw.gateway, raw.runtime)) {
        // A connector would ask for the region.
        true => outline.url = Some(STAND_IN_URL.to_owned()),
        false => {
            outline.connector = raw.connector;
            outline.gateway = raw.gateway;
            outline.runtime = raw.runtime;
        }
    }
    outline.allow_plain_http = outline.url.is_some().then_some(true);
    outline
}

fn outline_tools(raw: raw::Tools) -> raw::Tools {
    let outline = |(name, change): (String, raw::Override)| {
        let change = raw::Override {
            name: change.name,
            description: change.description,
            hide_args: change.hide_args,
            set_args: change.set_args,
            annotations: change.annotations,
            ..raw::Override::default()
        };
        (name, change)
    };
    raw::Tools {
        allow: raw.allow,
        deny: raw.deny,
        overrides: raw
            .overrides
            .map(|all| all.into_iter().map(outline).collect()),
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
