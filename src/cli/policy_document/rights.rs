//! The rights that a config needs in AWS.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{
    AgentcoreIdentity, Auth, AwsCredentials, AwsSecret, AwsSource, Config, Connector, Endpoint,
    FrontGateway, Gateway, Hook, HookTarget, HttpEndpoint, IdentityKind, IdentitySubject,
    SecretRef, Telemetry, Upstream,
};

/// The account and the region of what is named without them.
pub(super) struct Place {
    pub(super) account: String,
    pub(super) region: String,
}

impl Place {
    /// Returns an ARN (AWS General Reference, "Amazon Resource Names").
    fn arn(&self, service: &str, region: Option<&str>, rest: &str) -> String {
        let region = region.unwrap_or(&self.region);
        let partition = match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            "*" => "*",
            _ => "aws",
        };
        format!("arn:{partition}:{service}:{region}:{}:{rest}", self.account)
    }
}

/// The actions that have targets of a gateway read again.
const SYNCHRONIZE: [&str; 3] = [
    "bedrock-agentcore:GetGatewayTarget",
    "bedrock-agentcore:ListGatewayTargets",
    "bedrock-agentcore:SynchronizeGatewayTargets",
];

/// The rights that a config uses in AWS with the credentials of the machine that it runs on.
pub(super) struct Rights<'c> {
    place: &'c Place,
    found: BTreeMap<&'static str, (BTreeSet<&'static str>, BTreeSet<String>)>,
    /// Notes on the result, for the operator.
    pub(super) notes: Vec<String>,
}

impl<'c> Rights<'c> {
    /// Gathers the rights.
    pub(super) fn of(config: &'c Config, place: &'c Place) -> Self {
        let mut rights = Self {
            place,
            found: BTreeMap::new(),
            notes: Vec::new(),
        };
        for upstream in config.upstreams.values() {
            rights.add_upstream(upstream);
        }
        for hook in &config.hooks {
            rights.add_hook(hook);
        }
        for secret in &config.aws_secrets {
            rights.add_secret(secret);
        }
        if let Some(telemetry) = &config.telemetry {
            rights.add_telemetry(telemetry);
        }
        if let Some(front) = config.front_gateway.as_deref() {
            rights.add_front_gateway(front);
        }
        if place.account == "*" && !rights.found.is_empty() {
            let note = "without --account, the rights are for what has these names in any account";
            rights.notes.push(note.to_owned());
        }
        rights
    }

    /// Returns the statements: a name, actions, resources.
    pub(super) fn statements(
        &self,
    ) -> impl Iterator<Item = (&'static str, &BTreeSet<&'static str>, &BTreeSet<String>)> {
        let found = self.found.iter();
        found.map(|(name, (actions, resources))| (*name, actions, resources))
    }

    fn add(
        &mut self,
        name: &'static str,
        actions: &[&'static str],
        resources: impl IntoIterator<Item = String>,
    ) {
        let (all, of) = self.found.entry(name).or_default();
        all.extend(actions);
        of.extend(resources);
    }

    /// Returns whether requests are made with the machine's own credentials. If they are made with a
    /// role, only that it may be assumed is a right of the machine.
    fn is_own(&mut self, credentials: &AwsCredentials) -> bool {
        if !matches!(&credentials.source, AwsSource::Chain { profile: None }) {
            return false;
        }
        let role = credentials.assume_role.as_ref();
        if let Some(role) = role {
            self.add("AssumeRoles", &["sts:AssumeRole"], [role.arn.clone()]);
        }
        role.is_none()
    }

    fn add_upstream(&mut self, upstream: &Upstream) {
        let delegated = upstream.on_behalf.as_ref().map(|on_behalf| &on_behalf.auth);
        let (mut signs, mut region) = (false, None);
        for auth in [Some(&upstream.auth), delegated].into_iter().flatten() {
            match auth {
                Auth::Sigv4(sigv4) => {
                    signs |= self.is_own(&sigv4.credentials);
                    region = sigv4.region.as_deref();
                }
                Auth::AgentcoreIdentity(identity) => self.add_identity(identity),
                Auth::None
                | Auth::Bearer(_)
                | Auth::Header { .. }
                | Auth::Basic { .. }
                | Auth::ClientCredentials(_)
                | Auth::AuthorizationCode(_)
                | Auth::TokenExchange(_) => {}
            }
        }
        let Endpoint::Http(endpoint) = &upstream.endpoint else {
            return;
        };
        if let Some(gateway) = &endpoint.gateway {
            self.add_synchronization(upstream, gateway);
        }
        if !signs {
            return;
        }
        match (&endpoint.gateway, upstream.connector) {
            (Some(gateway), _) => self.add_gateway(upstream, gateway),
            (None, Connector::AgentcoreRuntime) => self.add_runtime(endpoint, region),
            (None, Connector::AgentcoreGateway | Connector::Saas | Connector::OnPrem) => {
                self.notes.push(format!(
                    "upstream `{}` gets signed requests, and its URL does not say for which resource: its right is not in the policy",
                    upstream.id
                ));
            }
        }
    }

    fn add_hook(&mut self, hook: &Hook) {
        match &hook.target {
            HookTarget::Lambda {
                arn, credentials, ..
            } if self.is_own(credentials) => {
                let actions = ["lambda:InvokeFunction"];
                self.add("InvokeFunctions", &actions, [arn.clone()]);
            }
            HookTarget::Endpoint(endpoint) => self.add_upstream(endpoint),
            HookTarget::Lambda { .. } | HookTarget::Socket(_) => {}
        }
    }

    fn add_gateway(&mut self, upstream: &Upstream, gateway: &Gateway) {
        let id = gateway.id.as_deref().unwrap_or_else(|| {
            self.notes.push(format!(
                "the URL of upstream `{}` does not say which gateway it is: the right is for every gateway",
                upstream.id
            ));
            "*"
        });
        let arn = self.gateway_arn(gateway, id);
        let actions = ["bedrock-agentcore:InvokeGateway"];
        self.add("InvokeGateways", &actions, [arn]);
    }

    fn gateway_arn(&self, gateway: &Gateway, id: &str) -> String {
        let gateway_id = format!("gateway/{id}");
        let region = gateway.region.as_deref();
        self.place.arn("bedrock-agentcore", region, &gateway_id)
    }

    /// Adds the rights to synchronize a gateway's targets. Requests about that are signed whatever calls
    /// carry: with the credentials that sign calls, or else with those of the machine.
    fn add_synchronization(&mut self, upstream: &Upstream, gateway: &Gateway) {
        let Some(id) = gateway.id.as_deref().filter(|_| gateway.synchronize) else {
            return;
        };
        let credentials = upstream.auth.aws_credentials();
        if credentials.is_none_or(|credentials| self.is_own(credentials)) {
            let arn = self.gateway_arn(gateway, id);
            self.add("SynchronizeGateways", &SYNCHRONIZE, [arn]);
        }
    }

    /// Adds the rights to have a gateway in front list weir again.
    fn add_front_gateway(&mut self, front: &FrontGateway) {
        if self.is_own(&front.credentials) {
            let (place, region) = (self.place, front.region.as_deref());
            let gateway = format!("gateway/{}", front.gateway);
            let arn = place.arn("bedrock-agentcore", region, &gateway);
            self.add("SynchronizeGateways", &SYNCHRONIZE, [arn]);
        }
    }

    /// Adds the right to call a runtime, whose ARN or id is in the path of its URL:
    /// `/runtimes/ARN/invocations`, or `/runtimes/ID/invocations?accountId=ACCOUNT`.
    fn add_runtime(&mut self, endpoint: &HttpEndpoint, region: Option<&str>) {
        let mut segments = endpoint.url.path_segments().into_iter().flatten();
        let named = segments.find(|segment| *segment == "runtimes");
        let named = named.and_then(|_| segments.next()).unwrap_or("*");
        let named = named.replace("%3A", ":").replace("%2F", "/");
        let arn = match named.starts_with("arn:") {
            true => named,
            false => {
                let mut query = endpoint.url.query_pairs();
                let account = query.find(|(key, _)| key == "accountId");
                let place = Place {
                    account: account.map_or_else(
                        || self.place.account.clone(),
                        |(_, account)| account.into_owned(),
                    ),
                    region: self.place.region.clone(),
                };
                let runtime = format!("runtime/{named}");
                place.arn("bedrock-agentcore", region, &runtime)
            }
        };
        let endpoints = format!("{arn}/runtime-endpoint/*");
        let actions = ["bedrock-agentcore:InvokeAgentRuntime"];
        self.add("InvokeRuntimes", &actions, [arn, endpoints]);
    }

    /// Adds the rights to fetch a credential, on the resources that the IAM reference of AgentCore names:
    /// the token, the directory, the vault, and the secret that the provider keeps.
    fn add_identity(&mut self, identity: &AgentcoreIdentity) {
        if !self.is_own(&identity.credentials) {
            return;
        }
        let (place, region) = (self.place, identity.region.as_deref());
        let agentcore = |rest: &str| place.arn("bedrock-agentcore", region, rest);
        let directory = agentcore("workload-identity-directory/default");
        let (workload, token) = match identity.subject {
            IdentitySubject::Workload => (
                &*identity.workload,
                Some("bedrock-agentcore:GetWorkloadAccessToken"),
            ),
            IdentitySubject::Caller => (
                &*identity.workload,
                Some("bedrock-agentcore:GetWorkloadAccessTokenForJWT"),
            ),
            IdentitySubject::CallerId => (
                &*identity.workload,
                Some("bedrock-agentcore:GetWorkloadAccessTokenForUserId"),
            ),
            // The Runtime brings the token, for a workload identity that it has made.
            IdentitySubject::WorkloadToken => ("*", None),
        };
        let workload = format!("{directory}/workload-identity/{workload}");
        let own = [directory, workload];
        if let Some(token) = token {
            self.add("WorkloadTokens", &[token], own.clone());
        }
        let provider = &identity.provider;
        let vault = agentcore("token-vault/default");
        let (name, action, kind) = match identity.kind {
            IdentityKind::Oauth2 { .. } => (
                "OAuthTokens",
                "bedrock-agentcore:GetResourceOauth2Token",
                "oauth2credentialprovider",
            ),
            IdentityKind::ApiKey { .. } => (
                "ApiKeys",
                "bedrock-agentcore:GetResourceApiKey",
                "apikeycredentialprovider",
            ),
        };
        let of_provider = format!("{vault}/{kind}/{provider}");
        self.add(name, &[action], own.into_iter().chain([vault, of_provider]));
        let secret = format!("secret:bedrock-agentcore-identity!default/*/{provider}-*");
        let secret = place.arn("secretsmanager", region, &secret);
        self.add(
            "ProviderSecrets",
            &["secretsmanager:GetSecretValue"],
            [secret],
        );
    }

    fn add_secret(&mut self, secret: &AwsSecret) {
        if !self.is_own(&secret.credentials) {
            return;
        }
        let arn = match secret.id.starts_with("arn:") {
            true => secret.id.clone(),
            // Secrets Manager puts a hyphen and six characters behind a name.
            false => {
                let named = format!("secret:{}-??????", secret.id);
                self.place
                    .arn("secretsmanager", secret.region.as_deref(), &named)
            }
        };
        self.add("Secrets", &["secretsmanager:GetSecretValue"], [arn]);
    }

    /// Adds the rights to send spans, log records and metrics to the OTLP endpoints of CloudWatch (Amazon
    /// CloudWatch User Guide, "OTLP Endpoints"). Those of X-Ray and of metrics know no resources.
    fn add_telemetry(&mut self, telemetry: &Telemetry) {
        let all = [&telemetry.traces, &telemetry.logs, &telemetry.metrics];
        for endpoint in all.into_iter().flatten() {
            let Some(sigv4) = &endpoint.sigv4 else {
                continue;
            };
            if !self.is_own(&sigv4.credentials) {
                continue;
            }
            let any = "*".to_owned();
            match sigv4.service.as_str() {
                "xray" => self.add("SendTraces", &["xray:PutTraceSegments"], [any]),
                "monitoring" => self.add("SendMetrics", &["cloudwatch:PutMetricData"], [any]),
                "logs" => {
                    let [group, stream] = ["x-aws-log-group", "x-aws-log-stream"]
                        .map(|name| written_header(telemetry, name).unwrap_or("*"));
                    let stream = format!("log-group:{group}:log-stream:{stream}");
                    let arn = self.place.arn("logs", sigv4.region.as_deref(), &stream);
                    self.add("SendLogs", &["logs:PutLogEvents"], [arn]);
                }
                _ => self.notes.push(format!(
                    "`telemetry` signs requests to {}, of which weir does not know what right they need: it is not in the policy",
                    endpoint.url.host_str().unwrap_or_default()
                )),
            }
        }
    }
}

/// Returns the value of a header that is a name of a log group or stream, where the config has it.
fn written_header<'t>(telemetry: &'t Telemetry, name: &str) -> Option<&'t str> {
    let mut headers = telemetry.headers.iter();
    let (_, value) = headers.find(|(other, _)| other == name)?;
    match value {
        SecretRef::Fixed(text) => Some(text.expose()),
        SecretRef::File { .. } | SecretRef::Aws(_) => None,
    }
}
