//! `on_publish`: what follows the publication of a catalog.

use std::time::Duration;

use super::{AwsCredentials, Fingerprint};

/// The characters that models take in the name of a tool, which a gateway in front makes of the name
/// of its target, three underscores and the name that weir exposes.
const NAME_FOR_MODELS: usize = 64;
/// The underscores.
const BETWEEN: usize = 3;

/// An AgentCore Gateway in front, of which weir is a target.
#[derive(Clone, Debug)]
pub struct FrontGateway {
    /// The id of the gateway.
    pub gateway: String,
    /// The name of the target.
    pub target: String,
    /// The region; `None` is that of the credentials.
    pub region: Option<String>,
    /// The time for which a catalog must stay as it is before the gateway is told.
    pub debounce: Duration,
    /// The AWS credentials of the requests.
    pub credentials: AwsCredentials,
}

impl FrontGateway {
    /// Returns a digest of all settings.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// Returns how many characters an exposed name may have, so that models take what the gateway makes
    /// of it.
    #[must_use]
    pub fn longest_name(&self) -> usize {
        NAME_FOR_MODELS.saturating_sub(BETWEEN + self.target.chars().count())
    }

    /// Returns advice if names of so many characters may become too long for models.
    #[must_use]
    pub fn advise(&self, max_length: usize) -> Option<String> {
        let (longest, target) = (self.longest_name(), &self.target);
        (max_length > longest).then(|| {
            format!(
                "naming.max_length: {longest} or less keeps names within the {NAME_FOR_MODELS} characters that models take, with `{target}___` before them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AwsSource;

    #[test]
    fn a_gateway_puts_its_target_before_names() {
        let front = FrontGateway {
            gateway: "gw-ab12cdef34".to_owned(),
            target: "orders".to_owned(),
            region: None,
            debounce: Duration::ZERO,
            credentials: AwsCredentials {
                source: AwsSource::Chain { profile: None },
                assume_role: None,
            },
        };
        assert_eq!(front.longest_name(), 55);
        assert_eq!(front.advise(55), None);
        assert!(front.advise(56).unwrap().contains("`orders___`"));
        let long = "t".repeat(100);
        let front = FrontGateway {
            target: long,
            ..front
        };
        assert_eq!(front.longest_name(), 0);
    }
}
