//! Amazon Bedrock AgentCore Gateway (AgentCore developer guide, "Use an AgentCore gateway").

use crate::config::{Auth, AwsCredentials, AwsSource, Endpoint, Upstream};
use crate::credentials::aws::control_plane::ControlPlane;
use crate::credentials::{CredentialsContext, SetupError};
use crate::upstream::quirks::{Platform, Quirks};

/// A gateway speaks the versions it was created with and no others; keeps sessions if it was told to, which may be
/// later than weir came; throttles in the body of an answer.
pub(super) const QUIRKS: Quirks = Quirks {
    platform: Platform::Gateway,
    affinity: false,
    // What it has to say comes on the answer of the POST that it is about.
    post_only: true,
    no_delete: false,
    may_require_session_later: true,
    refuses_unknown_versions: true,
};

/// What synchronizes the targets, where the config wants that. Who signs the calls signs that too; where calls carry a
/// token, it is whom the environment says.
///
/// # Errors
/// What shows in the config.
pub(super) fn control(
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
    let of_environment = AwsCredentials {
        source: AwsSource::Chain { profile: None },
        assume_role: None,
    };
    let credentials = match &config.auth {
        Auth::Sigv4(sigv4) => &sigv4.credentials,
        Auth::AgentcoreIdentity(identity) => &identity.credentials,
        Auth::None
        | Auth::Bearer(_)
        | Auth::Header { .. }
        | Auth::Basic { .. }
        | Auth::ClientCredentials(_)
        | Auth::AuthorizationCode(_)
        | Auth::TokenExchange(_) => &of_environment,
    };
    ControlPlane::new(id, gateway.region.as_deref(), credentials, around).map(Some)
}
