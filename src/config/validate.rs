//! Raw → [`Config`], with everything that is wrong and not only the first.
//!
//! A check that fails reports and goes on with a stand-in. Nobody sees the stand-ins: a config with a problem
//! is refused whole.

mod admin;
mod agentcore;
mod audit;
mod aws;
mod check;
mod client_proof;

mod drift;
mod environment;
mod guard;
mod hooks;
mod http;
mod keys;
mod listen_auth;
mod listen_tls;
mod oauth;
mod on_behalf;
mod on_publish;
mod otel;
mod policy;
mod rates;
mod replicas;
mod resync;
mod rule_origins;
mod secret_values;
mod server;
mod settings;
mod target;
mod telemetry;
mod tls;
mod tools;
mod upstream;
mod validation;
mod values;

pub(crate) use http::{is_plain, is_refused_header};
pub use listen_auth::parse_api_keys;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::error::Problem;
use super::raw;
use super::rules::Rule;
use super::secrets::Env;
use super::source::SourceFile;
use super::{Config, ConfigErrors, UpstreamSource};
use crate::document::path::KeyPath;
use crate::name::UpstreamId;
use check::Check;

/// One file of the config, read.
pub(super) struct ParsedFile<T> {
    pub(super) raw: T,
    pub(super) source: SourceFile,
}

/// Checks the main file and the files of `upstreams.d` together. `problems` are those of reading them.
pub(super) fn validate(
    main: ParsedFile<raw::File>,
    fragments: Vec<ParsedFile<raw::Fragment>>,
    env: Env<'_>,
    mut problems: Vec<Problem>,
) -> Result<Config, ConfigErrors> {
    let ParsedFile { mut raw, source } = main;
    let main_upstreams = [
        ("upstreams", raw.upstreams.take()),
        ("mcpServers", raw.mcp_servers.take()),
    ];
    let mut check = Check::new(&source, env, &mut problems);
    let mut settings = check_main(&mut check, raw);
    let (detectors, fields) = (check.detectors.clone(), check.fields.clone());
    let mut seen = IndexMap::new();
    let mut sources = vec![collect(
        &mut check,
        main_upstreams,
        &settings.defaults,
        &mut seen,
    )];
    let mut aws_secrets = check.aws_secrets;
    for ParsedFile { raw, source } in fragments {
        let upstreams = [
            ("upstreams", raw.upstreams),
            ("mcpServers", raw.mcp_servers),
        ];
        let mut check = Check {
            detectors: detectors.clone(),
            fields: fields.clone(),
            ..Check::new(&source, env, &mut problems)
        };
        sources.push(collect(
            &mut check,
            upstreams,
            &settings.defaults,
            &mut seen,
        ));
        aws_secrets.append(&mut check.aws_secrets);
    }
    let known = |name: &str| seen.keys().any(|id| id.as_str() == name);
    let unknown = rates::unknown_upstreams(&settings.config.rates, known);
    problems.extend(unknown.map(|(at, rule)| source.problem_at(&at, rule.into())));
    if !problems.is_empty() {
        return Err(ConfigErrors::new(problems));
    }
    let upstreams = seen
        .into_iter()
        .filter_map(|(id, seen)| Some((id, seen.upstream?)));
    settings.config.upstreams = upstreams
        .map(|(id, upstream)| (id, upstream.into()))
        .collect();
    settings.config.sources = sources;
    settings.config.aws_secrets = aws_secrets;
    check_whole(settings.config)
}

/// Checks what only a whole config shows.
fn check_whole(config: Config) -> Result<Config, ConfigErrors> {
    let mut mistakes = policy::check_names(&config);
    mistakes.extend(on_behalf::check_issuers(&config));
    mistakes.extend(on_behalf::check_workload_tokens(&config));
    match mistakes.is_empty() {
        true => Ok(config),
        false => Err(ConfigErrors::new(mistakes)),
    }
}

/// Checks the main file but for its upstreams.
fn check_main(check: &mut Check<'_>, mut raw: raw::File) -> settings::Settings {
    let hooks = raw.hooks.take().unwrap_or_default();
    let mut settings = settings::check_settings(check, raw);
    let at = KeyPath::default().key("hooks");
    settings.config.hooks = hooks::check_hooks(check, hooks, &settings.defaults, &at);
    settings.config.secret_files = std::mem::take(&mut check.secret_files);
    check.detectors = settings.config.guard.detectors.to_vec();
    settings
}

/// A name that is taken, and its upstream unless that is disabled.
struct TakenName {
    origin: String,
    upstream: Option<super::Upstream>,
}

/// Checks the upstreams of one file, and returns what it says of upstreams.
fn collect(
    check: &mut Check<'_>,
    upstreams: [(&str, Option<IndexMap<String, raw::Upstream>>); 2],
    defaults: &settings::Defaults,
    seen: &mut IndexMap<UpstreamId, TakenName>,
) -> UpstreamSource {
    let mut here = UpstreamSource {
        file: check.source.file().to_owned(),
        upstreams: Vec::new(),
        is_written: upstreams.iter().any(|(_, written)| written.is_some()),
    };
    for (key, upstreams) in upstreams {
        for (name, raw) in upstreams.into_iter().flatten() {
            let at = KeyPath::default().key(key).key(&name);
            let Some(id) = check.ok(&at, UpstreamId::parse(&name)) else {
                continue;
            };
            let origin = check.origin(&at);
            let enabled = raw.disabled != Some(true);
            check.secret_files.clear();
            let mut upstream = enabled
                .then(|| upstream::check_upstream(check, raw, &at, &id, defaults))
                .flatten();
            if let Some(upstream) = &mut upstream {
                upstream.secret_files = std::mem::take(&mut check.secret_files);
            }
            here.upstreams
                .extend(upstream.as_ref().map(|one| one.id.clone()));
            match seen.entry(id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(TakenName { origin, upstream });
                }
                Entry::Occupied(taken) => {
                    let first = taken.get().origin.clone();
                    check.report(&at, Rule::UpstreamTwice { first });
                }
            }
        }
    }
    here
}
