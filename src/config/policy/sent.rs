//! Policies as one weir sends them to another, to be compared there.

use cedar_policy::{Policy, PolicyId};
use serde::{Deserialize, Serialize};

use super::super::fingerprint::Fingerprint;
use super::{
    MAX_POLICIES, PolicyCoverage, PolicyMode, PolicySettings, PolicyValidation, WrittenPolicy,
};
use crate::document::node::Position;

/// The policies of a config, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentPolicies {
    /// The policies, in the order of the files.
    policies: Vec<SentPolicy>,
    /// Whether decisions are only recorded.
    log_only: bool,
    gateway: Option<String>,
    covers: Covered,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SentPolicy {
    name: String,
    log_only: bool,
    /// The policy in Cedar.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Covered {
    tools: bool,
    prompts: bool,
    resources: bool,
}

impl SentPolicies {
    /// Makes them of a config's settings.
    #[must_use]
    pub fn of(settings: &PolicySettings) -> Self {
        let policies = settings.policies.iter().map(|written| SentPolicy {
            name: written.name.to_string(),
            log_only: written.log_only,
            text: written.policy.to_string(),
        });
        let PolicyCoverage {
            tools,
            prompts,
            resources,
        } = settings.covers;
        Self {
            policies: policies.collect(),
            log_only: settings.mode == PolicyMode::LogOnly,
            gateway: settings.gateway.as_deref().map(str::to_owned),
            covers: Covered {
                tools,
                prompts,
                resources,
            },
        }
    }

    /// Returns the settings, without tests and files.
    ///
    /// # Errors
    /// There are more than 1,000 policies, or the text of one is not Cedar.
    pub fn settings(&self) -> Result<PolicySettings, String> {
        if self.policies.len() > MAX_POLICIES {
            let count = self.policies.len();
            return Err(format!("{count} policies are more than {MAX_POLICIES}"));
        }
        let policies = self.policies.iter().enumerate().map(|(number, sent)| {
            let id = PolicyId::new(number.to_string());
            let policy = Policy::parse(Some(id), &sent.text);
            let policy = policy.map_err(|error| format!("policy {}: {error}", sent.name))?;
            Ok(WrittenPolicy {
                name: sent.name.as_str().into(),
                origin: sent.name.as_str().into(),
                file: Default::default(),
                at: Position::default(),
                log_only: sent.log_only,
                policy,
            })
        });
        let Covered {
            tools,
            prompts,
            resources,
        } = self.covers;
        Ok(PolicySettings {
            policies: policies.collect::<Result<_, String>>()?,
            mode: match self.log_only {
                true => PolicyMode::LogOnly,
                false => PolicyMode::Enforce,
            },
            gateway: self.gateway.as_deref().map(Box::from),
            covers: PolicyCoverage {
                tools,
                prompts,
                resources,
            },
            validation: PolicyValidation::Off,
            tests: Box::default(),
            files: Box::default(),
            fingerprint: Fingerprint::of(self),
        })
    }
}
