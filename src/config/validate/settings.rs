//! Everything but the upstreams.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::admin::check_admin;
use super::audit::check_audit;
use super::check::Check;
use super::keys::{check_duration, check_keys};
use super::listen_auth::{ListenContext, check_listen_auth};
use super::listen_tls::{check_certificates_have_tls, check_listen_tls};
use super::on_publish::check_on_publish;
use super::rates::{check_memory, check_rates};
use super::replicas::check_replicas;
use super::resync::check_resync;
use super::validation::resolve_validate;
use super::values::{check_address, check_lower_case, host};
use super::{drift, environment, guard, policy, server, telemetry};
use crate::config::raw::forms;
use crate::config::rules::Rule;
use crate::config::{
    Config, Drift, InheritEnv, Instructions, Limits, Listen, Resync, Retry, Stale, StalePolicy,
    Timeouts, ValidateSettings, raw, units,
};
use crate::document::path::KeyPath;
use crate::name::{Charset, Instance, Naming};

/// How long calls under way may still take at the end: a third of what Kubernetes gives a container to stop in.
const DRAIN: Duration = Duration::from_secs(10);

/// The config without its upstreams, and what they begin with.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) defaults: Defaults,
}

/// The validated `defaults`.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) resync: Resync,
    pub(super) stale: Stale,
    pub(super) drift: Drift,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) retry: Retry,
    pub(super) inherit_env: InheritEnv,
    pub(super) instructions: Instructions,
    /// `guard.validate` of weir as a whole, which is not below `defaults` in the file.
    pub(super) validate: ValidateSettings,
    /// Whether `timeouts.list` is written and not weir's own.
    pub(super) has_list: bool,
    /// Whether there is a state folder.
    pub(super) has_state: bool,
}

pub(super) fn check_settings(check: &mut Check<'_>, raw: raw::File) -> Settings {
    let root = KeyPath::default();
    check_format(check, raw.version, &root.key("version"));
    let title = raw.server.as_ref().and_then(|server| server.title.clone());
    let listen = raw.listen.unwrap_or_default();
    let listen = check_listen(check, listen, title.as_deref(), &root.key("listen"));
    let admin = raw.admin;
    let admin = admin.map(|raw| check_admin(check, raw, &root.key("admin"), &listen));
    let state_dir = check_state(check, raw.state.as_ref(), &root.key("state"));
    let keys = (raw.sealing_key, raw.sealing_keys);
    let sealing_keys = check_keys(check, keys, ["sealing_key", "sealing_keys"], &root);
    let instance = raw.instance;
    let instance = instance.and_then(|text| check_instance(check, &text, &root.key("instance")));
    let known = (!sealing_keys.is_empty(), instance.as_ref());
    let replicas = check_replicas(check, raw.replicas, known, &root.key("replicas"));
    let limits = raw.limits.unwrap_or_default();
    let memory = check_memory(check, &limits, &root.key("limits"));
    let (rates, has_policy) = (limits.rates.unwrap_or_default(), raw.policy.is_some());
    let rates = check_rates(check, rates, has_policy, &root.key("limits").key("rates"));
    let policy = raw.policy;
    let policy = policy.map(|raw| policy::check_policy(check, raw, &root.key("policy")));
    let mut guard = raw.guard;
    let written = guard.as_mut().and_then(|guard| guard.validate.take());
    let guard = guard::check_guard(check, guard, &root.key("guard"));
    let audit = raw.audit;
    let audit = audit.map(|raw| check_audit(check, raw, &root.key("audit")));
    let telemetry = (raw.telemetry, audit.is_some());
    let telemetry = telemetry::check_telemetry(check, telemetry, &root.key("telemetry"));
    let naming = check_naming(check, &raw.naming.unwrap_or_default(), &root.key("naming"));
    let server = server::check_server(check, raw.server.unwrap_or_default(), &root.key("server"));
    let defaults = raw.defaults.unwrap_or_default();
    let mut defaults = check_defaults(check, defaults, &root.key("defaults"));
    let at = root.key("guard").key("validate");
    defaults.validate = resolve_validate(check, written, &defaults.validate, &at);
    defaults.has_state = state_dir.is_some() || check.source.is_excused(&root, "state");
    Settings {
        config: Config {
            listen,
            admin,
            state_dir,
            sealing_keys,
            instance,
            memory,
            rates,
            policy: policy.map(Arc::new),
            guard: Arc::new(guard),
            audit,
            telemetry,
            hooks: Vec::new(),
            front_gateway: check_on_publish(check, raw.on_publish, &root.key("on_publish")),
            replicas: replicas.map(Arc::new),
            naming,
            server,
            upstreams: IndexMap::new(),
            sources: Vec::new(),
            secret_files: Vec::new(),
            aws_secrets: Vec::new(),
        },
        defaults,
    }
}

/// Validates the version of the format.
fn check_format(check: &mut Check<'_>, version: Option<u64>, at: &KeyPath) {
    if let Some(version) = version.filter(|version| *version != 1) {
        check.report(at, Rule::Version(version));
    }
}

/// Validates `state`: the folder, resolved.
fn check_state(
    check: &mut Check<'_>,
    state: Option<&raw::StateSettings>,
    at: &KeyPath,
) -> Option<PathBuf> {
    let state = state?;
    check.refuse_variable(&at.key("dir"), &state.dir);
    Some(check.resolve(&state.dir))
}

fn check_instance(check: &mut Check<'_>, text: &str, at: &KeyPath) -> Option<Instance> {
    let instance = Instance::parse(text).map_err(|_| Rule::Instance);
    check.ok(at, instance)
}

/// Validates `listen`. `title` is that of `server`.
fn check_listen(
    check: &mut Check<'_>,
    raw: raw::Listen,
    title: Option<&str>,
    at: &KeyPath,
) -> Listen {
    let address = check_address(check, raw.address, 8000, at);
    let platform_sessions = raw.sessions == Some(raw::SessionIds::Platform);
    let context = ListenContext {
        address,
        title,
        platform_sessions,
    };
    let auth = check_listen_auth(check, raw.auth, context, at);
    let path = raw.path.unwrap_or_else(|| "/mcp".to_owned());
    if let Err(rule) = check_path(&path) {
        check.report(&at.key("path"), rule);
    }
    check_certificates_have_tls(check, auth.as_ref(), raw.tls.is_some(), at);
    let bytes = raw
        .request_bytes
        .map_or(Ok(4 << 20), |size| units::size(&size.0));
    Listen {
        address,
        path,
        allowed_hosts: check_lower_case(check, raw.allowed_hosts, &at.key("allowed_hosts"), host),
        allowed_origins: check_lower_case(
            check,
            raw.allowed_origins,
            &at.key("allowed_origins"),
            origin,
        ),
        page_size: check_count(check, raw.page_size, 1000, &at.key("page_size")),
        request_bytes: check.or(&at.key("request_bytes"), bytes, 1),
        header_timeout: check_duration(
            check,
            raw.header_timeout,
            Duration::from_secs(10),
            &at.key("header_timeout"),
        ),
        body_timeout: check_duration(
            check,
            raw.body_timeout,
            Duration::from_secs(60),
            &at.key("body_timeout"),
        ),
        connections: check_count(check, raw.connections, 10_000, &at.key("connections")),
        keep_alive: check_duration(
            check,
            raw.keep_alive,
            Duration::from_secs(15),
            &at.key("keep_alive"),
        ),
        drain: check_duration(check, raw.drain, DRAIN, &at.key("drain")),
        platform_sessions,
        inline_schemas: raw.schemas == Some(raw::SchemaForm::Inline),
        auth,
        tls: raw
            .tls
            .and_then(|raw| check_listen_tls(check, &raw, &at.key("tls"))),
    }
}

fn check_path(path: &str) -> Result<(), Rule> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(legal) {
        return Err(Rule::Path);
    }
    if matches!(path, "/healthz" | "/readyz" | "/ping") || path.starts_with("/.well-known") {
        return Err(Rule::TakenPath);
    }
    Ok(())
}

fn origin(text: &str) -> Result<(), Rule> {
    let (scheme, rest) = text.split_once("://").ok_or(Rule::Origin)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(legal) {
        return Err(Rule::Origin);
    }
    host(rest).map_err(|_| Rule::Origin)
}

fn check_naming(check: &mut Check<'_>, raw: &raw::Naming, at: &KeyPath) -> Naming {
    let (least, most) = (Naming::SHORTEST as u64, Naming::LONGEST as u64);
    let length = raw.max_length.unwrap_or(64);
    if !(least..=most).contains(&length) {
        check.report(&at.key("max_length"), Rule::Range { least, most });
    }
    let length = usize::try_from(length).unwrap_or(Naming::LONGEST);
    let charset = match raw.charset {
        None | Some(raw::NameCharset::Strict) => Charset::Strict,
        Some(raw::NameCharset::Mcp) => Charset::Mcp,
    };
    let naming = Naming::new(charset, raw.separator.as_deref().unwrap_or("__"), length);
    check.or(&at.key("separator"), naming, Naming::default())
}

fn check_defaults(check: &mut Check<'_>, raw: raw::Defaults, at: &KeyPath) -> Defaults {
    let usual = Defaults {
        resync: Resync::Every(Duration::from_secs(60)),
        stale: Stale {
            policy: StalePolicy::Serve,
            max_age: Duration::from_secs(24 * 3600),
            mark_after: Duration::from_secs(10 * 60),
        },
        drift: Drift::ACCEPT,
        timeouts: Timeouts {
            connect: Duration::from_secs(3),
            start: Duration::from_secs(180),
            list: Duration::from_secs(8),
            first_byte: None,
            call: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            ask: Duration::from_secs(600),
        },
        limits: Limits {
            in_flight: NonZeroUsize::MIN.saturating_add(63),
            response_bytes: 32 << 20,
            tools: 5000,
            parked: NonZeroUsize::MIN.saturating_add(255),
        },
        retry: Retry::default(),
        inherit_env: InheritEnv::default(),
        instructions: Instructions::Served,
        validate: ValidateSettings::default(),
        has_list: false,
        has_state: false,
    };
    let written = CommonKeys {
        resync: raw.resync,
        stale: raw.stale,
        drift: raw.drift,
        timeouts: raw.timeouts,
        limits: raw.limits,
        retry: raw.retry,
        inherit_env: raw.inherit_env,
        instructions: raw.instructions,
    };
    written.resolve(check, &usual, at)
}

/// The keys that `defaults` and an upstream have in common.
pub(super) struct CommonKeys {
    pub(super) resync: Option<forms::Resync>,
    pub(super) stale: Option<raw::Stale>,
    pub(super) drift: Option<raw::Drift>,
    pub(super) timeouts: Option<raw::Timeouts>,
    pub(super) limits: Option<raw::UpstreamLimits>,
    pub(super) retry: Option<raw::Retry>,
    pub(super) inherit_env: Option<Vec<String>>,
    pub(super) instructions: Option<forms::Instructions>,
}

impl CommonKeys {
    /// Takes the value of each key that is written, otherwise that of `base`.
    pub(super) fn resolve(self, check: &mut Check<'_>, base: &Defaults, at: &KeyPath) -> Defaults {
        let written = self.timeouts.as_ref();
        Defaults {
            has_list: base.has_list || written.is_some_and(|written| written.list.is_some()),
            has_state: base.has_state,
            validate: base.validate,
            resync: match self.resync {
                Some(written) => {
                    check_resync(check, written, base.resync.clone(), &at.key("resync"))
                }
                None => base.resync.clone(),
            },
            stale: check_stale(
                check,
                self.stale.unwrap_or_default(),
                base.stale,
                &at.key("stale"),
            ),
            drift: drift::resolve_drift(self.drift.unwrap_or_default(), base.drift),
            timeouts: check_timeouts(
                check,
                self.timeouts.unwrap_or_default(),
                base.timeouts,
                &at.key("timeouts"),
            ),
            limits: check_limits(
                check,
                self.limits.unwrap_or_default(),
                base.limits,
                &at.key("limits"),
            ),
            inherit_env: base.inherit_env.and(environment::check_entries(
                check,
                self.inherit_env.unwrap_or_default(),
                &at.key("inherit_env"),
            )),
            retry: Retry {
                idempotent: self
                    .retry
                    .and_then(|retry| retry.idempotent)
                    .unwrap_or(base.retry.idempotent),
            },
            instructions: server::check_instructions(
                check,
                self.instructions,
                &base.instructions,
                &at.key("instructions"),
            ),
        }
    }
}

fn check_stale(check: &mut Check<'_>, raw: raw::Stale, base: Stale, at: &KeyPath) -> Stale {
    Stale {
        policy: match raw.policy {
            Some(raw::StalePolicy::Serve) => StalePolicy::Serve,
            Some(raw::StalePolicy::Hide) => StalePolicy::Hide,
            None => base.policy,
        },
        max_age: check_duration(check, raw.max_age, base.max_age, &at.key("max_age")),
        mark_after: check_duration(
            check,
            raw.mark_after,
            base.mark_after,
            &at.key("mark_after"),
        ),
    }
}

fn check_timeouts(
    check: &mut Check<'_>,
    raw: raw::Timeouts,
    base: Timeouts,
    at: &KeyPath,
) -> Timeouts {
    Timeouts {
        connect: check_duration(check, raw.connect, base.connect, &at.key("connect")),
        start: check_duration(check, raw.start, base.start, &at.key("start")),
        list: check_duration(check, raw.list, base.list, &at.key("list")),
        first_byte: match raw.first_byte {
            Some(written) => Some(check_duration(
                check,
                Some(written),
                base.call,
                &at.key("first_byte"),
            )),
            None => base.first_byte,
        },
        call: check_duration(check, raw.call, base.call, &at.key("call")),
        idle: check_duration(check, raw.idle, base.idle, &at.key("idle")),
        ask: check_duration(check, raw.ask, base.ask, &at.key("ask")),
    }
}

fn check_limits(
    check: &mut Check<'_>,
    raw: raw::UpstreamLimits,
    base: Limits,
    at: &KeyPath,
) -> Limits {
    let bytes = raw
        .response_bytes
        .map_or(Ok(base.response_bytes), |size| units::size(&size.0));
    Limits {
        in_flight: check_count(
            check,
            raw.in_flight,
            base.in_flight.get(),
            &at.key("in_flight"),
        ),
        response_bytes: check.or(&at.key("response_bytes"), bytes, 1),
        tools: check_count(check, raw.tools, base.tools, &at.key("tools")).get(),
        parked: check_count(check, raw.parked, base.parked.get(), &at.key("parked")),
    }
}

/// Checks a number of things: 1 to 1,000,000.
fn check_count(
    check: &mut Check<'_>,
    written: Option<u64>,
    base: usize,
    at: &KeyPath,
) -> NonZeroUsize {
    const MOST: u64 = 1_000_000;
    let count = written.map_or(Ok(base), |count| {
        usize::try_from(count)
            .ok()
            .filter(|_| (1..=MOST).contains(&count))
            .ok_or(Rule::Range {
                least: 1,
                most: MOST,
            })
    });
    let count = check.or(at, count, 1);
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}
