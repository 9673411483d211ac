//! Connectors that log in: what is accepted.

use super::*;

/// The sample of the design, whose files are there.
const DESIGN: &str = r#"
version: 1
listen: { address: 127.0.0.1:8000, path: /mcp, allowed_hosts: [], allowed_origins: [], page_size: 1000 }
admin:  { address: 127.0.0.1:8001 }
state:  { dir: .weir }
instance: eu-edge-1
naming: { separator: "__", max_length: 64 }
defaults:
  resync: 60s
  stale: { policy: serve, max_age: 24h }
  timeouts: { connect: 3s, list: 8s, call: 120s, idle: 60s }
  limits: { in_flight: 64, response_bytes: 32MiB, tools: 5000 }
upstreams:
  corp:
    connector: agentcore_gateway
    gateway: { id: gw-ab12cdef34, region: eu-west-1 }
    auth: { type: sigv4, assume_role: "arn:aws:iam::123456789012:role/mcp-invoke" }
    names: { strip: "^[^_]+___" }
  billing:
    connector: agentcore_runtime
    runtime: { arn: "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/billing-x1", qualifier: DEFAULT }
    auth:
      type: oauth2_client_credentials
      token_url: https://corp.auth.eu-west-1.amazoncognito.com/oauth2/token
      client_id: 4abc
      client_secret: { file: billing }
      scopes: [billing/invoke]
  github:
    connector: saas
    url: https://api.githubcopilot.com/mcp/
    auth: { type: bearer, token: { file: github } }
    tools: { allow: ["issue_*", "search_*"], deny: ["*delete*"] }
  erp:
    connector: on_prem
    url: https://erp.mcp.internal:8443/mcp
    tls: { ca: ca.pem, cert: client.pem, key: { file: erp-key } }
    namespace: erp
    tools: { override: { qry: { name: query_orders, description: "…", hide_args: [tenant], set_args: { tenant: eu } } } }
  files:
    connector: on_prem
    command: /opt/mcp/files
    args: ["--root", "/srv/data"]
    env: { TOKEN: { env: TOKEN } }
"#;

/// A certificate and its key.
pub(super) fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["erp.mcp.internal".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn http(upstream: &Upstream) -> &HttpEndpoint {
    match &upstream.endpoint {
        Endpoint::Http(endpoint) => endpoint,
        Endpoint::Child { .. } => panic!("not over HTTP"),
    }
}

fn url(text: &str) -> String {
    http(&upstream(text)).url.to_string()
}

#[test]
fn the_sample_of_the_design_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = identity();
    for (name, text) in [
        ("billing", "s3cret\n"),
        ("github", "s3cret\n"),
        ("ca.pem", &cert),
        ("client.pem", &cert),
        ("erp-key", &key),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let config = parse(DESIGN, &folder.path().join("weir.yaml"), &env);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let corp = &config.upstreams["corp"];
    assert_eq!(corp.connector, Connector::AgentcoreGateway);
    let Auth::Sigv4(sigv4) = &corp.auth else {
        panic!("{:?}", corp.auth)
    };
    assert_eq!(sigv4.region.as_deref(), Some("eu-west-1"));
    let role = sigv4.credentials.assume_role.as_ref().unwrap();
    assert_eq!(role.session_name, "weir");
    let billing = &config.upstreams["billing"];
    assert_eq!(billing.connector, Connector::AgentcoreRuntime);
    // Written in `defaults`.
    assert_eq!(billing.timeouts.list, Duration::from_secs(8));
    let Auth::ClientCredentials(oauth) = &billing.auth else {
        panic!("{:?}", billing.auth)
    };
    assert!(matches!(
        &oauth.client.authentication,
        ClientAuthentication::SecretBasic(SecretRef::File { first, .. }) if first.expose() == "s3cret"
    ));
    let tls = &http(&config.upstreams["erp"]).tls;
    assert_eq!(tls.ca, Some(folder.path().join("ca.pem")));
    assert!(tls.identity.is_some());
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("t0ken"),
        "{shown}"
    );
}

#[test]
fn urls_of_aws_are_made_as_aws_writes_them() {
    assert_eq!(
        url("gateway: { id: gw-ab12cdef34, region: eu-west-1 }"),
        "https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp"
    );
    assert_eq!(
        url("gateway: { id: gw-ab12cdef34, region: cn-north-1 }"),
        "https://gw-ab12cdef34.gateway.bedrock-agentcore.cn-north-1.amazonaws.com.cn/mcp"
    );
    assert_eq!(
        url("gateway: { id: gw-ab12cdef34, region: eu-west-1, endpoint: 'http://127.0.0.1:9/' }"),
        "http://127.0.0.1:9/mcp"
    );
    let arn = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/billing-x1";
    let escaped = "arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A123456789012%3Aruntime%2Fbilling-x1";
    assert_eq!(
        url(&format!("runtime: {{ arn: '{arn}' }}")),
        format!(
            "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/{escaped}/invocations?qualifier=DEFAULT"
        )
    );
    assert_eq!(
        url(&format!(
            "runtime: {{ arn: '{arn}', qualifier: prod, endpoint: 'http://localhost:9/x/' }}"
        )),
        format!("http://localhost:9/x/runtimes/{escaped}/invocations?qualifier=prod")
    );
    assert_eq!(
        url("runtime: { agent_id: billing-x1, account_id: '123456789012', region: eu-west-1 }"),
        "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/billing-x1/invocations?qualifier=DEFAULT&accountId=123456789012"
    );
    let there = "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/arn%3Ax%2Fy/invocations?qualifier=DEFAULT";
    assert_eq!(
        url(&format!("connector: agentcore_runtime\nurl: '{there}'")),
        there
    );
}

#[test]
fn what_a_gateways_url_says_need_not_be_written() {
    let upstream = upstream(
        "connector: agentcore_gateway\nurl: https://gw-ab12cdef34.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp\ngateway: { synchronize: true, search: keep }",
    );
    let gateway = http(&upstream).gateway.as_ref().unwrap();
    assert_eq!(gateway.id.as_deref(), Some("gw-ab12cdef34"));
    assert_eq!(gateway.region.as_deref(), Some("eu-west-1"));
    assert_eq!(gateway.search, Search::Keep);
    assert!(gateway.synchronize);
}

#[test]
fn aws_connectors_sign_unless_told_otherwise() {
    let runtime = "runtime: { agent_id: x, account_id: '123456789012', region: eu-west-1 }";
    let upstream = |more: &str| super::upstream(&format!("{runtime}\n{more}"));
    let signed = upstream("");
    let Auth::Sigv4(sigv4) = &signed.auth else {
        panic!("{:?}", signed.auth)
    };
    assert_eq!(sigv4.service, "bedrock-agentcore");
    assert_eq!(sigv4.region.as_deref(), Some("eu-west-1"));
    assert_eq!(signed.timeouts.list, Duration::from_secs(30));
    let written = upstream("timeouts: { list: 4s }");
    assert_eq!(written.timeouts.list, Duration::from_secs(4));
    assert!(matches!(upstream("auth: { type: none }").auth, Auth::None));
    let by_hand = upstream("headers: { authorization: 'Bearer ${TOKEN}' }");
    assert!(matches!(by_hand.auth, Auth::None));
    let region = upstream("auth: { type: sigv4, region: us-east-1 }");
    let Auth::Sigv4(sigv4) = &region.auth else {
        panic!("{:?}", region.auth)
    };
    assert_eq!(sigv4.region.as_deref(), Some("us-east-1"));
    let api = super::upstream(
        "url: https://abc.execute-api.eu-west-2.amazonaws.com/mcp\nauth: { type: sigv4, profile: me }",
    );
    let Auth::Sigv4(sigv4) = &api.auth else {
        panic!("{:?}", api.auth)
    };
    assert_eq!(
        (sigv4.service.as_str(), sigv4.region.as_deref()),
        ("execute-api", Some("eu-west-2"))
    );
    assert_eq!(api.connector, Connector::Saas);
}

#[test]
fn a_client_proves_who_it_is_by_what_it_has() {
    let client = |text: &str| {
        let upstream = upstream(&format!(
            "url: https://a.example.com/mcp\nauth: {{ type: oauth2_client_credentials, issuer: 'https://id.example.com', client_id: me, {text} }}"
        ));
        let Auth::ClientCredentials(oauth) = &upstream.auth else {
            panic!("{upstream:?}");
        };
        match &oauth.client.authentication {
            ClientAuthentication::None => "none",
            ClientAuthentication::SecretBasic(_) => "basic",
            ClientAuthentication::SecretPost(_) => "post",
            ClientAuthentication::PrivateKeyJwt { .. } => "jwt",
        }
    };
    let secret = "client_secret: { env: TOKEN }";
    let key = "private_key: { env: TOKEN }";
    assert_eq!(client(secret), "basic");
    assert_eq!(
        client(&format!(
            "{secret}, client_authentication: client_secret_post"
        )),
        "post"
    );
    assert_eq!(
        client(&format!("{key}, algorithm: ES256, key_id: '1'")),
        "jwt"
    );
    assert_eq!(client("client_authentication: none"), "none");
}

/// Upstreams that log in in every other way.
const OTHERS: &str = "\
state: { dir: s }
upstreams:
  code: { url: https://a.example.com/mcp, auth: { type: oauth2_authorization_code } }
  known: { url: https://a.example.com/mcp, auth: { type: oauth2_authorization_code, client_id: me, redirect_port: 8123 } }
  exchange:
    url: https://a.example.com/mcp
    auth:
      type: oauth2_token_exchange
      token_url: https://id.example.com/token
      client_id: me
      client_secret: { aws_secret: { id: prod/weir, key: secret, region: eu-west-1, profile: ops } }
      subject_token: { env: TOKEN }
      actor_token: { env: TOKEN }
      resource: https://a.example.com/mcp
      parameters: { organization: 5 }
  identity: { url: https://a.example.com/mcp, auth: { type: agentcore_identity, workload: w, provider: p, region: eu-west-1, scopes: [a] } }
  key: { url: https://a.example.com/mcp, auth: { type: agentcore_identity, workload: w, provider: p, api_key: { header: x-api-key } } }
  socket: { url: http://mcp/mcp, socket: /run/mcp.sock }
  secret: { url: https://a.example.com/mcp, auth: { type: bearer, token: { aws_secret: 'arn:aws:secretsmanager:eu-west-3:123456789012:secret:weir-AbCdEf' } } }
";

#[test]
fn the_other_ways_to_log_in_are_read() {
    let config = config(OTHERS);
    let of = |name: &str| &config.upstreams[name];
    let Auth::AuthorizationCode(code) = &of("code").auth else {
        panic!()
    };
    assert!(matches!(code.client, Registration::Dynamic) && code.issuer.is_none());
    let Auth::AuthorizationCode(code) = &of("known").auth else {
        panic!()
    };
    assert!(matches!(
        &code.client,
        Registration::Known {
            authentication: ClientAuthentication::None,
            ..
        }
    ));
    assert_eq!(code.redirect_port, 8123);
    let Auth::TokenExchange(exchange) = &of("exchange").auth else {
        panic!()
    };
    assert_eq!(
        exchange.subject_token_type,
        "urn:ietf:params:oauth:token-type:jwt"
    );
    assert!(exchange.actor_token.is_some());
    assert_eq!(exchange.token.parameters["organization"], "5");
    let ClientAuthentication::SecretBasic(SecretRef::Aws(secret)) = &exchange.client.authentication
    else {
        panic!()
    };
    assert_eq!(secret.key.as_deref(), Some("secret"));
    let Auth::Bearer(SecretRef::Aws(secret)) = &of("secret").auth else {
        panic!()
    };
    assert_eq!(secret.region.as_deref(), Some("eu-west-3"));
    let Auth::AgentcoreIdentity(identity) = &of("key").auth else {
        panic!()
    };
    assert!(matches!(identity.kind, IdentityKind::ApiKey { .. }));
    let socket = of("socket");
    assert_eq!(socket.connector, Connector::OnPrem);
    assert_eq!(
        http(socket).socket.as_deref(),
        Some(Path::new("/run/mcp.sock"))
    );
}
