//! `policy:`

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::check::Check;
use crate::caller::Principal;
use crate::caller::tags_of;
use crate::config::error::{Problem, ProblemKind};
use crate::config::fingerprint::Fingerprint;
use crate::config::policy::{
    MAX_FILES, MAX_POLICIES, MAX_TESTS, PolicyError, find_files, find_mistakes, names::SEPARATOR,
    parse_policies, read_text,
};
use crate::config::raw::forms::Json;
use crate::config::rules::Rule;
use crate::config::{
    Config, PolicyCoverage, PolicyMode, PolicySettings, PolicyTest, PolicyValidation,
    WrittenPolicy, raw, source,
};
use crate::document::path::KeyPath;
use crate::json::{self, Object};

/// The order of the first file of policies among the files of a config, for messages: after all files
/// of `upstreams.d`.
const ORDER: usize = 1_000_000;

/// Validates `policy`, and reads its files.
pub(super) fn check_policy(
    check: &mut Check<'_>,
    raw: raw::Policy,
    at: &KeyPath,
) -> PolicySettings {
    let covers = check_covers(check, raw.covers, &at.key("covers"));
    let mode = match raw.mode {
        None | Some(raw::PolicyMode::Enforce) => PolicyMode::Enforce,
        Some(raw::PolicyMode::LogOnly) => PolicyMode::LogOnly,
    };
    let validation = match raw.validation {
        None | Some(raw::PolicyValidation::Strict) => PolicyValidation::Strict,
        Some(raw::PolicyValidation::Off) => PolicyValidation::Off,
    };
    if let Some(gateway) = &raw.gateway {
        check.refuse_variable(&at.key("gateway"), gateway);
        if gateway.is_empty() {
            check.report(&at.key("gateway"), Rule::Empty);
        }
    }
    if raw.files.is_empty() && !check.source.is_excused(at, "files") {
        check.report(&at.key("files"), Rule::Empty);
    }
    let mut reading = Reading {
        files: Vec::new(),
        texts: Vec::new(),
    };
    let policies = reading.policies(check, &raw.files, &at.key("files"));
    let tests = raw.tests.unwrap_or_default();
    let tests = reading.tests(check, &tests, &at.key("tests"));
    let settings = (mode, &raw.gateway, covers, validation);
    let fingerprint = Fingerprint::of(&(settings, &reading.texts));
    PolicySettings {
        policies: policies.into(),
        mode,
        gateway: raw.gateway.map(Into::into),
        covers,
        validation,
        tests: tests.into(),
        files: reading.files.into(),
        fingerprint,
    }
}

/// Reports what is wrong with policies in a config that is valid otherwise.
pub(super) fn check_names(config: &Config) -> Vec<Problem> {
    let Some(settings) = &config.policy else {
        return Vec::new();
    };
    let mistakes = match settings.validation {
        PolicyValidation::Strict => find_mistakes(config, settings),
        PolicyValidation::Off => Vec::new(),
    };
    let mut files: Vec<&Path> = Vec::new();
    let mut problems = Vec::new();
    for (policy, mistake) in mistakes {
        let order = files.iter().position(|file| *file == policy.file);
        let order = order.unwrap_or_else(|| {
            files.push(&policy.file);
            files.len() - 1
        });
        let kind = ProblemKind::Policy(mistake);
        problems.push(problem(&policy.file, order, policy.at, kind));
    }
    // `a` with the tool `b___c` would be `a___b` with the tool `c`.
    let taken = config.upstreams.values();
    let taken = taken.filter(|upstream| upstream.id.as_str().contains(SEPARATOR));
    problems.extend(taken.map(|upstream| Problem {
        file: config_file(config),
        order: 0,
        at: None,
        path: format!("upstreams.{}", upstream.id),
        kind: Rule::PolicyUpstream.into(),
    }));
    problems
}

fn config_file(config: &Config) -> PathBuf {
    let main = config.sources.first();
    main.map(|source| source.file.clone()).unwrap_or_default()
}

fn check_covers(
    check: &mut Check<'_>,
    raw: Option<Vec<raw::Covered>>,
    at: &KeyPath,
) -> PolicyCoverage {
    let mut covers = PolicyCoverage {
        tools: raw.is_none(),
        prompts: false,
        resources: false,
    };
    if raw.as_ref().is_some_and(Vec::is_empty) {
        check.report(at, Rule::Empty);
    }
    for one in raw.into_iter().flatten() {
        match one {
            raw::Covered::Tools => covers.tools = true,
            raw::Covered::Prompts => covers.prompts = true,
            raw::Covered::Resources => covers.resources = true,
        }
    }
    covers
}

/// The files of policies and tests that are read.
struct Reading {
    files: Vec<PathBuf>,
    texts: Vec<String>,
}

impl Reading {
    /// Reads the files that patterns name, each once.
    fn read(
        &mut self,
        check: &mut Check<'_>,
        patterns: &[String],
        at: &KeyPath,
    ) -> Vec<(PathBuf, String)> {
        let mut read = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let at = at.item(index);
            check.refuse_variable(&at, pattern);
            let found = find_files(check.folder(), pattern);
            for path in check.ok(&at, found).unwrap_or_default() {
                if self.files.contains(&path) {
                    continue;
                }
                if self.files.len() >= MAX_FILES {
                    check.report(&at, Rule::Most(MAX_FILES as u64));
                    return read;
                }
                self.files.push(path.clone());
                if let Some(text) = check.ok(&at, read_text(&path)) {
                    self.texts.push(text.clone());
                    read.push((path, text));
                }
            }
        }
        read
    }

    fn policies(
        &mut self,
        check: &mut Check<'_>,
        patterns: &[String],
        at: &KeyPath,
    ) -> Vec<WrittenPolicy> {
        let mut policies: Vec<WrittenPolicy> = Vec::new();
        let mut names: HashMap<Box<str>, Box<str>> = HashMap::new();
        for (order, (path, text)) in self.read(check, patterns, at).into_iter().enumerate() {
            let mut report = |at, kind| check.problems.push(problem(&path, order, at, kind));
            let (found, errors) = parse_policies(&text, &path, policies.len());
            for PolicyError { at, message } in errors {
                report(at, ProblemKind::Policy(message));
            }
            for policy in found {
                let (name, origin) = (policy.name.clone(), policy.origin.clone());
                if let Some(first) = names.insert(name, origin) {
                    let first = first.into();
                    report(policy.at, Rule::PolicyTwice { first }.into());
                }
                policies.push(policy);
            }
            if policies.len() > MAX_POLICIES {
                check.report(at, Rule::Most(MAX_POLICIES as u64));
                break;
            }
        }
        policies
    }

    fn tests(
        &mut self,
        check: &mut Check<'_>,
        patterns: &[String],
        at: &KeyPath,
    ) -> Vec<PolicyTest> {
        let mut tests = Vec::new();
        for (order, (path, text)) in self.read(check, patterns, at).into_iter().enumerate() {
            let order = 2 * ORDER + order;
            let (raw, file) = source::read::<raw::PolicyTests>(&text, &path, order, check.problems);
            for (index, test) in raw.tests.into_iter().enumerate() {
                let at = KeyPath::default().key("tests").item(index);
                let line = file.position(&at).line;
                tests.push(test_of(test, format!("{}:{line}", path.display()).into()));
            }
            if tests.len() > MAX_TESTS {
                check.report(at, Rule::Most(MAX_TESTS as u64));
                break;
            }
        }
        tests
    }
}

fn problem(
    file: &Path,
    order: usize,
    at: crate::document::node::Position,
    kind: ProblemKind,
) -> Problem {
    Problem {
        file: file.to_owned(),
        order: ORDER + order,
        at: Some(at),
        path: String::new(),
        kind,
    }
}

fn test_of(raw: raw::PolicyTest, origin: Box<str>) -> PolicyTest {
    let (kind, subject, claims) = match raw.caller {
        None => (Principal::Anonymous, None, None),
        Some(caller) => {
            let kind = match caller.kind {
                Some(raw::CallerKind::Anonymous) => Principal::Anonymous,
                Some(raw::CallerKind::Local) => Principal::Local,
                None | Some(raw::CallerKind::OauthUser) => Principal::OAuthUser,
                Some(raw::CallerKind::IamEntity) => Principal::IamEntity,
                Some(raw::CallerKind::ApiKey) => Principal::ApiKey,
                Some(raw::CallerKind::Workload) => Principal::Workload,
            };
            (kind, caller.subject, caller.claims)
        }
    };
    let claims = object_of(&claims.unwrap_or_default());
    let claims = Object::parse(&claims).unwrap_or_default();
    PolicyTest {
        origin,
        kind,
        subject: subject.unwrap_or_default().into(),
        claims: tags_of(&claims),
        tool: raw.tool.into(),
        arguments: object_of(&raw.args.unwrap_or_default()).into(),
        allowed: raw.expect == raw::Expected::Allow,
        by: raw
            .by
            .map(|names| names.into_iter().map(Into::into).collect()),
    }
}

fn object_of(members: &IndexMap<String, Json>) -> String {
    let members = members.iter();
    let members = members.map(|(name, value)| format!("{}:{}", json::quote(name), value.0));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
