//! `policy:` — what callers may do, in the language Cedar.

mod files;
mod findings;
pub(crate) mod names;
mod reads;
mod sent;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::fingerprint::Fingerprint;
use crate::caller::{Caller, Identity, Principal};
use crate::document::node::Position;

pub use files::PolicyFileError;
pub(super) use files::{find_files, read_text};
pub(super) use findings::find_mistakes;
pub(crate) use reads::{ExpressionReads, InputReads, TagReads};
pub use sent::SentPolicies;
pub(super) use text::{PolicyError, parse_policies};

/// Most files of policies.
pub(super) const MAX_FILES: usize = 256;
/// Most policies in all files. AgentCore's limit for a policy engine is the same (developer guide,
/// "Policy limitations").
pub(super) const MAX_POLICIES: usize = 1_000;
/// Most bytes of a file of policies or of tests.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most tests of policies.
pub(super) const MAX_TESTS: usize = 10_000;

/// `policy:`
#[derive(Debug)]
pub struct PolicySettings {
    /// The policies, in the order of the files.
    pub policies: Box<[WrittenPolicy]>,
    /// Whether decisions are put in force.
    pub mode: PolicyMode,
    /// The id of the resource, where it is not that of a gateway; `None` is the instance.
    pub gateway: Option<Box<str>>,
    /// Which kinds of requests are decided.
    pub covers: PolicyCoverage,
    /// Whether policies have to fit the schema of what is listed.
    pub validation: PolicyValidation,
    /// Tests of the policies, for `weir check`.
    pub tests: Box<[PolicyTest]>,
    /// The files of policies and tests.
    pub files: Box<[PathBuf]>,
    /// Equal for two policies that mean the same.
    pub fingerprint: Fingerprint,
}

/// One policy of a file.
#[derive(Clone, Debug)]
pub struct WrittenPolicy {
    /// Its name in records: `@id("…")`, or `FILE:LINE`. No two policies have the same.
    pub name: Box<str>,
    /// Where it is written: `FILE:LINE`.
    pub origin: Box<str>,
    /// The file.
    pub file: PathBuf,
    /// Where it begins in the file.
    pub at: Position,
    /// Whether it decides nothing and is only recorded: `@mode("log_only")`.
    pub log_only: bool,
    /// The policy, parsed.
    pub policy: cedar_policy::Policy,
}

/// `policy.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyMode {
    /// A denied request is refused.
    Enforce,
    /// Everything passes; what would be denied is recorded.
    LogOnly,
}

/// `policy.covers`: the kinds of requests that need a permit. All others pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyCoverage {
    /// Calls of tools.
    pub tools: bool,
    /// Prompts.
    pub prompts: bool,
    /// Resources and resource templates.
    pub resources: bool,
}

/// `policy.validation`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyValidation {
    /// A policy that does not fit the schema is an error.
    Strict,
    /// Policies only have to be Cedar.
    Off,
}

/// One test of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTest {
    /// Where it is written: `FILE:LINE`.
    pub origin: Box<str>,
    /// The kind of the caller.
    pub kind: Principal,
    /// Its subject.
    pub subject: Box<str>,
    /// Its claims as policies read them.
    pub claims: BTreeMap<Box<str>, Box<str>>,
    /// The tool as `UPSTREAM___ORIGINAL`: its action in policies.
    pub tool: Box<str>,
    /// The arguments, as a JSON object.
    pub arguments: Box<str>,
    /// Whether the call is to be allowed.
    pub allowed: bool,
    /// The names of the policies that are to decide; `None` checks none.
    pub by: Option<Vec<Box<str>>>,
}

impl PolicyTest {
    /// Returns the caller of the test.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(Identity {
            tags: self.claims.clone(),
            ..Identity::new(self.kind, &self.subject)
        })
    }
}
