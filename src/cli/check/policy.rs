//! Policies in `weir check`: their tests, and whether they fit the tools that are listed.

use std::process::ExitCode;

use crate::cli::output::{Output, count};
use crate::config::Config;
use crate::live::Snapshot;
use crate::policy::PolicyRules;

/// Runs the tests of policies; returns the exit code if any of them fails.
pub(super) fn run_tests(config: &Config, place: &str, output: &mut Output) -> Option<ExitCode> {
    let failed = PolicyRules::of(config)?.run_tests(config);
    let lines = failed.iter();
    let lines = lines.map(|failed| format!("{}: {}", failed.origin, failed.message));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| {
        output.print_errors(&lines, place, Some("tests of policies fail"));
        ExitCode::from(2)
    })
}

/// Returns what there is of policies, for the line that says that a config is valid.
pub(super) fn describe(config: &Config) -> String {
    let Some(policy) = &config.policy else {
        return String::new();
    };
    let policies = match policy.policies.len() {
        1 => "1 policy".to_owned(),
        number => format!("{number} policies"),
    };
    match policy.tests.len() {
        0 => format!(", {policies}"),
        tests => format!(", {policies}, {} passed", count(tests, "test")),
    }
}

/// Prints the policies that do not fit what is listed; returns whether one of them is wrong.
pub(super) fn print_findings(snapshot: &Snapshot, output: &mut Output) -> bool {
    let (Some(policies), Some(settings)) = (&snapshot.policies, &snapshot.config.policy) else {
        return false;
    };
    let findings = policies.findings(settings);
    for finding in &findings {
        let text = finding.to_string();
        match finding.is_error {
            true => output.print_error(&text),
            false => output.print_warning(&text),
        }
    }
    findings.iter().any(|finding| finding.is_error)
}
