//! One upstream: how it is reached.

use std::path::{Path as FilePath, PathBuf};

use indexmap::IndexMap;

use super::settings::{Defaults, Written};
use super::{Check, http, tools};
use crate::config::forms::{Text, TextOrSecret};
use crate::config::path::Path;
use crate::config::raw::{self, Transport};
use crate::config::rules::Rule;
use crate::config::{Auth, Connector, Endpoint, SecretRef, Sessions, Upstream, secrets};
use crate::name::{Namespace, UpstreamId};
use crate::secret::Secret;

/// The upstream, or nothing if there is no way to it; then that is reported.
pub(super) fn upstream(
    check: &mut Check<'_>,
    mut raw: raw::Upstream,
    at: &Path,
    id: &UpstreamId,
    defaults: &Defaults,
) -> Option<Upstream> {
    let namespace = match raw.namespace.take() {
        Some(text) => check.or(
            &at.key("namespace"),
            Namespace::parse(&text),
            Namespace::default(),
        ),
        None => Namespace::of(id),
    };
    let strip = raw.names.take().unwrap_or_default().strip;
    let strip = strip.and_then(|text| tools::regex(check, &text, &at.key("names").key("strip")));
    let rules = tools::rules(
        check,
        raw.tools.take().unwrap_or_default(),
        &at.key("tools"),
    );
    let written = Written {
        resync: raw.resync.take(),
        stale: raw.stale.take(),
        timeouts: raw.timeouts.take(),
        limits: raw.limits.take(),
        retry: raw.retry.take(),
    };
    let settings = written.over(check, defaults, at);
    let auth = http::auth(check, raw.auth.as_ref(), &at.key("auth"));
    let sessions = match raw.sessions.take() {
        Some(raw::Sessions::PerCaller) => Sessions::PerCaller,
        Some(raw::Sessions::Shared) | None => Sessions::Shared,
    };
    if sessions == Sessions::PerCaller && raw.url.is_some() {
        check.report(&at.key("sessions"), Rule::NeedsCommand("sessions"));
    }
    let (connector, endpoint) = endpoint(check, raw, &auth, at)?;
    Some(Upstream {
        id: id.clone(),
        connector,
        endpoint,
        auth,
        namespace,
        strip,
        tools: rules,
        resync: settings.resync,
        stale: settings.stale,
        timeouts: settings.timeouts,
        limits: settings.limits,
        sessions,
        retry: settings.retry,
        origin: check.origin(at),
    })
}

fn endpoint(
    check: &mut Check<'_>,
    mut raw: raw::Upstream,
    auth: &Auth,
    at: &Path,
) -> Option<(Connector, Endpoint)> {
    if raw.transport == Some(Transport::Sse) {
        check.report(&at.key("type"), Rule::Sse);
        raw.transport = None;
    }
    let (url, command) = (raw.url.take(), raw.command.take());
    let fits = match raw.transport {
        Some(Transport::Stdio) => url.is_none(),
        Some(Transport::Http | Transport::StreamableHttp) => command.is_none(),
        Some(Transport::Sse) | None => true,
    };
    if !fits {
        check.report(&at.key("type"), Rule::Transport);
    }
    match (url, command) {
        (Some(_), Some(_)) => {
            check.report(&at.key("command"), Rule::TwoEndpoints);
            None
        }
        (None, None) => {
            let excused = |key| check.source.is_excused(at, key);
            if !excused("url") && !excused("command") {
                check.report(at, Rule::NoEndpoint);
            }
            None
        }
        (Some(url), None) => {
            let strangers = [
                (
                    "args",
                    raw.args.as_ref().is_some_and(|args| !args.is_empty()),
                ),
                ("env", raw.env.as_ref().is_some_and(|env| !env.is_empty())),
                ("cwd", raw.cwd.is_some()),
            ];
            report_present(check, at, strangers, Rule::NeedsCommand);
            http::endpoint(check, &raw, &url, auth, at)
        }
        (None, Some(command)) => {
            let login = !matches!(raw.auth, Some(raw::Auth::None {}) | None);
            let strangers = [
                ("auth", login),
                (
                    "headers",
                    raw.headers
                        .as_ref()
                        .is_some_and(|headers| !headers.is_empty()),
                ),
                ("allow_plain_http", raw.allow_plain_http == Some(true)),
            ];
            report_present(check, at, strangers, Rule::NeedsUrl);
            if matches!(raw.connector, Some(raw::Connector::Saas)) {
                check.report(&at.key("connector"), Rule::SaasChild);
            }
            Some((Connector::OnPrem, child(check, raw, &command, at)))
        }
    }
}

fn report_present(
    check: &mut Check<'_>,
    at: &Path,
    keys: [(&'static str, bool); 3],
    rule: fn(&'static str) -> Rule,
) {
    for (key, present) in keys {
        if present {
            check.report(&at.key(key), rule(key));
        }
    }
}

fn child(check: &mut Check<'_>, raw: raw::Upstream, command: &str, at: &Path) -> Endpoint {
    let command = expanded(check, command, &at.key("command"));
    if command.is_empty() {
        check.report(&at.key("command"), Rule::Empty);
    }
    let args = arguments(check, raw.args.unwrap_or_default(), &at.key("args"));
    let env = variables(check, raw.env.unwrap_or_default(), &at.key("env"));
    let cwd = raw.cwd.map(|cwd| {
        let cwd = expanded(check, &cwd, &at.key("cwd"));
        check.resolve(&cwd)
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
    }
}

fn arguments(check: &mut Check<'_>, raw: Vec<Text>, at: &Path) -> Vec<String> {
    let mut args = Vec::with_capacity(raw.len());
    for (index, Text(text)) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let text = expanded(check, &text, &at);
        if text.contains('\0') {
            check.report(&at, Rule::Argument);
        }
        args.push(text);
    }
    args
}

fn variables(
    check: &mut Check<'_>,
    raw: IndexMap<String, TextOrSecret>,
    at: &Path,
) -> Vec<(String, SecretRef)> {
    let mut env = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let at = at.key(&name);
        let Some(value) = text_or_secret(check, &value, &at) else {
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

/// Text with its `${VAR}` replaced, or a secret fetched.
pub(super) fn text_or_secret(
    check: &mut Check<'_>,
    raw: &TextOrSecret,
    at: &Path,
) -> Option<SecretRef> {
    match raw {
        TextOrSecret::Text(text) => {
            let text = secrets::expand(text, check.env);
            check
                .ok(at, text)
                .map(|text| SecretRef::Fixed(Secret::new(&text)))
        }
        TextOrSecret::Secret(secret) => {
            let secret = secrets::reference(secret, check.folder(), check.env);
            check.ok(at, secret)
        }
    }
}

/// Text with its `${VAR}` replaced.
pub(super) fn expanded(check: &mut Check<'_>, text: &str, at: &Path) -> String {
    // The stand-in is not empty, so that nobody complains of that too.
    check.or(at, secrets::expand(text, check.env), "-".to_owned())
}
