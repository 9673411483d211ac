//! Amazon Bedrock AgentCore Gateway (AgentCore developer guide, "Use an AgentCore gateway").

use crate::config::{AwsCredentials, AwsSource, Endpoint, Upstream};
use crate::credentials::aws::control_plane::ControlPlane;
use crate::credentials::{CredentialsContext, SetupError};
use crate::upstream::quirks::{Platform, Quirks};

/// A gateway speaks only the versions that it was created with. It may be switched to sessions at
/// any time, after weir has connected too. It throttles in the body of an answer.
pub(super) const QUIRKS: Quirks = Quirks {
    platform: Platform::Gateway,
    affinity: false,
    // Every message of a gateway comes in the answer to the POST that it belongs to.
    post_only: true,
    no_delete: false,
    may_require_session_later: true,
    refuses_unknown_versions: true,
};

/// Builds the client that synchronizes the targets, if the config asks for that. It signs with the
/// credentials that sign the calls. If calls carry a token, it signs with those of the environment.
///
/// # Errors
/// A mistake that can be seen in the config.
pub(super) fn build_control(
    config: &Upstream,
    around: &CredentialsContext,
) -> Result<Option<ControlPlane>, SetupError> {
    let gateway = match &config.endpoint {
        Endpoint::Http(endpoint) => endpoint.gateway.as_ref(),
        Endpoint::Child { .. } => None,
    };
    let wanted = gateway.filter(|gateway| gateway.synchronize);
    let Some((gateway, id)) = wanted.and_then(|gateway| Some((gateway, gateway.id.as_ref()?)))
    else {
        return Ok(None);
    };
    let from_environment = AwsCredentials {
        source: AwsSource::Chain { profile: None },
        assume_role: None,
    };
    let credentials = config.auth.aws_credentials();
    let credentials = credentials.unwrap_or(&from_environment);
    ControlPlane::new(id, gateway.region.as_deref(), credentials, around).map(Some)
}
