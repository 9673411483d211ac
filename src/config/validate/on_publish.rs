//! `on_publish:`

use std::sync::Arc;
use std::time::Duration;

use super::agentcore::is_gateway;
use super::aws::{check_region, check_role};
use super::check::Check;
use super::keys::check_duration;
use super::values::{expand_optional, expand_required};
use crate::config::rules::Rule;
use crate::config::{AwsCredentials, AwsSource, FrontGateway, raw};
use crate::document::path::KeyPath;

/// `debounce`, if it is not written.
const DEBOUNCE: Duration = Duration::from_secs(10);

/// Validates `on_publish`.
pub(super) fn check_on_publish(
    check: &mut Check<'_>,
    raw: Option<raw::OnPublish>,
    at: &KeyPath,
) -> Option<Arc<FrontGateway>> {
    let at = at.key("synchronize");
    let raw = raw?.synchronize?;
    let gateway = expand_required(check, &raw.gateway, &at.key("gateway"));
    if !is_gateway(&gateway) {
        check.report(&at.key("gateway"), Rule::GatewayId);
    }
    let target = expand_required(check, &raw.target, &at.key("target"));
    if !is_target(&target) {
        check.report(&at.key("target"), Rule::TargetName);
    }
    let profile = expand_optional(check, raw.profile.as_ref(), &at.key("profile"));
    Some(Arc::new(FrontGateway {
        gateway,
        target,
        region: check_region(check, raw.region.as_ref(), &at.key("region")),
        debounce: check_duration(check, raw.debounce, DEBOUNCE, &at.key("debounce")),
        credentials: AwsCredentials {
            source: AwsSource::Chain { profile },
            assume_role: check_role(check, raw.assume_role.as_ref(), &at.key("assume_role")),
        },
    }))
}

/// `([0-9a-zA-Z][-]?){1,100}`, as the API's model has it.
fn is_target(name: &str) -> bool {
    let legal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let name = name.strip_suffix('-').unwrap_or(name);
    name.len() < 200 && name.split('-').all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets_are_those_of_the_model() {
        for name in ["weir", "Weir-2", "a", "a-b-c", "a-"] {
            assert!(is_target(name), "{name}");
        }
        for name in ["", "-", "-a", "a--b", "a_b", "a b"] {
            assert!(!is_target(name), "{name}");
        }
    }
}
