//! Settings of AWS: hosts, signatures, credentials.

use url::Url;

use super::check::Check;
use super::secret_values::resolve_secret;
use super::target::HttpTarget;
use super::values::{
    check_scopes, expand, expand_map, expand_optional, expand_required, header_name,
};
use crate::config::raw::forms;
use crate::config::rules::Rule;
use crate::config::secrets::is_region;
use crate::config::{
    AgentcoreIdentity, AssumeRole, Auth, AwsCredentials, AwsSource, IdentityKind, IdentitySubject,
    ProblemKind, Sigv4, raw,
};
use crate::document::path::KeyPath;

/// The name under which AWS knows signatures for AgentCore.
pub(super) const SERVICE: &str = "bedrock-agentcore";

/// The parts of a host name of AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AwsHost {
    pub(super) service: Option<String>,
    pub(super) region: Option<String>,
    pub(super) gateway: Option<String>,
}

/// `{id}.gateway.bedrock-agentcore.{region}.amazonaws.com`, `{service}.{region}.amazonaws.com`,
/// `{endpoint}.{service}.{region}.vpce.amazonaws.com`, `{id}.lambda-url.{region}.on.aws`.
pub(super) fn parse_aws_host(url: &Url) -> AwsHost {
    let host = url.host_str().unwrap_or_default();
    let labels: Vec<&str> = host.split('.').collect();
    let labels = match labels.as_slice() {
        [labels @ .., "vpce", "amazonaws", "com"]
        | [labels @ .., "vpce", "amazonaws", "com", "cn"]
        | [labels @ .., "amazonaws", "com"]
        | [labels @ .., "amazonaws", "com", "cn"]
        | [labels @ .., "on", "aws"] => labels,
        _ => return AwsHost::default(),
    };
    let (gateway, service, region) = match *labels {
        [id, "gateway", service, region] => (Some(id), service, region),
        [.., "lambda-url", region] => (None, "lambda", region),
        [.., service, region] => (None, service, region),
        _ => return AwsHost::default(),
    };
    if !is_region(region) {
        return AwsHost::default();
    }
    let own = |text: &str| text.to_owned();
    AwsHost {
        service: Some(own(service)),
        region: Some(own(region)),
        gateway: gateway.map(own),
    }
}

pub(super) fn check_region(
    check: &mut Check<'_>,
    raw: Option<&String>,
    at: &KeyPath,
) -> Option<String> {
    let region = expand_optional(check, raw, at)?;
    if !is_region(&region) {
        check.report(at, Rule::Region);
    }
    Some(region)
}

pub(super) fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_partition(partition: &str) -> bool {
    partition.starts_with("aws")
}

/// `auth: { type: sigv4 }`; what is not written is what the URL says.
pub(super) fn check_sigv4(
    check: &mut Check<'_>,
    raw: &raw::Sigv4,
    target: Option<&HttpTarget>,
    at: &KeyPath,
) -> Box<Sigv4> {
    let named = target
        .map(|target| parse_aws_host(&target.url))
        .unwrap_or_default();
    let is_aws = target.is_some_and(|target| target.connector.is_aws());
    let service = expand_optional(check, raw.service.as_ref(), &at.key("service"));
    let of_url = named.service.filter(|_| !is_aws);
    let region = check_region(check, raw.region.as_ref(), &at.key("region"));
    let of_target = target.and_then(|target| target.region.clone());
    let assume_role = check_role(check, raw.assume_role.as_ref(), &at.key("assume_role"));
    Box::new(Sigv4 {
        service: service.or(of_url).unwrap_or_else(|| SERVICE.to_owned()),
        region: region.or(of_target).or(named.region),
        credentials: AwsCredentials {
            source: check_source(check, raw, at),
            assume_role,
        },
    })
}

fn check_source(check: &mut Check<'_>, raw: &raw::Sigv4, at: &KeyPath) -> AwsSource {
    let profile = expand_optional(check, raw.profile.as_ref(), &at.key("profile"));
    let id = expand_optional(check, raw.access_key_id.as_ref(), &at.key("access_key_id"));
    let mut secret = |key: &'static str, raw: Option<&raw::SecretRef>| {
        raw.map(|raw| resolve_secret(check, raw, &at.key(key)))
    };
    let key = secret("secret_access_key", raw.secret_access_key.as_ref());
    let token = secret("session_token", raw.session_token.as_ref());
    let mut needs = |key: &'static str, other: &'static str| {
        if !check.source.is_excused(at, other) {
            check.report(&at.key(key), Rule::Needs { key, other });
        }
    };
    match (&id, &key) {
        (Some(_), None) => needs("access_key_id", "secret_access_key"),
        (None, Some(_)) => needs("secret_access_key", "access_key_id"),
        (None, None) if token.is_some() => needs("session_token", "access_key_id"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    match (id, key) {
        (Some(access_key_id), Some(secret_access_key)) => {
            if profile.is_some() {
                let (key, other) = ("profile", "access_key_id");
                check.report(&at.key(key), Rule::NotWith { key, other });
            }
            AwsSource::Keys {
                access_key_id,
                secret_access_key,
                session_token: token,
            }
        }
        _ => AwsSource::Chain { profile },
    }
}

pub(super) fn check_role(
    check: &mut Check<'_>,
    raw: Option<&forms::AssumeRole>,
    at: &KeyPath,
) -> Option<AssumeRole> {
    let raw = raw?;
    let inner = |key: &str| match raw.is_mapping {
        true => at.key(key),
        false => at.clone(),
    };
    let arn = expand(check, &raw.arn, &inner("arn"));
    if !is_role(&arn) {
        check.report(&inner("arn"), Rule::RoleArn);
    }
    let session_name = expand_optional(check, raw.session_name.as_ref(), &inner("session_name"));
    let session_name = session_name.unwrap_or_else(|| "weir".to_owned());
    let word = |text: &str, more: &[u8], most: usize| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
        (2..=most).contains(&text.len()) && text.bytes().all(legal)
    };
    if !word(&session_name, b"_+=,.@-", 64) {
        check.report(&inner("session_name"), Rule::SessionName);
    }
    let external_id = expand_optional(check, raw.external_id.as_ref(), &inner("external_id"));
    if let Some(id) = &external_id
        && !word(id, b"_+=,.@:/-", 1224)
    {
        check.report(&inner("external_id"), Rule::ExternalId);
    }
    Some(AssumeRole {
        arn,
        external_id,
        session_name,
    })
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "iam", "", account, resource] = *parts else {
        return false;
    };
    let legal = |byte: u8| byte.is_ascii_graphic();
    let name = resource.strip_prefix("role/").unwrap_or_default();
    is_partition(partition) && is_account(account) && !name.is_empty() && name.bytes().all(legal)
}

fn subject_of(raw: &raw::AgentcoreIdentity) -> IdentitySubject {
    match raw.subject {
        None => IdentitySubject::Workload,
        Some(raw::IdentitySubject::Caller) => IdentitySubject::Caller,
        Some(raw::IdentitySubject::CallerId) => IdentitySubject::CallerId,
        Some(raw::IdentitySubject::WorkloadToken) => IdentitySubject::WorkloadToken,
    }
}

/// `workload`, which has no meaning where the platform brings the workload's token.
fn check_workload(check: &mut Check<'_>, raw: &raw::AgentcoreIdentity, at: &KeyPath) -> String {
    let key = "workload";
    let is_brought = raw.subject == Some(raw::IdentitySubject::WorkloadToken);
    match &raw.workload {
        None if is_brought || check.source.is_excused(at, key) => String::new(),
        None => {
            check.report(at, ProblemKind::MissingKey { key });
            String::new()
        }
        Some(_) if is_brought => {
            let other = "subject: workload_token";
            check.report(&at.key(key), Rule::NotWith { key, other });
            String::new()
        }
        Some(text) => expand_required(check, text, &at.key(key)),
    }
}

/// `auth: { type: agentcore_identity }`
pub(super) fn check_identity(
    check: &mut Check<'_>,
    raw: &raw::AgentcoreIdentity,
    target: Option<&HttpTarget>,
    at: &KeyPath,
) -> Auth {
    let kind = match &raw.api_key {
        Some(key) => {
            for (other, present) in [
                ("scopes", raw.scopes.is_some()),
                ("resources", raw.resources.is_some()),
                ("audiences", raw.audiences.is_some()),
                ("parameters", raw.parameters.is_some()),
            ] {
                if present {
                    let key = "api_key";
                    check.report(
                        &at.key(other),
                        Rule::NotWith {
                            key: other,
                            other: key,
                        },
                    );
                }
            }
            let place = at.key("api_key");
            let header = check.ok(&place.key("header"), header_name(&key.header));
            let prefix = key.prefix.clone().unwrap_or_default();
            if http::HeaderValue::from_str(&prefix).is_err() {
                let error = crate::config::HeaderSettingError::Value;
                check.report(&place.key("prefix"), error);
            }
            header.map(|header| IdentityKind::ApiKey { header, prefix })
        }
        None => Some(IdentityKind::Oauth2 {
            scopes: check_scopes(check, raw.scopes.as_ref(), &at.key("scopes")),
            resources: raw.resources.clone().unwrap_or_default(),
            audiences: raw.audiences.clone().unwrap_or_default(),
            parameters: expand_map(check, raw.parameters.as_ref(), &at.key("parameters")),
        }),
    };
    let named = target
        .map(|target| parse_aws_host(&target.url))
        .unwrap_or_default();
    let region = check_region(check, raw.region.as_ref(), &at.key("region"));
    let profile = expand_optional(check, raw.profile.as_ref(), &at.key("profile"));
    let assume_role = check_role(check, raw.assume_role.as_ref(), &at.key("assume_role"));
    let workload = check_workload(check, raw, at);
    let provider = expand_required(check, &raw.provider, &at.key("provider"));
    let Some(kind) = kind else {
        return Auth::None;
    };
    Auth::AgentcoreIdentity(Box::new(AgentcoreIdentity {
        workload,
        provider,
        kind,
        subject: subject_of(raw),
        region: region.or(named.region),
        credentials: AwsCredentials {
            source: AwsSource::Chain { profile },
            assume_role,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_aws_name_service_and_region() {
        let cases = [
            (
                "https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp",
                Some(("bedrock-agentcore", "eu-west-1", Some("gw-ab12cdef34"))),
            ),
            (
                "https://bedrock-agentcore.us-gov-west-1.amazonaws.com/runtimes/x/invocations",
                Some(("bedrock-agentcore", "us-gov-west-1", None)),
            ),
            (
                "https://abc123.execute-api.eu-west-1.amazonaws.com/prod/mcp",
                Some(("execute-api", "eu-west-1", None)),
            ),
            (
                "https://vpce-1-a.bedrock-agentcore.eu-west-1.vpce.amazonaws.com/mcp",
                Some(("bedrock-agentcore", "eu-west-1", None)),
            ),
            (
                "https://abc.lambda-url.eu-west-1.on.aws/mcp",
                Some(("lambda", "eu-west-1", None)),
            ),
            (
                "https://bedrock-agentcore.cn-north-1.amazonaws.com.cn/x",
                Some(("bedrock-agentcore", "cn-north-1", None)),
            ),
            ("https://s3.amazonaws.com/x", None),
            (
                "https://bedrock-agentcore.eu-west-1.amazonaws.com.evil.example/x",
                None,
            ),
        ];
        for (text, expected) in cases {
            let found = parse_aws_host(&Url::parse(text).unwrap());
            let expected =
                expected.map_or_else(AwsHost::default, |(service, region, gateway)| AwsHost {
                    service: Some(service.to_owned()),
                    region: Some(region.to_owned()),
                    gateway: gateway.map(str::to_owned),
                });
            assert_eq!(found, expected, "{text}");
        }
    }
}
