//! Tests of policies that are written beside them.

use cedar_policy::EntityUid;
use std::time::SystemTime;

use crate::catalog::Kind;
use crate::config::policy_names::SEPARATOR;
use crate::config::{Config, PolicyTest, Upstream};
use crate::name::UpstreamIndex;
use crate::policy::actions::UpstreamActions;
use crate::policy::asked::Asked;
use crate::policy::decision::Decision;
use crate::policy::input_types::InputTypes;
use crate::policy::request::PolicyRequest;
use crate::policy::rules::PolicyRules;
use crate::policy::slices::SliceFinder;
use crate::protocol::era::Era;

/// A test of policies that found something else than it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedPolicyTest {
    /// Where the test is written: `FILE:LINE`.
    pub origin: Box<str>,
    /// The difference, in words.
    pub message: String,
}

impl PolicyRules {
    /// Runs the tests of a config's policies, and returns those that fail. Nothing is known of the
    /// schemas of tools: a number with a point is a decimal, one without is a Long.
    #[must_use]
    pub fn run_tests(&self, config: &Config) -> Vec<FailedPolicyTest> {
        let tests = config.policy.iter().flat_map(|policy| &policy.tests);
        let failed = tests.filter_map(|test| {
            let message = match self.try_one(config, test) {
                Ok(decision) => difference(test, &decision)?,
                Err(message) => message,
            };
            let origin = test.origin.clone();
            Some(FailedPolicyTest { origin, message })
        });
        failed.collect()
    }

    fn try_one(&self, config: &Config, test: &PolicyTest) -> Result<Decision, String> {
        let (upstream, original) = tool_of(config, &test.tool)
            .ok_or_else(|| format!("the tool `{}` is of no upstream of this config", test.tool))?;
        let upstream = UpstreamActions::of(self, upstream);
        let action = upstream.tool(&config.upstreams, original, None);
        let resource: Option<&EntityUid> = upstream.resource.as_ref();
        let class = self.class(&test.caller());
        let (Some(action), Some(resource), Some(class)) = (action, resource, class) else {
            return Err("the request cannot be read by policies".to_owned());
        };
        let mut finder = SliceFinder::new(self);
        finder.find(&action, Some(resource));
        let slices = finder.finish();
        let slice = slices.first().ok_or("there are no policies")?;
        let request = PolicyRequest {
            kind: Kind::Tools,
            upstream: UpstreamIndex::new(0),
            original,
            exposed: original,
            era: Era::Modern,
            arguments: Some(&test.arguments),
            now: SystemTime::now(),
        };
        let asked = Asked {
            request: &request,
            upstream: &upstream.id,
            action: &action,
            resource,
            types: &InputTypes::default(),
        };
        Ok(self.authorize(&class, slice, &asked))
    }
}

/// Returns the upstream of a tool, and the name that it knows.
fn tool_of<'c>(config: &'c Config, action: &'c str) -> Option<(&'c Upstream, &'c str)> {
    let mut upstreams = config.upstreams.values();
    let named = upstreams.find_map(|upstream| {
        let rest = action.strip_prefix(upstream.id.as_str())?;
        Some((&**upstream, rest.strip_prefix(SEPARATOR)?))
    });
    named.or_else(|| {
        let mut upstreams = config.upstreams.values();
        let gateway = upstreams
            .find(|upstream| upstream.connector == crate::config::Connector::AgentcoreGateway);
        Some((&**gateway?, action))
    })
}

/// Returns in words how a decision differs from what a test says.
fn difference(test: &PolicyTest, decision: &Decision) -> Option<String> {
    let word = |allowed| if allowed { "allow" } else { "deny" };
    let mut by = decision.policy_names();
    if decision.is_allowed() != test.allowed {
        let why = match (by.as_slice(), decision.errors.as_slice()) {
            (_, [error, ..]) => format!(": {error}"),
            ([], []) => ": no policy permits it".to_owned(),
            (by, []) => format!(" by {}", by.join(", ")),
        };
        let (expected, found) = (word(test.allowed), word(decision.is_allowed()));
        return Some(format!("expected {expected}, found {found}{why}"));
    }
    let mut expected: Vec<String> = test.by.as_ref()?.iter().map(ToString::to_string).collect();
    expected.sort_unstable();
    by.sort_unstable();
    (by != expected).then(|| {
        let list = |names: &[String]| match names {
            [] => "no policy".to_owned(),
            names => names.join(", "),
        };
        format!(
            "expected to be decided by {}, found {}",
            list(&expected),
            list(&by)
        )
    })
}
