//! One upstream: how it is reached.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;

use super::check::Check;
use super::secret_values::resolve_text_or_secret;
use super::settings::{CommonKeys, Defaults};
use super::target::{EndpointContext, HttpTarget, Logins};
use super::validation::resolve_validate;
use super::values::expand;
use super::{agentcore, guard, http, on_behalf, rule_origins, tools};
use crate::config::raw::forms::ScalarText;
use crate::config::raw::{self, Transport};
use crate::config::rules::Rule;
use crate::config::{
    ChildUser, Connector, Endpoint, Fingerprint, InheritEnv, ProcessSharing, SecretRef, Upstream,
};
use crate::document::path::KeyPath;
use crate::name::{Namespace, UpstreamId};

/// `timeouts.list` of a runtime: one that has no machine ready takes 20 s to begin.
const COLD: Duration = Duration::from_secs(30);

/// The upstream, or nothing if there is no way to it; then that is reported.
pub(super) fn check_upstream(
    check: &mut Check<'_>,
    mut raw: raw::Upstream,
    at: &KeyPath,
    id: &UpstreamId,
    defaults: &Defaults,
) -> Option<Upstream> {
    let rule_origins = rule_origins::find_rule_origins(check, &raw, at);
    // Before the fingerprint: other rules for data need no new link.
    let guard = guard::check_upstream_guard(check, &mut raw, at);
    let as_written = format!("{:?}", (&raw, defaults));
    let written = raw.guard.take().and_then(|guard| guard.validate);
    let validate_at = at.key("guard").key("validate");
    let validate = resolve_validate(check, written, &defaults.validate, &validate_at);
    let namespace = check_namespace(check, raw.namespace.take(), at, id);
    let strip = raw.names.take().unwrap_or_default().strip;
    let strip =
        strip.and_then(|text| tools::check_regex(check, &text, &at.key("names").key("strip")));
    let mut rules = tools::check_tool_rules(
        check,
        raw.tools.take().unwrap_or_default(),
        &validate,
        &at.key("tools"),
    );
    rules.read_only = raw.read_only.take() == Some(true);
    check_shared_keys(check, &raw, at);
    let mut settings = take_common_keys(&mut raw).resolve(check, defaults, at);
    let sessions = match raw.sessions.take() {
        Some(raw::ProcessSharing::PerCaller) => ProcessSharing::PerCaller,
        Some(raw::ProcessSharing::Shared) | None => ProcessSharing::Shared,
    };
    let forward_meta = raw.forward_meta.take();
    let (connector, mut endpoint, logins) = check_endpoint(check, raw, defaults, at)?;
    if let Endpoint::Child { inherit_env, .. } = &mut endpoint {
        *inherit_env = settings.inherit_env;
    }
    // Relative paths mean something else in another folder, so what they mean is in it too.
    let fingerprint = Fingerprint::of(&(as_written, &endpoint, &logins));
    if connector == Connector::AgentcoreRuntime && !settings.has_list {
        settings.timeouts.list = COLD;
    }
    Some(Upstream {
        id: id.clone(),
        connector,
        endpoint,
        auth: logins.auth,
        on_behalf: logins.on_behalf,
        namespace,
        strip,
        tools: rules,
        guard,
        validate,
        resync: settings.resync,
        stale: settings.stale,
        drift: settings.drift,
        timeouts: settings.timeouts,
        limits: settings.limits,
        sessions,
        // Somebody else's service gets nothing that is not meant for it.
        forward_meta: forward_meta.unwrap_or(connector != Connector::Saas),
        retry: settings.retry,
        instructions: settings.instructions,
        origin: check.origin(at),
        rule_origins,
        // Taken from the checks of all its keys.
        secret_files: Vec::new(),
        fingerprint,
    })
}

/// Reports settings that concern only children, in keys that others have too.
fn check_shared_keys(check: &mut Check<'_>, raw: &raw::Upstream, at: &KeyPath) {
    if raw.url.is_some() && matches!(raw.sessions, Some(raw::ProcessSharing::PerCaller)) {
        check.report(&at.key("sessions"), Rule::NeedsCommand("sessions"));
    }
    let timeouts = raw.timeouts.as_ref();
    let has_start = timeouts.is_some_and(|timeouts| timeouts.start.is_some());
    if has_start && raw.command.is_none() && !check.source.is_excused(at, "command") {
        let at = at.key("timeouts").key("start");
        check.report(&at, Rule::NeedsCommand("timeouts.start"));
    }
    let has_list = raw
        .inherit_env
        .as_ref()
        .is_some_and(|list| !list.is_empty());
    if has_list && raw.command.is_none() && !check.source.is_excused(at, "command") {
        check.report(&at.key("inherit_env"), Rule::NeedsCommand("inherit_env"));
    }
}

/// Takes the keys out that an upstream shares with `defaults`.
fn take_common_keys(raw: &mut raw::Upstream) -> CommonKeys {
    CommonKeys {
        resync: raw.resync.take(),
        stale: raw.stale.take(),
        drift: raw.drift.take(),
        timeouts: raw.timeouts.take(),
        limits: raw.limits.take(),
        retry: raw.retry.take(),
        inherit_env: raw.inherit_env.take(),
        instructions: raw.instructions.take(),
    }
}

fn check_namespace(
    check: &mut Check<'_>,
    written: Option<String>,
    at: &KeyPath,
    id: &UpstreamId,
) -> Namespace {
    match written {
        Some(text) => check.or(
            &at.key("namespace"),
            Namespace::parse(&text),
            Namespace::default(),
        ),
        None => Namespace::of(id),
    }
}

fn check_endpoint(
    check: &mut Check<'_>,
    mut raw: raw::Upstream,
    defaults: &Defaults,
    at: &KeyPath,
) -> Option<(Connector, Endpoint, Logins)> {
    check_transport(check, &mut raw, at);
    let command = raw.command.take();
    let target = match &command {
        None => find_target(check, &raw, at),
        Some(_) => None,
    };
    let context = EndpointContext {
        target: target.as_ref(),
        allow_plain: raw.allow_plain_http == Some(true),
        has_state: defaults.has_state,
    };
    let logins = on_behalf::check_logins(check, &raw, context, at);
    match (target, command) {
        (Some(target), _) => {
            report_present(check, at, &child_keys(&raw), Rule::NeedsCommand);
            let (connector, endpoint) = http::check_endpoint(check, &raw, target, &logins, at);
            Some((connector, endpoint, logins))
        }
        (None, Some(command)) => {
            let ways = [
                ("url", raw.url.is_some()),
                ("gateway", raw.gateway.is_some()),
                ("runtime", raw.runtime.is_some()),
            ];
            if let Some((other, _)) = ways.into_iter().find(|(_, present)| *present) {
                check.report(&at.key("command"), Rule::TwoEndpoints(other));
                return None;
            }
            report_present(check, at, &http_keys(&raw), Rule::NeedsUrl);
            let connector = match raw.connector {
                None | Some(raw::Connector::OnPrem) => None,
                Some(raw::Connector::Saas) => Some(Connector::Saas),
                Some(raw::Connector::AgentcoreGateway) => Some(Connector::AgentcoreGateway),
                Some(raw::Connector::AgentcoreRuntime) => Some(Connector::AgentcoreRuntime),
            };
            if let Some(connector) = connector {
                let rule = Rule::ChildConnector(connector.as_str());
                check.report(&at.key("connector"), rule);
            }
            let child = check_child(check, raw, &command, at);
            Some((Connector::OnPrem, child, Logins::default()))
        }
        (None, None) => None,
    }
}

/// `type`, as `mcp.json` writes it.
fn check_transport(check: &mut Check<'_>, raw: &mut raw::Upstream, at: &KeyPath) {
    let fits = match raw.transport {
        Some(Transport::Sse) => {
            check.report(&at.key("type"), Rule::Sse);
            return;
        }
        Some(Transport::Stdio) => {
            raw.url.is_none() && raw.gateway.is_none() && raw.runtime.is_none()
        }
        Some(Transport::Http | Transport::StreamableHttp) => raw.command.is_none(),
        None => true,
    };
    if !fits {
        check.report(&at.key("type"), Rule::Transport);
    }
}

/// The way to an upstream without a `command`.
fn find_target(check: &mut Check<'_>, raw: &raw::Upstream, at: &KeyPath) -> Option<HttpTarget> {
    let strange = |key: &'static str, connector: Connector| Rule::OtherConnector {
        key,
        connector: connector.as_str(),
    };
    let said = raw.connector;
    if raw.gateway.is_some() && said.is_some_and(|said| said != raw::Connector::AgentcoreGateway) {
        let rule = strange("gateway", Connector::AgentcoreGateway);
        check.report(&at.key("connector"), rule);
    }
    if raw.runtime.is_some() && said.is_some_and(|said| said != raw::Connector::AgentcoreRuntime) {
        let rule = strange("runtime", Connector::AgentcoreRuntime);
        check.report(&at.key("connector"), rule);
    }
    match (&raw.url, &raw.gateway, &raw.runtime) {
        (_, Some(_), Some(_)) => {
            check.report(&at.key("runtime"), Rule::TwoEndpoints("gateway"));
            None
        }
        (Some(_), None, Some(_)) => {
            check.report(&at.key("runtime"), Rule::TwoEndpoints("url"));
            None
        }
        (Some(url), _, None) => http::find_target(check, raw, url, at),
        (None, Some(_), None) => agentcore::check_gateway(check, raw, None, at),
        (None, None, Some(runtime)) => agentcore::check_runtime(check, raw, runtime, at),
        (None, None, None) => {
            let excused = |key| check.source.is_excused(at, key);
            if !["url", "command", "gateway", "runtime"]
                .into_iter()
                .any(excused)
            {
                check.report(at, Rule::NoEndpoint);
            }
            None
        }
    }
}

/// Keys that children have.
fn child_keys(raw: &raw::Upstream) -> [(&'static str, bool); 5] {
    let args = raw.args.as_ref().is_some_and(|args| !args.is_empty());
    let env = raw.env.as_ref().is_some_and(|env| !env.is_empty());
    [
        ("args", args),
        ("env", env),
        ("cwd", raw.cwd.is_some()),
        ("hide_secrets", raw.hide_secrets.is_some()),
        ("user", raw.user.is_some()),
    ]
}

/// Keys that upstreams over HTTP have.
fn http_keys(raw: &raw::Upstream) -> [(&'static str, bool); 6] {
    let login = !matches!(raw.auth, Some(raw::Auth::None {}) | None);
    let headers = raw.headers.as_ref();
    [
        ("auth", login),
        ("listing_auth", raw.listing_auth.is_some()),
        (
            "headers",
            headers.is_some_and(|headers| !headers.is_empty()),
        ),
        ("allow_plain_http", raw.allow_plain_http == Some(true)),
        ("tls", raw.tls.is_some()),
        ("socket", raw.socket.is_some()),
    ]
}

fn report_present(
    check: &mut Check<'_>,
    at: &KeyPath,
    keys: &[(&'static str, bool)],
    rule: fn(&'static str) -> Rule,
) {
    for &(key, present) in keys {
        if present {
            check.report(&at.key(key), rule(key));
        }
    }
}

fn check_child(check: &mut Check<'_>, raw: raw::Upstream, command: &str, at: &KeyPath) -> Endpoint {
    let command = expand(check, command, &at.key("command"));
    if command.is_empty() {
        check.report(&at.key("command"), Rule::Empty);
    }
    if command.contains(|c: char| c.is_control() && c != '\0') {
        check.report(&at.key("command"), Rule::ControlCharacter);
    }
    let args = check_arguments(check, raw.args.unwrap_or_default(), &at.key("args"));
    let env = check_variables(check, raw.env.unwrap_or_default(), &at.key("env"));
    let cwd = raw.cwd.map(|cwd| {
        let cwd = expand(check, &cwd, &at.key("cwd"));
        check.resolve(&cwd)
    });
    let user = raw.user.and_then(|ScalarText(text)| {
        let user = ChildUser::parse(&text).ok_or(Rule::User);
        check.ok(&at.key("user"), user)
    });
    // A bare name is looked up in PATH; anything with a folder in it is a path.
    let is_path = FilePath::new(&command).components().count() > 1 || command.starts_with('.');
    let program = if is_path {
        check.resolve(&command)
    } else {
        PathBuf::from(command)
    };
    Endpoint::Child {
        program,
        args,
        env,
        cwd,
        inherit_env: InheritEnv::default(),
        hides_secrets: raw.hide_secrets != Some(false),
        user,
    }
}

fn check_arguments(check: &mut Check<'_>, raw: Vec<ScalarText>, at: &KeyPath) -> Vec<String> {
    let mut args = Vec::with_capacity(raw.len());
    for (index, ScalarText(text)) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let text = expand(check, &text, &at);
        if text.contains('\0') {
            check.report(&at, Rule::Argument);
        }
        args.push(text);
    }
    args
}

fn check_variables(
    check: &mut Check<'_>,
    raw: IndexMap<String, raw::TextOrSecret>,
    at: &KeyPath,
) -> Vec<(String, SecretRef)> {
    let mut env = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let at = at.key(&name);
        let Some(value) = resolve_text_or_secret(check, &value, &at) else {
            continue;
        };
        if name.is_empty()
            || name.contains(['=', '\0'])
            || value
                .first()
                .is_some_and(|value| value.expose().contains('\0'))
        {
            check.report(&at, Rule::Argument);
        }
        env.push((name, value));
    }
    env
}
