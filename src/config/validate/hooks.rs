//! `hooks:`

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use indexmap::IndexMap;

use super::aws;
use super::check::Check;
use super::settings::Defaults;
use super::tools::check_globs;
use super::upstream::check_upstream;
use super::values::{expand, expand_required};
use crate::config::fingerprint::Fingerprint;
use crate::config::rules::{HeaderSettingError, Rule};
use crate::config::secrets::is_region;
use crate::config::{Hook, HookTarget, PassedHeader, raw, units};
use crate::document::path::KeyPath;
use crate::name::UpstreamId;

/// `timeout`, if it is not written.
const TIMEOUT: Duration = Duration::from_secs(2);
/// `concurrency`, if it is not written, and the most.
const CONCURRENCY: u64 = 64;
const MOST_CONCURRENCY: u64 = 10_000;
/// The most hooks.
const HOOKS: usize = 64;
/// The most headers that one hook sees.
const HEADERS: usize = 64;
/// Parts of the names of headers with a credential of the caller, or an id that opens its session.
const CREDENTIALS: [&str; 16] = [
    "api-key",
    "apikey",
    "assertion",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "dpop",
    // The workload access token of AgentCore Runtime.
    "identity-wat",
    "jwt",
    "oidc",
    "passwd",
    "password",
    "secret",
    "session",
    "token",
];
/// The methods that hooks see: those of requests for one upstream.
const METHODS: [&str; 8] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "completion/complete",
    "tasks/get",
    "tasks/result",
    "tasks/update",
    "tasks/cancel",
];

/// Validates `hooks`, in the order of the file.
pub(super) fn check_hooks(
    check: &mut Check<'_>,
    raw: IndexMap<String, raw::Hook>,
    defaults: &Defaults,
    at: &KeyPath,
) -> Vec<Arc<Hook>> {
    if raw.len() > HOOKS {
        check.report(at, Rule::Most(HOOKS as u64));
    }
    let hooks = raw.into_iter();
    hooks
        .filter_map(|(name, raw)| {
            let at = at.key(&name);
            let name = check.ok(&at, UpstreamId::parse(&name))?;
            check_hook(check, raw, name, defaults, &at).map(Arc::new)
        })
        .collect()
}

fn check_hook(
    check: &mut Check<'_>,
    mut raw: raw::Hook,
    name: UpstreamId,
    defaults: &Defaults,
    at: &KeyPath,
) -> Option<Hook> {
    let as_written = format!("{raw:?}");
    let on = raw.on.take();
    if on.as_ref().is_some_and(Vec::is_empty) {
        check.report(&at.key("on"), Rule::Empty);
    }
    let sees = |phase| on.as_ref().is_none_or(|on| on.contains(&phase));
    let mut globs = |key: &'static str, written: Option<Vec<String>>| {
        written.and_then(|globs| check_globs(check, &globs, &at.key(key)))
    };
    let tools = globs("tools", raw.tools.take());
    let upstreams = globs("upstreams", raw.upstreams.take());
    let callers = globs("callers", raw.callers.take());
    let methods = check_methods(check, raw.methods.take(), &at.key("methods"));
    let headers = raw.pass_request_headers.take().unwrap_or_default();
    let request_headers = check_headers(check, &headers, &at.key("pass_request_headers"));
    let timeout = raw.timeout.take();
    let timeout = timeout.map_or(Ok(TIMEOUT), |text| units::duration(&text.0));
    let timeout = check.or(&at.key("timeout"), timeout, TIMEOUT);
    let concurrency = raw.concurrency.unwrap_or(CONCURRENCY);
    if !(1..=MOST_CONCURRENCY).contains(&concurrency) {
        let (least, most) = (1, MOST_CONCURRENCY);
        check.report(&at.key("concurrency"), Rule::Range { least, most });
    }
    let passes_on_failure = matches!(raw.on_failure, Some(raw::HookFailureAction::Pass));
    let sees_redacted = raw.sees == Some(raw::HookView::Redacted);
    let origin = check.origin(at);
    let target = check_target(check, raw, &name, defaults, at)?;
    Some(Hook {
        name,
        on_request: sees(raw::HookMessage::Request),
        on_response: sees(raw::HookMessage::Response),
        methods,
        tools,
        upstreams,
        callers,
        request_headers,
        timeout,
        passes_on_failure,
        sees_redacted,
        concurrency: usize::try_from(concurrency).unwrap_or(1),
        fingerprint: Fingerprint::of(&(as_written, &target)),
        target,
        origin,
    })
}

fn check_methods(check: &mut Check<'_>, written: Option<Vec<String>>, at: &KeyPath) -> Vec<String> {
    let Some(methods) = written else {
        return vec![METHODS[0].to_owned()];
    };
    if methods.is_empty() {
        check.report(at, Rule::Empty);
    }
    for (index, method) in methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            check.report(&at.item(index), Rule::HookMethod(METHODS.join(", ")));
        }
    }
    methods
}

fn check_headers(check: &mut Check<'_>, written: &[String], at: &KeyPath) -> Vec<PassedHeader> {
    if written.len() > HEADERS {
        check.report(at, Rule::Most(HEADERS as u64));
    }
    let mut passed: Vec<PassedHeader> = Vec::new();
    for (index, written) in written.iter().take(HEADERS).enumerate() {
        let Some(name) = check.ok(&at.item(index), passed_header(written)) else {
            continue;
        };
        if passed.iter().any(|known| known.name == name) {
            check.report(&at.item(index), HeaderSettingError::Twice);
        }
        let written = written.as_str().into();
        passed.push(PassedHeader { name, written });
    }
    passed
}

/// Reads the name of a header that a hook may see.
fn passed_header(text: &str) -> Result<HeaderName, HeaderSettingError> {
    let name: HeaderName = text.parse().map_err(|_| HeaderSettingError::Name)?;
    let lower = name.as_str();
    let is_key = lower.ends_with("-key") && lower != "idempotency-key";
    match is_key || CREDENTIALS.iter().any(|part| lower.contains(part)) {
        true => Err(HeaderSettingError::Credential),
        false => Ok(name),
    }
}

fn check_target(
    check: &mut Check<'_>,
    mut raw: raw::Hook,
    name: &UpstreamId,
    defaults: &Defaults,
    at: &KeyPath,
) -> Option<HookTarget> {
    let targets = [
        ("lambda", raw.lambda.is_some()),
        ("url", raw.url.is_some()),
        ("command", raw.command.is_some()),
    ];
    let mut written = targets.iter().filter(|(_, is_written)| *is_written);
    let first = written.next().map(|(key, _)| *key);
    if let (Some(first), Some((second, _))) = (first, written.next()) {
        check.report(&at.key(second), Rule::TwoEndpoints(first));
        return None;
    }
    match (first, raw.lambda.take(), raw.socket.take()) {
        (Some("lambda"), Some(lambda), None) => check_lambda(check, &lambda, &at.key("lambda")),
        (None, None, Some(socket)) => {
            let socket = expand(check, &socket, &at.key("socket"));
            Some(HookTarget::Socket(check.resolve(&socket)))
        }
        (Some("url"), None, socket) => endpoint(check, raw, socket, name, defaults, at),
        (Some("command"), None, None) => endpoint(check, raw, None, name, defaults, at),
        (Some(first), ..) => {
            check.report(&at.key("socket"), Rule::TwoEndpoints(first));
            None
        }
        (None, ..) => {
            let keys = ["lambda", "url", "socket", "command"];
            if !keys.into_iter().any(|key| check.source.is_excused(at, key)) {
                check.report(at, Rule::NoHookTarget);
            }
            None
        }
    }
}

/// Validates what hooks have in common with upstreams, by the same rules.
fn endpoint(
    check: &mut Check<'_>,
    raw: raw::Hook,
    socket: Option<String>,
    name: &UpstreamId,
    defaults: &Defaults,
    at: &KeyPath,
) -> Option<HookTarget> {
    let upstream = raw::Upstream {
        url: raw.url,
        socket,
        command: raw.command,
        args: raw.args,
        env: raw.env,
        cwd: raw.cwd,
        tls: raw.tls,
        auth: raw.auth,
        headers: raw.headers,
        allow_plain_http: raw.allow_plain_http,
        ..raw::Upstream::default()
    };
    let upstream = check_upstream(check, upstream, at, name, defaults)?;
    Some(HookTarget::Endpoint(Arc::new(upstream)))
}

fn check_lambda(
    check: &mut Check<'_>,
    raw: &raw::LambdaFunction,
    at: &KeyPath,
) -> Option<HookTarget> {
    let arn = expand_required(check, &raw.arn, &at.key("arn"));
    let parts: Vec<_> = arn.split(':').collect();
    let region = match *parts.as_slice() {
        [
            "arn",
            partition,
            "lambda",
            region,
            account,
            "function",
            name,
            ..,
        ] if aws::is_partition(partition)
            && is_region(region)
            && aws::is_account(account)
            && !name.is_empty()
            && parts.len() <= 8 =>
        {
            region.to_owned()
        }
        _ => {
            if !check.unknown.contains(&at.key("arn")) {
                check.report(&at.key("arn"), Rule::LambdaArn);
            }
            return None;
        }
    };
    let default = raw::Sigv4::default();
    let sigv4 = match &raw.auth {
        None => &default,
        Some(raw::Auth::Sigv4(written)) => written,
        Some(_) => {
            check.report(&at.key("auth").key("type"), Rule::LambdaAuth);
            return None;
        }
    };
    let settings = aws::check_sigv4(check, sigv4, None, &at.key("auth"));
    Some(HookTarget::Lambda {
        arn,
        region,
        credentials: settings.credentials,
    })
}
